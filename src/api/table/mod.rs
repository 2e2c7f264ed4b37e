//! The table of endpoints: every path and method that the gateway answers, once, with who may call it and what goes in and out.
//!
//! What always holds: what is not in the table is answered 404, and 405 where only the method is not; the OpenAPI document is
//! written from the same rows (`document.rs`), so it cannot name an endpoint that is not there, or leave one out. Its files
//! are the platform's, which answers them before the Worker is asked.
//!
//! A row names what answers it: an enum, since handlers are generic over the ports and cannot stand in a constant. `api/mod.rs`
//! and `api/use_cases.rs` call it by a `match` that the compiler holds to be whole.

#[cfg(test)]
mod document;
#[cfg(test)]
mod reference;
mod row;
mod rows;
#[cfg(test)]
mod schemas;

pub use row::{About, Answer, Body, Handler, Row, SWITCHING, SitePage, Who};
pub use rows::TABLE;

use crate::app::UseCase;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// The name in templates of what may have slashes.
const MODEL: &str = "model";

/// What stands in a path for the names of its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Params<'a> {
    /// What stands for a name; nothing where the template does not have it.
    pub fn get(&self, name: &str) -> &'a str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// What stands in a path, without a slash at its end, for the names of a template; none where it does not fit.
fn fit<'a>(mut template: &'static str, mut path: &'a str) -> Option<Params<'a>> {
    let mut params = Vec::new();
    while let Some((before, rest)) = template.split_once('{') {
        let (name, after) = rest.split_once('}')?;
        path = path.strip_prefix(before)?;
        let value = if name == MODEL { path.strip_suffix(after)? } else { path.split('/').next()? };
        if value.is_empty() {
            return None;
        }
        params.push((name, value));
        (template, path) = (after, path.get(value.len()..)?);
    }
    (template == path).then_some(Params(params))
}

/// Whether a path could mean another one to whoever looks at it before or after: no endpoint has such a path.
fn is_odd(path: &str) -> bool {
    let is_dots = |part: &str| matches!(part, "." | "..");
    path.contains("//")
        || path.contains(['%', '\\', ';', '?', '#'])
        || path.chars().any(char::is_control)
        || path.split('/').any(is_dots)
}

/// The path of a request as the table has it: what stands in an address where a template has a name, decoded, once; the rest as
/// it came, so that no other spelling leads anywhere. Where that is nowhere, as it came.
pub fn named(raw: &str) -> String {
    let path = raw.strip_suffix('/').filter(|path| !path.ends_with('/')).unwrap_or(raw);
    let decoded = || percent_encoding::percent_decode_str(path).decode_utf8().ok();
    match TABLE.iter().find(|row| path.contains('%') && fit(row.path, path).is_some()).zip(decoded()) {
        // What is decoded must not lead elsewhere.
        Some((row, decoded)) if !decoded.ends_with('/') && at(&decoded).next().is_some_and(|found| found.path == row.path) => {
            decoded.into_owned()
        }
        _ => path.to_owned(),
    }
}

/// The template of a path and what stands for its names: the first that fits.
fn template(path: &str) -> Option<(&'static str, Params<'_>)> {
    let is_odd = is_odd(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let fit = |row: &'static Row| {
        let fitted = if path.is_empty() { fit(row.path, "/") } else { fit(row.path, path) };
        fitted.map(|params| (row.path, params))
    };
    if is_odd { None } else { TABLE.iter().find_map(fit) }
}

