//! The table of endpoints: every path and method that the gateway answers, once, with who may call it and what goes in and out.
//!
//! What always holds: what is not in the table is answered 404, and 405 where only the method is not; `/openapi.json` is written
//! from the same rows, so it cannot name an endpoint that is not there, or leave one out.
//!
//! Deliberately absent: what answers. A `match` calls that, and the tests hold it against the table.

mod rows;

pub use rows::TABLE;

use crate::refusal::{Code, Refusal};

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anyone.
    Anyone,
    /// The holder of a key.
    Key,
    /// The bearer of the operator's token.
    Operator,
    /// A payment provider, by its signature.
    Signature,
}

/// What a request has in its body; names are those of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(&'static str),
    /// A form with files.
    Form(&'static str),
    /// Either of both.
    JsonOrForm(&'static str),
    /// A form of a page.
    Page(&'static str),
}

/// What a good answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The schema of its JSON; none where it is not JSON.
    pub schema: Option<&'static str>,
    /// What else it can be, or what it is where it is not JSON: media types with spaces between them.
    pub types: &'static str,
}

/// What an endpoint is about, and whose envelope its errors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// It asks a model, in a format of OpenAI's or of nobody else's.
    Openai,
    /// It asks a model in Anthropic's format.
    Anthropic,
    /// It asks a model in Gemini's format.
    Gemini,
    /// What can be called, and how it fares.
    Models,
    /// What requests came to.
    Receipts,
    /// Balances, orders, codes.
    Money,
    /// Administration.
    Administration,
    /// The gateway itself.
    Gateway,
    /// Pages for people, and what they show for programs.
    Pages,
}

impl About {
    /// Its tag in the document.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Openai => "Models, in OpenAI's formats",
            Self::Anthropic => "Models, in Anthropic's format",
            Self::Gemini => "Models, in Gemini's format",
            Self::Models => "Catalogue and health",
            Self::Receipts => "Receipts and runs",
            Self::Money => "Balances and top-ups",
            Self::Administration => "Administration",
            Self::Gateway => "The gateway",
            Self::Pages => "Pages",
        }
    }

    /// Whether a model is asked.
    pub const fn is_asking(self) -> bool {
        matches!(self, Self::Openai | Self::Anthropic | Self::Gemini)
    }
}

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// With names in braces for what differs. Only that of a model may have slashes.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    /// What it is about.
    pub about: About,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its query parameters, by their names among the document's parameters, with spaces between them.
    pub query: &'static str,
    /// What goes in.
    pub body: Body,
    /// What comes out.
    pub answer: Answer,
}

impl Row {
    const fn new(method: &'static str, path: &'static str, (who, about): (Who, About), summary: &'static str) -> Self {
        let answer = Answer { status: 200, schema: None, types: "" };
        Self { method, path, who, about, summary, query: "", body: Body::Nothing, answer }
    }

    const fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    const fn takes(self, schema: &'static str) -> Self {
        Self { body: Body::Json(schema), ..self }
    }

    const fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// The answer is JSON.
    const fn gives(self, schema: &'static str) -> Self {
        Self { answer: Answer { schema: Some(schema), ..self.answer }, ..self }
    }

    /// The answer is JSON, and something is made.
    const fn makes(self, schema: &'static str) -> Self {
        Self { answer: Answer { status: 201, schema: Some(schema), ..self.answer }, ..self }
    }

    /// The answer is, or can be, of these media types.
    const fn types(self, types: &'static str) -> Self {
        Self { answer: Answer { types, ..self.answer }, ..self }
    }

    const fn status(self, status: u16) -> Self {
        Self { answer: Answer { status, ..self.answer }, ..self }
    }
}

/// The name in templates of what may have slashes.
const MODEL: &str = "model";

/// The status of an endpoint that goes on as a WebSocket.
pub const SWITCHING: u16 = 101;

/// Whether a path, without a slash at its end, is one of a template's.
fn fits(template: &str, path: &str) -> bool {
    let Some((before, rest)) = template.split_once('{') else { return template == path };
    let (Some(path), Some((name, after))) = (path.strip_prefix(before), rest.split_once('}')) else { return false };
    if name == MODEL {
        return path.len() > after.len() && path.ends_with(after);
    }
    let end = path.find('/').unwrap_or(path.len());
    end > 0 && path.split_at_checked(end).is_some_and(|(_, rest)| fits(after, rest))
}

/// The rows of a path, one for each method; none if there is nothing at it. The first template that fits is the path's.
pub fn at(path: &str) -> impl Iterator<Item = &'static Row> + Clone {
    let path = path.trim_end_matches('/');
    let is_root = path.is_empty();
    let found = TABLE.iter().find(|row| if is_root { row.path == "/" } else { fits(row.path, path) });
    TABLE.iter().filter(move |row| found.is_some_and(|found| found.path == row.path))
}

/// What OPTIONS says of a path: its methods, `HEAD` with `GET`, and itself. Nothing at a path that is not there.
pub fn methods(path: &str) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for row in at(path).filter(|row| row.answer.status != SWITCHING) {
        methods.push(row.method);
        if row.method == "GET" {
            methods.push("HEAD");
        }
    }
    if !methods.is_empty() {
        methods.push("OPTIONS");
    }
    methods
}

/// Whether only those who may call a path may know what it answers.
pub fn is_guarded(path: &str) -> bool {
    at(path).any(|row| matches!(row.who, Who::Operator | Who::Signature))
}

