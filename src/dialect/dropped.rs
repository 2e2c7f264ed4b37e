//! What has no counterpart in another format: it is left out and named, or refused.

use std::ops::Deref;

/// What a refusal says of what cannot be left out.
pub const UNKNOWN: &str = "has no counterpart with the provider of this model";

/// No more than this is named.
const MOST: usize = 64;

/// ToolNames of what is left out, such as `logit_bias`, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped(Vec<String>);

impl Dropped {
    /// Notes that something is left out.
    pub fn note(&mut self, name: &str) {
        if self.0.len() < MOST && !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }
}

impl Deref for Dropped {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl IntoIterator for Dropped {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
impl<const N: usize> PartialEq<[&str; N]> for Dropped {
    fn eq(&self, names: &[&str; N]) -> bool {
        self.0 == names
    }
}
