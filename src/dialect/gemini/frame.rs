//! How the objects of a stream stand on the way to Gemini's clients: as events, or as the members of one list.

use crate::dialect::sse::Data;

/// Writes objects.
#[derive(Debug)]
pub struct ObjectWriter {
    is_list: bool,
    has_begun: bool,
}

impl ObjectWriter {
    /// Events, or a list for clients that did not ask for `alt=sse`.
    pub const fn new(is_list: bool) -> Self {
        Self { is_list, has_begun: false }
    }

    /// Writes an object.
    pub fn write(&mut self, json: &str, out: &mut Vec<u8>) {
        self.write_pieces(&[json], out);
    }

    /// Writes an object that is in pieces.
    pub fn write_pieces(&mut self, pieces: &[&str], out: &mut Vec<u8>) {
        if self.is_list {
            out.extend_from_slice(if self.has_begun { b",\n" } else { b"[" });
            pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
        } else if pieces.iter().any(|piece| piece.contains('\n')) {
            // Google's own clients read one line for each event; in JSON a line's end is white space.
            Data::write(None, &pieces.concat().replace('\n', " "), out);
        } else {
            Data::write_pieces(None, pieces, out);
        }
        self.has_begun = true;
    }

    /// The complete end.
    pub fn end(&self, out: &mut Vec<u8>) {
        if self.is_list && self.has_begun {
            out.push(b']');
        }
    }
}
