//! What a format has to be able to do. A dialect is a folder that says so for each of its formats; `mod.rs` lists them.

pub use super::dropped::{Dropped, UNKNOWN};
pub use super::exchange::{AnswerFacts, Cost, Counting, Read, StreamWish, Tagger, Upstream, UpstreamError, Written};

use super::body::Body;
use super::conversation::{Answer, Conversation, Delta};
use super::envelope::Envelope;
use super::fit::Rules;
use super::form::Form;
use super::json::{Edit, Object};
use super::maker::{Maker, Marks};
use super::naming::Names;
use super::openai::read_error;
use super::sse::Data;
use super::stream_state::StreamState;
use super::table::Table;
use crate::refusal::{Code, Refusal};
use crate::usage::Usage;

/// A format of requests and answers, for those that stay in it.
pub trait Format {
    /// What becomes of each member of a request, and which of them decide what it costs.
    fn members(&self) -> &'static Table;
    /// Reads the few members that decide who serves the request and what it may cost. Called once per request; must not
    /// copy what is embedded.
    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal>;
    /// The same of a request that is a form. Text members are read by `form.text(name)`.
    fn form_envelope(&self, _form: &Form<'_>, _envelope: &mut Envelope) -> Result<(), Refusal> {
        Err(Refusal::new(Code::InvalidJson, "This endpoint reads JSON, and a form was sent.", "Send a JSON object."))
    }
    /// Where it is, behind a channel's base URL; with a query where the stream needs one.
    fn path(&self, upstream: &Upstream<'_>) -> String;
    /// What must change in the client's own request.
    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit>;
    /// Members and parts of the client's own request that do not go up.
    fn left_out(&self, _request: &Object<'_>) -> Vec<String> {
        Vec::new()
    }
    /// Reads a plain answer; an error says in our words what it is instead (never upstream's text: it may name hosts).
    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String>;
    /// What must change in a plain answer so that it has the gateway's id and the model's public name.
    fn named(&self, answer: &Object<'_>, wish: &StreamWish) -> Vec<Edit> {
        Names::new("", wish).edits(answer)
    }
    /// What must change in a plain answer so that it tells its cost.
    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit>;
    /// Follows a stream that stays in this format.
    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough>;
    /// An answer that only counts the tokens of a request, for formats of that; where no provider can be asked, the gateway
    /// answers it.
    fn write_count(&self, _tokens: u64) -> Option<String> {
        None
    }
    /// The format as one that can be translated, where it can.
    fn translation(&self) -> Option<&dyn Translation> {
        None
    }
}

/// A format whose requests and answers have a meaning that others share.
pub trait Translation {
    /// What names and ids a channel takes that is asked in it.
    fn rules(&self) -> Rules;
    /// Who makes the answers of a channel that is asked in it.
    fn maker(&self, place: &str) -> Maker;
    /// How its clients are told whose thoughts they get.
    fn marks(&self) -> Marks;

    /// The client's request, and what of it is left out because no other dialect has it; a refusal names what cannot be left
    /// out.
    fn read_request<'a>(&self, request: &Object<'a>) -> Result<Read<'a>, Refusal>;
    /// The answer for the client, with its cost.
    fn write_answer(&self, answer: &Answer, usage: &Usage, cost: &Cost, wish: &StreamWish) -> String;
    /// Writes a stream for the client.
    fn writer(&self, wish: StreamWish) -> Box<dyn Writer>;

    /// The request for upstream, and what of it is left out because this dialect does not have it; a refusal names what cannot
    /// be left out, in general words: the client wrote another dialect.
    fn write_request(&self, conversation: &Conversation<'_>, upstream: &Upstream<'_>) -> Result<Written, Refusal>;
    /// Upstream's answer; an error says in our words what it is instead.
    fn read_answer(&self, answer: &Object<'_>, counting: Counting) -> Result<Answer, String>;
    /// Reads a stream of upstream.
    fn reader(&self, counting: Counting) -> Box<dyn Reader>;
}

/// Follows a stream whose format the client and upstream share: notes what must be known in the stream, and passes events on.
pub trait Passthrough {
    /// Takes an event of upstream and appends to `out` what the client gets of it. Sets `stream.progress`.
    fn event(&mut self, event: &Data, stream: &mut StreamState, out: &mut Vec<u8>);
    /// A sign of life, in the form that resets the timer of the dialect's own clients; nothing of the answer changes by it.
    /// It may come before any event, too.
    fn ping(&mut self, out: &mut Vec<u8>);
    /// Upstream has no more bytes. Formats without a terminal event decide here whether the stream is complete.
    fn end(&mut self, stream: &mut StreamState, out: &mut Vec<u8>);
    /// The stream broke off: an error in this dialect's form as the last thing, and no terminal event. Nothing where upstream
    /// has told its end itself.
    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>);
    /// Nobody answered after the client had signs of life: what would have been its answer, an error in this dialect's
    /// envelope, is told as the end of the stream.
    fn refused(&mut self, envelope: &str, out: &mut Vec<u8>) {
        let error = read_error(envelope);
        self.broken(error.code.as_deref().unwrap_or("error"), &error.message, out);
    }
}

/// Reads a stream of upstream for a client of another dialect.
pub trait Reader {
    /// Takes an event: notes usage, finish reason, text and progress in the stream, and says what it adds.
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>);
    /// Upstream has no more bytes.
    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>);
}

/// Writes a stream for a client of another dialect than upstream's.
pub trait Writer {
    /// Writes what was added. Everything that was given before counts: blocks are opened and closed as the dialect demands.
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>);
    /// The complete end: whatever the dialect closes with, its usage with the cost, and its terminal event if it has one.
    fn finish(&mut self, usage: &Usage, cost: &Cost, out: &mut Vec<u8>);
    /// A sign of life, as [`Passthrough::ping`] is.
    fn ping(&mut self, out: &mut Vec<u8>);
    /// Why what was written is not all that was said, if it is not. Such a stream is broken off, and never complete.
    fn fault(&self) -> Option<&'static str> {
        None
    }
    /// The stream broke off: an error in this dialect's form as the last thing, and no terminal event.
    fn broken(&mut self, code: &str, message: &str, out: &mut Vec<u8>);
    /// What was written, as a list of JSON, where a later request may refer to it.
    fn kept(&self) -> Option<String> {
        None
    }
}
