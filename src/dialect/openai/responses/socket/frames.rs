//! Frames that the gateway itself writes: errors, and headers as an object.

use crate::dialect::openai::out::Out;

/// Why a frame is no request.
pub struct BadFrame {
    code: &'static str,
    message: String,
    param: Option<&'static str>,
}

impl BadFrame {
    /// With OpenAI's code for it.
    pub fn new(code: &'static str, message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { code, message: message.into(), param }
    }

    /// The frame that tells it.
    pub fn frame(&self, status: u16, lane: Option<&str>) -> String {
        let mut error = Out::object();
        error.text("type", if status < 500 { "invalid_request_error" } else { "server_error" }).text("code", self.code);
        error.text("message", &self.message);
        match self.param {
            Some(param) => _ = error.text("param", param),
            None => _ = error.member("param", "null"),
        }
        error_frame(status, &error.done(), None, lane)
    }
}

/// An error as clients of WebSockets know it.
pub fn error_frame(status: u16, error: &str, headers: Option<&str>, lane: Option<&str>) -> String {
    let mut frame = Out::object();
    frame.text("type", "error").member("status", &status.to_string()).member("error", error);
    frame.maybe("headers", headers).maybe_text("stream_id", lane);
    frame.done()
}

/// Headers as an object.
pub fn header_object<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>) -> String {
    let mut out = Out::object();
    for (name, value) in headers {
        out.text(name, value);
    }
    out.done()
}

/// The code by which clients know that they have to send everything.
pub const NOT_FOUND: &str = "previous_response_not_found";

/// A request is longer than a connection takes.
pub fn too_large() -> BadFrame {
    let message = "The conversation is longer than the 16 MiB that a connection takes. Send it over HTTP, or make it shorter.";
    BadFrame::new("request_too_large", message, Some("input"))
}

/// A response is not remembered.
pub fn not_found(id: &str) -> BadFrame {
    let message = format!("Previous response with id '{}' not found. Send the whole conversation as `input`.", shown(id));
    BadFrame::new(NOT_FOUND, message, Some("previous_response_id"))
}

/// A text of a client, as it may stand in a message.
pub fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(128).collect()
}
