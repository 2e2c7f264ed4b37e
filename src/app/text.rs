//! Text that people write: names, reasons, notes.

use crate::refusal::Refusal;

/// Of names and reasons, in bytes.
pub const LONGEST_NAME: usize = 200;
/// Of notes, in bytes.
pub const LONGEST_NOTE: usize = 500;

/// Text that people read, neither empty nor long.
pub fn name(param: &str, text: String) -> Result<String, Refusal> {
    if is_fit(&text, LONGEST_NAME) {
        return Ok(text);
    }
    Err(Refusal::invalid(param, format!("`{param}` must be 1 to {LONGEST_NAME} characters.")))
}

/// What the customer is told.
pub fn note(note: Option<String>) -> Result<Option<String>, Refusal> {
    match note {
        Some(text) if !is_fit(&text, LONGEST_NOTE) => {
            Err(Refusal::invalid("note", format!("`note` must be 1 to {LONGEST_NOTE} characters.")))
        }
        note => Ok(note),
    }
}

/// So much of what a client wrote is repeated to it.
pub fn repeated(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect()
}

fn is_fit(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
}
