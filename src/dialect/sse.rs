//! Server-sent events without IO: bytes in at any split, whole events out.
//!
//! The lines are the sseer crate's; this joins them to events and keeps no more than one event.

use bytes::{Buf, BytesMut};
use sseer::parser::{RawEventLineOwned, parse_line_from_buffer};

/// An event longer than this is refused, so that memory stays flat.
const LONGEST_EVENT: usize = 16 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Something that stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An event.
    Data(Data),
    /// A comment, by which servers keep connections alive.
    Comment,
}

/// An event with its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// `event:`, where there is one.
    pub name: Option<String>,
    /// `data:`, its lines joined by line feeds.
    pub data: String,
}

impl Data {
    /// Writes it as every client reads it: its name if it has one, one `data` line for each line, and no id.
    pub fn write(name: Option<&str>, data: &str, out: &mut Vec<u8>) {
        Self::write_pieces(name, &[data], out);
    }

    /// The same of data that is in pieces.
    pub fn write_pieces(name: Option<&str>, pieces: &[&str], out: &mut Vec<u8>) {
        if let Some(name) = name {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name.as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        for piece in pieces {
            let mut lines = piece.split('\n');
            out.extend_from_slice(lines.next().unwrap_or_default().as_bytes());
            for line in lines {
                out.extend_from_slice(b"\ndata: ");
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.extend_from_slice(b"\n\n");
    }
}

/// Why the stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// An event is longer than this accepts.
    TooLong,
    /// An event is not UTF-8.
    NotUtf8,
}

/// A reader of one stream.
#[derive(Debug, Default)]
pub struct SseReader {
    buffer: BytesMut,
    scanned: usize,
    is_past_mark: bool,
    name: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
}

impl SseReader {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no more bytes come, so that a last line without an end counts.
    pub fn finish(&mut self) {
        self.buffer.extend_from_slice(b"\n\n");
    }

    /// The next whole event, or none until more bytes come.
    pub fn next_event(&mut self) -> Result<Option<Event>, Broken> {
        if !self.skip_mark() {
            return Ok(None);
        }
        while let Some(line) = parse_line_from_buffer(&mut self.buffer, &mut self.scanned) {
            match line {
                RawEventLineOwned::Comment => return Ok(Some(Event::Comment)),
                RawEventLineOwned::Empty => {
                    let name = self.name.take().map(String::from_utf8).transpose().map_err(|_| Broken::NotUtf8)?;
                    if let Some(data) = self.data.take() {
                        let data = String::from_utf8(data).map_err(|_| Broken::NotUtf8)?;
                        return Ok(Some(Event::Data(Data { name, data })));
                    }
                }
                RawEventLineOwned::Field { field_name, field_value } if field_name == b"data".as_slice() => {
                    let value = field_value.unwrap_or_default();
                    // Proxies put a comment behind `data:`. No JSON has a line that begins like that.
                    if value.trim_ascii_start().starts_with(b":") {
                        return Ok(Some(Event::Comment));
                    }
                    match &mut self.data {
                        None => self.data = Some(value.to_vec()),
                        Some(data) => {
                            data.push(b'\n');
                            data.extend_from_slice(&value);
                        }
                    }
                }
                RawEventLineOwned::Field { field_name, field_value } if field_name == b"event".as_slice() => {
                    self.name = Some(field_value.unwrap_or_default().to_vec());
                }
                // Ids and retry times say nothing that a dialect needs.
                RawEventLineOwned::Field { .. } => {}
            }
        }
        let kept = self.buffer.len().saturating_add(self.data.as_ref().map_or(0, Vec::len));
        if kept > LONGEST_EVENT { Err(Broken::TooLong) } else { Ok(None) }
    }

    /// Skips a byte order mark at the start; false while it cannot be told whether there is one.
    fn skip_mark(&mut self) -> bool {
        if self.is_past_mark {
            return true;
        }
        if self.buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.buffer) {
            return false;
        }
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.advance(BYTE_ORDER_MARK.len());
        }
        self.is_past_mark = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<Event> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        let mut drain = |reader: &mut SseReader| {
            while let Some(event) = reader.next_event().unwrap() {
                events.push(event);
            }
        };
        for chunk in chunks {
            reader.push(chunk);
            drain(&mut reader);
        }
        reader.finish();
        drain(&mut reader);
        events
    }

    const STREAMS: [&str; 6] = [
        "data: {\"a\":\"h\u{e9}llo \u{1f980}\"}\n\ndata: [DONE]\n\n",
        "\u{feff}: ping\r\nid: 1\r\nevent: delta\r\ndata: one\r\ndata: two\r\n\r\ndata:[DONE]\r\n\r\n",
        "data: a\rdata: b\r\rretry: 5\r\rdata: c\r\r",
        "data: no newline at the end",
        "data\n\ndata:\n\n:\n\ndata:  two spaces\n\n",
        "data: : keepalive\n\nevent: e\ndata: {\ndata:: keepalive\ndata: }\n\n",
    ];

    #[test]
    fn a_split_at_any_byte_changes_nothing() {
        for stream in STREAMS {
            let bytes = stream.as_bytes();
            let whole = read(&[bytes]);
            assert!(!whole.is_empty());
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    assert_eq!(
                        read(&[&bytes[..first], &bytes[first..second], &bytes[second..]]),
                        whole,
                        "{stream:?} at {first}, {second}"
                    );
                }
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single), whole);
        }
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let data = |text: &str| Event::Data(Data { name: None, data: text.to_owned() });
        let named = Event::Data(Data { name: Some("delta".to_owned()), data: "one\ntwo".to_owned() });
        assert_eq!(read(&[STREAMS[1].as_bytes()]), [Event::Comment, named, data("[DONE]")]);
        assert_eq!(read(&[STREAMS[2].as_bytes()]), [data("a\nb"), data("c")]);
        assert_eq!(read(&[STREAMS[3].as_bytes()]), [data("no newline at the end")]);
        assert_eq!(read(&[STREAMS[4].as_bytes()]), [data(""), data(""), Event::Comment, data(" two spaces")]);
    }

    #[test]
    fn a_comment_behind_data_is_a_comment_anywhere() {
        let named = Event::Data(Data { name: Some("e".to_owned()), data: "{\n}".to_owned() });
        assert_eq!(read(&[STREAMS[5].as_bytes()]), [Event::Comment, Event::Comment, named]);
    }

    #[test]
    fn a_large_event_passes_and_an_endless_one_is_refused() {
        let large = format!("data: {}\n\n", "x".repeat(2_000_000));
        assert_eq!(read(&[large.as_bytes()]).len(), 1);
        let mut reader = SseReader::default();
        reader.push(b"data: ");
        let mut answer = Ok(None);
        for _ in 0..20 {
            reader.push(&vec![b'x'; 1_000_000]);
            answer = reader.next_event();
        }
        assert_eq!(answer, Err(Broken::TooLong));
    }

    #[test]
    fn what_is_not_utf8_is_broken() {
        let mut reader = SseReader::default();
        reader.push(b"data: \xff\n\n");
        assert_eq!(reader.next_event(), Err(Broken::NotUtf8));
    }
}
