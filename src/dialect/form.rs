//! Forms: `multipart/form-data` bodies, of which text members are read and files are passed over.

use std::borrow::Cow;

use crate::refusal::{Code, Refusal};

/// A form, borrowed from the body.
#[derive(Debug)]
pub struct Form<'a> {
    body: &'a [u8],
}

impl<'a> Form<'a> {
    /// Reads a body whose `content-type` names its boundary.
    pub fn parse(_body: &'a [u8], _content_type: &str) -> Result<Self, Refusal> {
        Err(Refusal::new(Code::InvalidRequest, "This gateway reads no forms.", "Send JSON."))
    }

    /// The first text member of a name.
    pub fn text(&self, _name: &str) -> Option<&'a str> {
        None
    }

    /// How many bytes its files have together.
    pub fn file_bytes(&self) -> u64 {
        0
    }

    /// The body with these text members set and those left out; what did not change is borrowed.
    pub fn edited(&self, _set: &[(&str, &str)], _left_out: &[&str]) -> Vec<Cow<'a, [u8]>> {
        vec![Cow::Borrowed(self.body)]
    }
}
