//! Sound: speech from text, and text from speech.

mod speech;
mod transcriptions;

pub use speech::Speech;
pub use transcriptions::{Transcriptions, Translations};
