//! Arguments of calls.

use std::borrow::Cow;

use crate::dialect::json::{Object, quoted};

/// Arguments as the object that Anthropic wants. What the model wrote wrong is kept under the name that Anthropic gives it.
pub fn input_object(arguments: &str) -> Cow<'_, str> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        Cow::Borrowed("{}")
    } else if Object::parse(arguments).is_some() {
        Cow::Borrowed(arguments)
    } else {
        Cow::Owned(format!("{{\"INVALID_JSON\":{}}}", quoted(arguments)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_always_an_object() {
        assert_eq!(input_object(" "), "{}");
        assert_eq!(input_object("{\"a\":1.0}"), "{\"a\":1.0}");
        assert_eq!(input_object("{\"a\":"), r#"{"INVALID_JSON":"{\"a\":"}"#);
    }
}
