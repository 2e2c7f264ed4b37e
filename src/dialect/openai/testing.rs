//! What tests of formats do with one: read, send, charge, stream.

pub use tests::*;

#[cfg(test)]
mod tests {
    use crate::dialect::body::Body;
    use crate::dialect::envelope::Envelope;
    use crate::dialect::form::Form;
    use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, StreamWish, Upstream};
    use crate::dialect::json::Object;
    use crate::dialect::sse::{Event, SseReader};
    use crate::dialect::stream_state::{Fallback, Progress, StreamState};
    use crate::dialect::tokens::Counter;
    use crate::refusal::Refusal;
    use crate::usage::{Usage, UsageSource};

    /// The boundary of the forms that [`form`] makes.
    pub const FORM: &str = "multipart/form-data; boundary=X";

    /// The envelope of a JSON request.
    pub fn envelope(format: &dyn Format, body: &str) -> Result<Envelope, Refusal> {
        let body = Body::parse(body.as_bytes(), "")?;
        let mut envelope = Envelope { choices: 1, ..Envelope::default() };
        envelope.read_model(&body.object)?;
        envelope.read_extras(&body.object)?;
        format.envelope(&body, &mut envelope)?;
        Ok(envelope)
    }

    /// A form with texts, and a file named `file` or `image` of so many bytes.
    pub fn form(texts: &[(&str, &str)], file: Option<(&str, usize)>) -> String {
        let file = file.map(|(name, bytes)| (format!("{name}\"; filename=\"f"), "x".repeat(bytes)));
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let part = |(name, content)| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
        texts.chain(file).map(part).chain(["--X--\r\n".to_owned()]).collect()
    }

    /// The envelope of a form.
    pub fn form_envelope(format: &dyn Format, body: &str) -> Result<Envelope, Refusal> {
        let mut envelope = Envelope { choices: 1, ..Envelope::default() };
        format.form_envelope(&Form::parse(body.as_bytes(), FORM)?, &mut envelope)?;
        Ok(envelope)
    }

    /// The body as it goes up to a model `upstream-1`.
    pub fn sent(format: &dyn Format, body: &str) -> String {
        let object = Object::parse(body).unwrap();
        let upstream = Upstream { model: "upstream-1", output_limit: 9, limit_field: None, stream: false, ..Upstream::NOBODY };
        object.edited(&format.pass_request(&object, &upstream))
    }

    /// What a plain answer says.
    pub fn said(format: &dyn Format, answer: &str) -> Result<AnswerFacts, String> {
        format.read_plain(&Object::parse(answer).unwrap(), Counting::default())
    }

    /// A plain answer with a cost of 0.5.
    pub fn priced(format: &dyn Format, answer: &str, usage: &Usage) -> String {
        let object = Object::parse(answer).unwrap();
        let cost = Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        object.edited(&format.priced(&object, usage, &cost))
    }

    /// What usage costs at a price, given as in the catalogue.
    pub fn cost(price: &str, usage: &Usage) -> String {
        crate::money::cost(&serde_json::from_str(price).unwrap(), usage).unwrap().to_string()
    }

    /// A stream that was followed to its end: what the client got, how far it came, what it used, how many images came.
    #[allow(missing_docs)]
    #[derive(Debug, PartialEq, Eq)]
    pub struct Streamed {
        pub out: String,
        pub progress: Progress,
        pub usage: (Usage, UsageSource),
        pub images: u64,
    }

    /// Follows a stream that comes in these pieces. The cost that it tells is the sum of all that was used.
    pub fn streamed(format: &dyn Format, pieces: &[&[u8]]) -> Streamed {
        let price = |usage: &Usage, _: UsageSource, _: u64| {
            let all: u64 = usage.by_class().iter().map(|(_, count)| count).sum();
            Cost { amount: all.to_string(), details: "{}".to_owned(), ..Cost::default() }
        };
        let mut stream = StreamState::new(Fallback::default(), Counter::new("gpt"), Box::new(price));
        let mut line = format.passthrough(StreamWish::default(), Counting::default());
        let (mut reader, mut out) = (SseReader::default(), Vec::new());
        let mut drain = |reader: &mut SseReader, stream: &mut StreamState| {
            while stream.is_open() {
                match reader.next_event() {
                    Ok(Some(Event::Data(data))) => line.event(&data, stream, &mut out),
                    Ok(Some(Event::Comment)) => line.ping(&mut out),
                    Ok(None) => return,
                    Err(_) => stream.break_off("it cannot be read"),
                }
            }
        };
        for piece in pieces {
            reader.push(piece);
            drain(&mut reader, &mut stream);
        }
        reader.finish();
        drain(&mut reader, &mut stream);
        if stream.is_open() {
            line.end(&mut stream, &mut out);
        }
        let out = String::from_utf8(out).unwrap();
        Streamed { out, usage: stream.usage(), images: stream.images, progress: stream.progress }
    }

    /// Whether a stream is the same wherever it is split.
    pub fn is_same_at_any_split(format: &dyn Format, stream: &str) -> bool {
        let bytes = stream.as_bytes();
        let whole = streamed(format, &[bytes]);
        (0..=bytes.len()).all(|at| streamed(format, &[&bytes[..at], &bytes[at..]]) == whole)
    }
}