fn rows(template: Option<&'static str>) -> impl Iterator<Item = &'static Row> + Clone {
    TABLE.iter().filter(move |row| template == Some(row.path))
}

/// The rows of a path, one for each method; none if there is nothing at it.
pub fn at(path: &str) -> impl Iterator<Item = &'static Row> + Clone + use<> {
    rows(template(path).map(|(template, _)| template))
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

/// The most bytes that the body of a request to a path may have.
pub fn most_bytes(path: &str) -> usize {
    match at(&named(path)).find(|row| row.method != "GET") {
        Some(row) if row.about.is_asking() || row.handler == Handler::Use(UseCase::ExplainRoute) => limits::ASKED_BYTES,
        Some(row) if row.handler == Handler::Use(UseCase::PublishCatalogue) => limits::CATALOG_BYTES,
        Some(row) if row.who == Who::Signature => limits::MESSAGE_BYTES,
        _ => limits::SAID_BYTES,
    }
}

/// Whether a body is read there before it is known who sends it: a key in a form, a message with its signature.
pub fn is_read_of_strangers(path: &str) -> bool {
    let rows = at(&named(path)).find(|row| row.method != "GET");
    rows.is_none_or(|row| matches!(row.who, Who::Signature | Who::Anyone))
}

/// Whether only those who may call a path may know what it answers.
pub fn is_guarded(path: &str) -> bool {
    at(path).any(|row| matches!(row.who, Who::Operator | Who::Signature))
}

/// The endpoint of a method at a path, with what stands there for the names of its template. Those that open a WebSocket are none
/// for a request that does not ask for one.
pub fn find<'a>(method: &str, path: &'a str) -> Result<(&'static Row, Params<'a>), Refusal> {
    let (template, params) = template(path).ok_or_else(nothing_here)?;
    let rows = rows(Some(template)).filter(|row| row.answer.status != SWITCHING);
    if let Some(row) = rows.clone().find(|row| row.method == method) {
        return Ok((row, params));
    }
    if let Some(action) = action(path).filter(|_| method == "POST") {
        return Err(no_such_action(action));
    }
    let usual = rows.map(|row| row.method).collect::<Vec<_>>().join(", ");
    let message = format!("`{}` does not answer {method}.", if path.is_empty() { "/" } else { path });
    Err(Refusal::new(Code::MethodNotAllowed, message, format!("Use {usual}.")).fact("allow", methods(path).join(", ")))
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
    use crate::app::May;
    use crate::operator::Scope;

    fn methods_of(path: &str) -> Vec<&'static str> {
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
            ("//", vec![]),
            ("/", vec!["GET"]),
            ("v1/models", vec![]),
            ("/v1/models/{model}", vec!["GET"]),
        ] {
            assert_eq!(methods_of(path), expected, "{path}");
        }
        let template = |path: &str| at(path).next().map(|row| row.path);
        assert_eq!(template("/v1/models/a/b/endpoints"), Some("/v1/models/{model}/endpoints"));
        assert_eq!(template("/v1/models/endpoints"), Some("/v1/models/{model}"));
        assert_eq!(template("/models/a/b.json"), Some("/models/{model}.json"));
        assert_eq!(template("/models/.json"), Some("/models/{model}"));
    }

    #[test]
    fn what_stands_for_a_name_is_taken_from_the_path() {
        for (method, path, expected) in [
            ("GET", "/v1/models", vec![]),
            ("GET", "/v1/models/a/b", vec![("model", "a/b")]),
            ("GET", "/v1/models/a/b/endpoints", vec![("model", "a/b")]),
            ("POST", "/v1/models/a/b:official:countTokens", vec![("model", "a/b:official")]),
            ("POST", "/admin/v1/accounts/a/topups/o/refunds", vec![("account", "a"), ("order", "o")]),
        ] {
            let (_, params) = find(method, path).unwrap();
            assert_eq!(params, Params(expected), "{path}");
            assert_eq!(params.get("nothing"), "");
        }
    }

    #[test]
    fn every_use_case_has_an_endpoint_and_what_changes_something_is_not_for_who_only_reads() {
        let cases = TABLE.iter().filter_map(|row| match row.handler {
            Handler::Use(use_case) => Some((row, use_case)),
            _ => None,
        });
        for known in UseCase::ALL {
            assert!(cases.clone().any(|(_, use_case)| use_case == *known), "{known:?} has no endpoint");
        }
        for (row, use_case) in cases {
            let May::Operator(scopes) = use_case.may() else { continue };
            assert!(row.method == "GET" || !scopes.contains(&Scope::Read), "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn who_may_call_a_path_does_not_hang_on_the_method() {
        for row in TABLE {
            assert!(at(&row.path.replace(['{', '}'], "")).all(|other| other.who == row.who), "{}", row.path);
        }
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
    fn only_what_asks_a_model_may_be_large() {
        for (path, most) in [
            ("/v1/chat/completions", limits::ASKED_BYTES),
            ("/v1/responses/", limits::ASKED_BYTES),
            ("/v1beta/models/a:countTokens", limits::ASKED_BYTES),
            ("/v1/audio/transcriptions", limits::ASKED_BYTES),
            ("/v1/route", limits::ASKED_BYTES),
            ("/admin/v1/catalog", limits::CATALOG_BYTES),
            ("/webhooks/stripe", limits::MESSAGE_BYTES),
            ("/admin/v1/accounts", limits::SAID_BYTES),
            ("/login", limits::SAID_BYTES),
            ("/v1/runs", limits::SAID_BYTES),
            ("/v1/models", limits::SAID_BYTES),
            ("/nothing", limits::SAID_BYTES),
        ] {
            assert_eq!(most_bytes(path), most, "{path}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_only_where_a_name_stands() {
        for (raw, named_as, is_there) in [
            ("/v1/models", "/v1/models", true),
            ("/v1/models/", "/v1/models", true),
            ("/", "", true),
            ("/v1/models/a%2Fb", "/v1/models/a/b", true),
            ("/v1/models/gpt-5.5%3Aofficial", "/v1/models/gpt-5.5:official", true),
            ("/v1beta/models/a%2Fb:countTokens", "/v1beta/models/a/b:countTokens", true),
            ("/v1/receipts/gen%2D1", "/v1/receipts/gen-1", true),
            ("/admin/v1/accounts/a%20b", "/admin/v1/accounts/a b", true),
            // Spellings of what stands in the table.
            ("/%61dmin/v1/accounts", "/%61dmin/v1/accounts", false),
            ("/admin%2Fv1/accounts", "/admin%2Fv1/accounts", false),
            ("/admin/v1%2faccounts", "/admin/v1%2faccounts", false),
            ("/v1%2Fchat/completions", "/v1%2Fchat/completions", false),
            ("/v1/chat/completion%73", "/v1/chat/completion%73", false),
            ("/ADMIN/v1/accounts", "/ADMIN/v1/accounts", false),
            ("//admin/v1/accounts", "//admin/v1/accounts", false),
            ("/admin//v1/accounts", "/admin//v1/accounts", false),
            ("/admin/v1/accounts//", "/admin/v1/accounts//", false),
            ("//", "//", false),
            ("/./admin/v1/accounts", "/./admin/v1/accounts", false),
            ("/v1/../admin/v1/accounts", "/v1/../admin/v1/accounts", false),
            ("/v1/models/../../admin/v1/accounts", "/v1/models/../../admin/v1/accounts", false),
            ("/v1/models/%2e%2e/%2e%2e/admin", "/v1/models/%2e%2e/%2e%2e/admin", false),
            ("\\admin\\v1\\accounts", "\\admin\\v1\\accounts", false),
            ("/admin/v1/accounts;a=1", "/admin/v1/accounts;a=1", false),
            ("/admin/v1/accounts/x;a=1", "/admin/v1/accounts/x;a=1", false),
            ("/admin/v1/accounts/x%3Ba", "/admin/v1/accounts/x%3Ba", false),
            ("/admin/v1/accounts ", "/admin/v1/accounts ", false),
            ("/admin/v1/accounts%00", "/admin/v1/accounts%00", false),
            ("/admin/v1/accounts/%00", "/admin/v1/accounts/%00", false),
            // Twice, not at all, and to another endpoint.
            ("/v1/models/a%252Fb", "/v1/models/a%252Fb", false),
            ("/v1/models/%ff", "/v1/models/%ff", false),
            ("/v1/models/a%2Fendpoints", "/v1/models/a%2Fendpoints", false),
            ("/admin/v1/accounts/a%2Fkeys", "/admin/v1/accounts/a%2Fkeys", false),
            ("/admin/v1/accounts/a/keys/b%2F..%2Fc", "/admin/v1/accounts/a/keys/b%2F..%2Fc", false),
            ("/v1/runs/a%2F", "/v1/runs/a%2F", false),
        ] {
            let path = named(raw);
            assert_eq!((path.as_str(), at(&path).next().is_some()), (named_as, is_there), "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_spelling_leads_where_another_does(row in 0..TABLE.len(), place in 0_usize..60, how in 0..6) {
            let path = TABLE[row].path;
            let before = path.split('{').next().unwrap();
            let place = 1 + place % before.len().max(2).saturating_sub(1);
            if let Some((start, end)) = before.split_at_checked(place).filter(|(_, end)| !end.is_empty()) {
                let (letter, rest) = end.split_at(1);
                let other = match how {
                    0 => format!("%{:02x}", letter.as_bytes()[0]),
                    1 => format!("%25{:02x}", letter.as_bytes()[0]),
                    2 => format!("/{letter}"),
                    3 => format!("{letter};"),
                    4 => letter.to_ascii_uppercase(),
                    _ => format!("{letter}\\"),
                };
                let after = path.get(before.len()..).unwrap().replace(['{', '}'], "");
                let spelled = format!("{start}{other}{rest}{after}");
                let is_same = other == letter;
                let found = at(&named(&spelled)).next().map(|row| row.path);
                proptest::prop_assert!(is_same || found != Some(path), "{spelled} leads to {path}");
                proptest::prop_assert!(is_same || !is_guarded(&named(&spelled)), "{spelled} leads to what is guarded");
            }
        }
    }

    #[test]
    fn another_method_is_told_the_right_ones() {
        assert!(find("POST", "/v1/runs").is_ok());
        let refusal = find("DELETE", "/v1/runs/").unwrap_err();
        assert_eq!((refusal.code, &refusal.facts["allow"]), (Code::MethodNotAllowed, &"GET, HEAD, POST, OPTIONS".into()));
        for method in ["GET", "BREW", ""] {
            assert_eq!(find(method, "/v1/nothing").unwrap_err(), nothing_here());
        }
        assert_eq!(find("get", "/v1/models").unwrap_err().code, Code::MethodNotAllowed);
        for path in ["/v1beta/models/x:doSomething", "/v1/models/a/b:official:embedContent", "/v1beta/models/x:"] {
            let refusal = find("POST", path).unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (Code::NotFound, Some(ACTION)), "{path}");
            assert!(find("GET", path).is_ok(), "{path} may be the name of a model");
        }
        assert_eq!(find("POST", "/v1beta/models/x").unwrap_err().code, Code::MethodNotAllowed);
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
