//! Text that is HTML already, and what is needed to write such text by hand.
//!
//! What always holds: a [`Markup`] is made in this room only, and whatever came from outside went through [`escaped`].

use std::fmt;

use askama::filters::HtmlSafe;

/// HTML that templates put in as it is.
#[derive(Debug, Clone, Default)]
pub struct Markup(pub(super) String);

impl Markup {
    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// The text for HTML and XML, between tags and in quoted attributes. Characters that XML cannot carry are left out.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' => safe.push(c),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

/// The text as a part of a URL's path or query; what model names are made of stays readable.
pub fn url_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'@' => {
                part.push(char::from(byte))
            }
            byte => {
                part.push('%');
                part.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    part
}

/// The text as an id of an element: letters, digits and `-`. Different texts can have the same one.
pub fn element_id(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escaped_opens_a_tag_or_ends_an_attribute() {
        assert_eq!(escaped("<a href=\"x\" b='y'>&\u{0}\u{b}\n"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\n");
    }

    #[test]
    fn a_part_of_a_url_cannot_be_another_part() {
        assert_eq!(url_part("openai/gpt-5.5:beta@1"), "openai/gpt-5.5:beta@1");
        assert_eq!(url_part("a b?c#d%e+ä&\"<"), "a%20b%3Fc%23d%25e%2B%C3%A4%26%22%3C");
    }
}