/// Errors unless there is an endpoint of this method at this path. Those that open a WebSocket are none for a request that does
/// not ask for one.
pub fn check(method: &str, path: &str) -> Result<(), Refusal> {
    let rows = at(path).filter(|row| row.answer.status != SWITCHING);
    if rows.clone().any(|row| row.method == method) {
        return Ok(());
    }
    if let Some(action) = action(path).filter(|_| method == "POST" && rows.clone().next().is_some()) {
        return Err(no_such_action(action));
    }
    let allowed = rows.map(|row| row.method).collect::<Vec<_>>().join(", ");
    if allowed.is_empty() {
        return Err(nothing_here());
    }
    let message = format!("`{}` does not answer {method}.", if path.is_empty() { "/" } else { path });
    Err(Refusal::new(Code::MethodNotAllowed, message, format!("Use {allowed}.")).fact("allow", allowed))
}

/// What is asked of a model behind the colon of a path, as Gemini's clients write it.
fn action(path: &str) -> Option<&str> {
    let model = ["/v1beta/models/", "/v1/models/"].into_iter().find_map(|folder| path.strip_prefix(folder))?;
    let action = model.rsplit_once(':').map(|(_, action)| action);
    action.filter(|action| action.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The parameter of a path that says what is asked of a model.
pub const ACTION: &str = "action";

fn no_such_action(action: &str) -> Refusal {
    let action: String = action.chars().filter(char::is_ascii_graphic).take(64).collect();
    let message = format!("Models here do not have the action `{action}`.");
    let next_step = "Use `generateContent`, `streamGenerateContent` or `countTokens`.";
    Refusal::new(Code::NotFound, message, next_step).param(ACTION)
}

/// There is nothing at a path.
pub fn nothing_here() -> Refusal {
    Refusal::new(Code::NotFound, "There is nothing at this path.", "See the list of endpoints in GET /openapi.json.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &str) -> Vec<&'static str> {
        at(path).map(|row| row.method).collect()
    }

    #[test]
    fn a_path_has_the_methods_of_its_first_template() {
        for (path, expected) in [
            ("/", vec!["GET"]),
            ("", vec!["GET"]),
            ("/v1/models", vec!["GET"]),
            ("/v1/models/", vec!["GET"]),
            ("/v1/models/a", vec!["GET"]),
            ("/v1/models/a/b/c", vec!["GET"]),
            ("/v1/models/a/b:official:generateContent", vec!["POST"]),
            ("/v1/topups", vec!["GET", "POST"]),
            ("/admin/v1/accounts/a/keys/k", vec!["PATCH", "DELETE"]),
            ("/admin/v1/catalog", vec!["GET", "PUT"]),
            ("/v1/chat/completions", vec!["POST"]),
            ("/v1", vec![]),
            ("/v1/chat", vec![]),
            ("/v1/chat/completions/extra", vec![]),
            ("/v1/receipts/a/b", vec![]),
            ("/admin/v1/accounts//keys", vec![]),
            ("//", vec!["GET"]),
            ("v1/models", vec![]),
            ("/v1/models/{model}", vec!["GET"]),
        ] {
            assert_eq!(rows(path), expected, "{path}");
        }
        let template = |path: &str| at(path).next().map(|row| row.path);
        assert_eq!(template("/v1/models/a/b/endpoints"), Some("/v1/models/{model}/endpoints"));
        assert_eq!(template("/v1/models/endpoints"), Some("/v1/models/{model}"));
        assert_eq!(template("/models/a/b.json"), Some("/models/{model}.json"));
        assert_eq!(template("/models/.json"), Some("/models/{model}"));
    }

    #[test]
    fn options_tell_every_method() {
        for (path, expected) in [
            ("/v1/runs/", vec!["GET", "HEAD", "POST", "OPTIONS"]),
            ("/v1/responses", vec!["POST", "OPTIONS"]),
            ("", vec!["GET", "HEAD", "OPTIONS"]),
            ("/v1/nothing", vec![]),
        ] {
            assert_eq!(methods(path), expected, "{path}");
        }
    }

    #[test]
    fn another_method_is_told_the_right_ones() {
        assert!(check("POST", "/v1/runs").is_ok());
        let refusal = check("DELETE", "/v1/runs/").unwrap_err();
        assert_eq!((refusal.code, &refusal.facts["allow"]), (Code::MethodNotAllowed, &"GET, POST".into()));
        for method in ["GET", "BREW", ""] {
            assert_eq!(check(method, "/v1/nothing").unwrap_err(), nothing_here());
        }
        assert_eq!(check("get", "/v1/models").unwrap_err().code, Code::MethodNotAllowed);
        for path in ["/v1beta/models/x:doSomething", "/v1/models/a/b:official:embedContent", "/v1beta/models/x:"] {
            let refusal = check("POST", path).unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (Code::NotFound, Some(ACTION)), "{path}");
            assert!(check("GET", path).is_ok(), "{path} may be the name of a model");
        }
        assert_eq!(check("POST", "/v1beta/models/x").unwrap_err().code, Code::MethodNotAllowed);
    }

    #[test]
    fn every_row_can_be_reached_and_none_is_there_twice() {
        for (index, row) in TABLE.iter().enumerate() {
            let path = row.path.replace(['{', '}'], "");
            assert_eq!(at(&path).next().map(|found| found.path), Some(row.path), "a template before it has this path");
            let same = |other: &Row| (other.method, other.path) == (row.method, row.path);
            assert_eq!(TABLE.iter().position(same), Some(index), "{} {}", row.method, row.path);
            for hole in row.path.split('{').skip(1) {
                let (name, after) = hole.split_once('}').unwrap();
                assert!(name == MODEL || after.is_empty() || after.starts_with('/'), "{}: a name ends with its part", row.path);
            }
            assert!(
                row.path.split_once("{model}").is_none_or(|(_, after)| !after.contains('{')),
                "{}: a model is the last",
                row.path
            );
        }
    }
}
