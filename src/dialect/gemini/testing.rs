//! What the tests of this dialect share.

use super::reader::GenerateReader;
use crate::dialect::conversation::Delta;
use crate::dialect::format::{Cost, Counting, Reader as _};
use crate::dialect::meter::{Meter, Transcoding};
use crate::dialect::sse::{self, Event};
use crate::dialect::stream_state::{Fallback, StreamState};
use crate::dialect::tokens::Counter;
use crate::usage::{Usage, UsageSource};

/// A stream with thoughts, text and two calls, as Google writes it.
pub const STREAM: &str = include_str!("../../../tests/golden/gemini/stream.txt");

/// A meter whose cost is "0." and the number of tokens.
pub fn meter(way: Transcoding) -> Meter {
    let pricing = |usage: &Usage, _: UsageSource, _: u64| Cost {
        amount: format!("0.{}", usage.total()),
        details: "{}".to_owned(),
        ..Cost::default()
    };
    let input = Usage { input: 10, ..Usage::default() };
    Meter::new(way, Fallback { usage: input, basis: None }, Counter::new("gemini"), Box::new(pricing))
}

/// Runs a whole stream.
pub fn run(meter: &mut Meter, chunks: &[&[u8]]) -> String {
    let mut out = Vec::new();
    for chunk in chunks {
        meter.push(chunk, &mut out);
    }
    meter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// Reads a whole stream.
pub fn read(text: &str) -> (Vec<Delta>, StreamState) {
    let pricing =
        |_: &Usage, _: UsageSource, _: u64| Cost { amount: "0".to_owned(), details: "{}".to_owned(), ..Cost::default() };
    let mut stream = StreamState::new(Fallback::default(), Counter::new("gemini"), Box::new(pricing));
    let (mut events, mut reader, mut deltas) = (sse::SseReader::default(), GenerateReader::new(Counting::default()), Vec::new());
    events.push(text.as_bytes());
    events.finish();
    while let Ok(Some(event)) = events.next_event() {
        if let (Event::Data(data), true) = (event, stream.is_open()) {
            reader.event(&data, &mut stream, &mut deltas);
        }
    }
    if stream.is_open() {
        reader.end(&mut stream, &mut deltas);
    }
    (deltas, stream)
}
