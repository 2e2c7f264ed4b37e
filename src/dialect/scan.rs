//! How far a JSON text is that comes in pieces.

/// What was seen of it.
#[derive(Debug, Default)]
pub struct Scan {
    depth: u64,
    has_begun: bool,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Takes a piece.
    pub fn push(&mut self, json: &str) {
        for byte in json.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether an object or a list came to its end.
    pub const fn is_whole(&self) -> bool {
        self.has_begun && !self.is_half()
    }

    /// Whether something began that has not come to its end.
    pub const fn is_half(&self) -> bool {
        self.depth > 0 || self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_whole_when_what_began_has_ended() {
        for (json, is_whole, is_half) in [
            ("", false, false),
            ("{", false, true),
            ("{}", true, false),
            (r#"{"a":[1,{"b":"}\""}]}"#, true, false),
            (r#"{"a":"}"#, false, true),
            (r#"{"a":"\"#, false, true),
            ("null", false, false),
            ("\"te", false, true),
        ] {
            let (mut at_once, mut in_bytes) = (Scan::default(), Scan::default());
            at_once.push(json);
            (0..json.len()).for_each(|at| in_bytes.push(&json[at..=at]));
            for scan in [at_once, in_bytes] {
                assert_eq!((scan.is_whole(), scan.is_half()), (is_whole, is_half), "{json}");
            }
        }
    }
}
