//! What upstream says of an error, without what is between it and the gateway: hosts, accounts there, and credentials.
//!
//! What always holds: a credential is found in every form in which a server may repeat it: as it is, cut short, masked, escaped as
//! JSON or in an address, in base64. Hosts, accounts and credentials are found whatever signs stand around them. What is taken out is
//! named by what it was, so that the words keep their sense.
//!
//! Deliberately absent: answers. They pass as they came.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::host_names::is_host;
use super::hosts::{ACCOUNT, ADDRESS, without_hosts};
use super::json::quoted;

pub use super::hosts::without_host;

/// Makes words of upstream's such as a client may read.
pub type Discretion = Rc<dyn Fn(&str) -> String>;

/// Shorter credentials are words of a language.
const SHORTEST: usize = 4;
/// Of longer ones this much of the beginning is enough to know them by.
const TELLING: usize = 10;
/// What is longer is no credential.
const LONGEST: usize = 512;
const CREDENTIAL: &str = "[credential]";

/// How ids of accounts, organisations and projects begin at providers.
const ACCOUNT_STARTS: [&str; 8] = ["org-", "org_", "proj_", "proj-", "acct_", "acct-", "wrkspc_", "ws-"];
/// And how they do with a word of a language, as names of tools begin, too.
const ACCOUNT_WORDS: [&str; 6] = ["organization-", "project-", "account-", "user-", "team-", "tenant-"];
/// How credentials begin at providers.
const KEY_STARTS: [&str; 18] = [
    "sk-", "sk_", "pk-", "aiza", "ya29.", "gsk_", "xai-", "pplx-", "hf_", "r8_", "nvapi-", "fw_", "tgp_", "akia", "asia", "ghp_",
    "eyj", "key-",
];
/// Words behind which a number or a name is that of an account.
const OWNERS: [&str; 10] = [
    "organization",
    "organisation",
    "org",
    "project",
    "projects",
    "project_number",
    "account",
    "workspace",
    "tenant",
    "subscriptions",
];
/// Upstream's words without names of hosts, accounts and credentials of any kind.
pub fn without_names(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = String::new();
    for piece in pieces(text) {
        match named(piece, &before) {
            Some(name) => out.push_str(&name),
            None => out.push_str(piece),
        }
        if piece.chars().any(char::is_alphanumeric) {
            before = piece.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
        } else if piece.contains(['.', ';', '!', '?']) {
            before.clear();
        }
    }
    // What is left of hosts stands within a word.
    without_hosts(&out).into_owned()
}

/// Splits a text into words and what is between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '|' | '“' | '”' | '，' | '。' | '：'
            )
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|c: char| is_between(c) != is_between(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(piece)
    })
}

/// What a word is told as, if not as it is.
fn named(piece: &str, before: &str) -> Option<String> {
    // What ends a sentence is not a part of the word.
    let word = piece.trim_end_matches(['.', ':', '!', '?', ']']);
    let after = piece.get(word.len()..).unwrap_or_default();
    let word = word.trim_start_matches('[');
    let lead = piece.get(..piece.len().saturating_sub(after.len()).saturating_sub(word.len())).unwrap_or_default();
    let told = of_value(word, before)?;
    Some(format!("{lead}{told}{after}"))
}

/// What the rest of a word is told as.
fn of_value(word: &str, before: &str) -> Option<String> {
    if !word.contains("://") {
        return of_plain(word, before);
    }
    // An address with how it is fetched ends with the signs that can stand in one.
    let (mut out, mut rest) = (String::new(), word);
    let tell = |out: &mut String, text: &str| match of_plain(text, "") {
        Some(told) => out.push_str(&told),
        None => out.push_str(text),
    };
    while let Some((lead, after)) = rest.split_once("://") {
        tell(&mut out, lead.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
        out.push_str(ADDRESS);
        // The number of a host can stand in brackets.
        let host = after.find(']').filter(|_| after.starts_with('[')).unwrap_or_default();
        let is_end = |c: char| !c.is_ascii_graphic() || matches!(c, '[' | ']');
        let end =
            after.get(host..).and_then(|path| path.get(1..)?.find(is_end)).map(|end| end.saturating_add(host).saturating_add(1));
        rest = end.and_then(|end| after.get(end..)).unwrap_or_default();
    }
    tell(&mut out, rest);
    Some(out)
}

/// The same of a word without such an address.
fn of_plain(word: &str, before: &str) -> Option<String> {
    if is_key(word) {
        return Some(CREDENTIAL.to_owned());
    }
    if is_account(word, before) || word.contains('@') && is_host(word.rsplit('@').next().unwrap_or_default(), true) {
        return Some(ACCOUNT.to_owned());
    }
    if is_host(word, false) {
        return Some(ADDRESS.to_owned());
    }
    if let Some((_, rest)) = word.split_once('/').filter(|(host, path)| is_host(host, !path.is_empty())) {
        return Some(if rest.is_empty() { format!("{ADDRESS}/") } else { ADDRESS.to_owned() });
    }
    of_parts(word)
}

/// What names, ids and credentials are made of.
fn is_in_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '…' | '•')
}

/// Between signs stand credentials and accounts; behind what they are, such as in paths of resources, whatever they are called.
fn of_parts(word: &str) -> Option<String> {
    let (mut out, mut before, mut sign, mut rest) = (String::with_capacity(word.len()), "", "", word);
    while !rest.is_empty() {
        let length = rest.find(|c: char| !is_in_part(c)).unwrap_or(rest.len());
        let part = rest.get(..length).unwrap_or_default();
        let owner = before.to_ascii_lowercase();
        let is_owned = OWNERS.contains(&owner.as_str()) && sign == "/" && !part.is_empty();
        let length = match credential_length(rest, part) {
            Some(length) => {
                out.push_str(CREDENTIAL);
                length
            }
            None => {
                let is_named = is_owned || is_account(part.trim_matches(['_', '*']), &owner);
                out.push_str(if is_named { ACCOUNT } else { part });
                length
            }
        };
        rest = rest.get(length..).unwrap_or_default();
        let signs = rest.find(is_in_part).unwrap_or(rest.len());
        (sign, rest) = rest.split_at_checked(signs).unwrap_or_default();
        out.push_str(sign);
        // What was taken out already is nobody's name.
        before = if sign.starts_with(']') { "" } else { part };
    }
    (out != word).then_some(out)
}

/// How long the credential is that a text begins with, whose first part this is; with the signs of base64 where it begins as
/// credentials do.
fn credential_length(text: &str, part: &str) -> Option<usize> {
    if key_start(part).is_none() {
        return is_key(part).then_some(part.len());
    }
    let is_in_key = |c: char| is_in_part(c) || matches!(c, '/' | '+' | '=' | '~' | '%');
    let end = text.char_indices().find(|(at, c)| *at >= LONGEST || !is_in_key(*c)).map_or(text.len(), |(at, _)| at);
    text.get(..end).filter(|run| is_key(run)).map(str::len)
}

/// How a word begins, if that is how credentials do.
fn key_start(word: &str) -> Option<&'static str> {
    let word = word.trim_start_matches(['_', '*']);
    let begins = |start: &&&str| word.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    KEY_STARTS.iter().find(begins).copied()
}

/// Whether a word is a credential, or one of which a part is masked.
fn is_key(word: &str) -> bool {
    let start = key_start(word);
    let word = if start.is_some() { word.trim_matches(['_', '*']) } else { word };
    let is_masked = ["**", "...", "…", "xxxx", "••"].iter().any(|mask| word.contains(mask));
    let is_long = |start: &str| match start {
        // Also a word.
        "key-" => parts_of(word.get(start.len()..).unwrap_or_default()).any(|part| part.len() >= 16 && has_digit(part)),
        start => word.len() >= start.len().saturating_add(8) && parts_of(word).any(|part| part.len() >= 6 && has_digit(part)),
    };
    // Amazon's are letters and digits alone: `asia-northeast1` is a place.
    let may_be = |start: &str| !matches!(start, "akia" | "asia") || word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    start.is_some_and(|start| is_masked || is_long(start) && may_be(start)) || shows_its_end(word)
}

/// Whether a word is masked but for its beginning or its end. `**kwargs`, `2**31` and `***note***` are words.
fn shows_its_end(word: &str) -> bool {
    let is_mask = |c: char| matches!(c, '*' | '•' | '●');
    let masked = word.split(|c: char| !is_mask(c)).map(|run| run.chars().count()).max().unwrap_or_default();
    let is_emphasis = word.starts_with("**") && word.ends_with("**");
    let is_shown = word.bytes().any(|byte| byte.is_ascii_alphanumeric());
    masked >= 3 && is_shown && !is_emphasis && (masked > 3 || has_digit(word))
}

/// The runs of letters and digits in a word.
fn parts_of(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_ascii_alphanumeric())
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a part of a name is made up by a machine: letters and digits in turn, many digits in a row, or very long.
fn is_made_up(part: &str) -> bool {
    let digits = || part.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    let has_letter = part.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_odd = digits().count() >= 2 || digits().any(|run| run.len() >= 5) || part.len() >= 16;
    part.len() >= 8 && has_letter && has_digit(part) && is_odd
}

fn is_account(word: &str, before: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let has_digit = has_digit(word);
    let begins = |starts: &[&str]| starts.iter().find_map(|start| lower.strip_prefix(start)).map(ToOwned::to_owned);
    let all_digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_digits = all_digits(word);
    let is_named = OWNERS.contains(&before);
    // Numbers of accounts have twelve digits; those of projects stand behind that word.
    begins(&ACCOUNT_STARTS).is_some_and(|rest| rest.len() >= 6 && has_digit)
        || begins(&ACCOUNT_WORDS).is_some_and(|rest| rest.len() >= 6 && all_digits(&rest) || parts_of(&rest).any(is_made_up))
        || is_digits && (word.len() == 12 || is_named && word.len() >= 5)
        || is_named
            && has_digit
            && word.len() >= 8
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A text without a credential, in whatever form it stands there.
pub fn without_credential(text: &str, secret: &str) -> String {
    let secret = secret.trim();
    if secret.len() < SHORTEST {
        return text.to_owned();
    }
    let mut out = text.to_owned();
    for form in forms(secret) {
        if out.contains(&form) {
            out = out.replace(&form, CREDENTIAL);
        }
    }
    without_beginning(&without_mask(&out, secret), secret)
}

/// The forms that a server may write a credential in, longest first.
fn forms(secret: &str) -> Vec<String> {
    let percent = |is_upper: bool| {
        let digits = |byte: u8| if is_upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let letter = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte => digits(byte),
        };
        secret.bytes().map(letter).collect::<String>()
    };
    let json = quoted(secret);
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut forms = vec![secret.to_owned(), json.replace('/', "\\/"), json, percent(true), percent(false), hex::encode(secret)];
    // What stands before it decides how its bytes fall into digits: of each way, the digits that are its own alone.
    for (lead, skipped) in [(0_usize, 0_usize), (1, 2), (2, 3)] {
        let bytes = [vec![0; lead], secret.as_bytes().to_vec()].concat();
        let whole = bytes.len().saturating_mul(8).div_euclid(6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.extend(engine.encode(&bytes).get(skipped..whole).filter(|digits| digits.len() >= 8).map(ToOwned::to_owned));
        }
    }
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    forms
}

/// Takes out what begins as the credential does, as far as it is the same.
fn without_beginning(text: &str, secret: &str) -> String {
    let Some(beginning) = secret.get(..TELLING) else { return text.to_owned() };
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((lead, after)) = rest.split_once(beginning) {
        let more = secret.get(TELLING..).unwrap_or_default();
        let same = after.chars().zip(more.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        out.push_str(lead);
        out.push_str(CREDENTIAL);
        rest = after.get(same..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Takes out words that show its ends, with something else between.
fn without_mask(text: &str, secret: &str) -> String {
    let is_mask = |c: char| matches!(c, '*' | '.' | '…' | '•' | 'x' | 'X' | '#');
    let is_shown = |piece: &str| {
        let word = piece.trim_end_matches(['.', ':', '!', '?']);
        let head: usize = word.chars().zip(secret.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        let tail: usize =
            word.chars().rev().zip(secret.chars().rev()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        // Of both ends no more than is there.
        let between = word.get(head..word.len().saturating_sub(tail).max(head)).unwrap_or_default();
        head.saturating_add(tail) >= 3 && (between.chars().count() >= 2 || between == "…") && between.chars().all(is_mask)
    };
    pieces(text).map(|piece| if is_shown(piece) { CREDENTIAL } else { piece }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_accounts_and_credentials_are_taken_out_and_the_sense_stays() {
        for (said, told) in [
            (
                "Rate limit reached for gpt-5.5 in organization org-AbC123def456 on tokens per min (TPM): Limit 30000, Used 30000. Please try again in 1.2s. Visit https://platform.openai.com/account/rate-limits to learn more.",
                "Rate limit reached for gpt-5.5 in organization [account] on tokens per min (TPM): Limit 30000, Used 30000. Please try again in 1.2s. Visit [address] to learn more.",
            ),
            (
                "Project `proj_a1B2c3D4e5` does not have access to model `m`",
                "Project `[account]` does not have access to model `m`",
            ),
            (
                "Generative Language API has not been used in project 123456789 before or it is disabled.",
                "Generative Language API has not been used in project [account] before or it is disabled.",
            ),
            (
                "Publisher Model `projects/my-company/locations/us-central1/publishers/google/models/gemini` was not found",
                "Publisher Model `projects/[account]/locations/us-central1/publishers/google/models/gemini` was not found",
            ),
            (
                "User: arn:aws:sts::123456789012:assumed-role/x is not authorized",
                "User: arn:aws:sts::[account]:assumed-role/x is not authorized",
            ),
            (
                "Incorrect API key provided: sk-proj-********abcd. You can find it.",
                "Incorrect API key provided: [credential]. You can find it.",
            ),
            ("Your api key: ****abcd is invalid", "Your api key: [credential] is invalid"),
            ("key AIzaSyD-1234567890abcdefg expired", "key [credential] expired"),
            ("getaddrinfo ENOTFOUND api.internal-llm.svc:8080", "getaddrinfo ENOTFOUND [address]"),
            (
                "connect to 10.0.12.7:443 failed; then localhost:3000, fd00::1",
                "connect to [address] failed; then [address], [address]",
            ),
            ("see api.openai.com/v1/chat or mail support@openai.com.", "see [address] or mail [account]."),
            ("consumer=project_number:123456789", "consumer=project_number:[account]"),
            ("team=team-12ab34cd at my-resource.openai.azure.com", "team=[account] at [address]"),
            ("addr:10.0.0.1:443, host:api.openai.com, a:10.0.0.1->b:443", "addr:[address], host:[address], a:[address]->b:443"),
            ("upstream_api.openai.com_443 *api.openai.com* |api.openai.com|", "upstream_[address]_443 *[address]* |[address]|"),
            ("请访问https://a.example.com/x查看，密钥sk-abc12345678无效", "请访问[address]查看，密钥[credential]无效"),
            ("url:https://a.example.com/x]->[http://[fd00::1]:80/y", "url:[address]]->[[address]"),
            ("Bearer:sk-abc12345678, key->gsk_abc12345678|x", "Bearer:[credential], key->[credential]|x"),
            ("key:sk-live/AbCd+01234567=x and **sk-abc12345678**", "key:[credential] and [credential]"),
            ("org:org-abc123456, id[proj_abc123456], #acct_1234567#", "org:[account], id[[account]], #[account]#"),
            ("_org-abc123456_ and arn:x:[123456789012]:y", "[account] and arn:x:[[account]]:y"),
            ("smtp:ops@example.com->user:pw@10.0.0.1", "[account]->[account]"),
            ("by user-AbC123dEf456, team-12ab34cd or project-123456", "by [account], [account] or [account]"),
            ("tenant-3f2a1b4c-aaaa-bbbb-cccc-0123456789ab", "[account]"),
            ("key-3ax6xnjp29jd6fds4gc373sgvjxteol0 and ***a1b2 or a1b2•••", "[credential] and [credential] or [credential]"),
            ("account:123456789 and project:my-proj-4711", "account:[account] and project:[account]"),
        ] {
            assert_eq!(without_names(said), told);
            assert_eq!(without_names(told), told, "again is the same");
        }
    }

    #[test]
    fn a_long_chain_is_no_deep_one() {
        let long = "a=".repeat(200_000);
        assert_eq!(without_names(&format!("{long}x")), format!("{long}x"));
        let told = without_names(&format!("{long}https://example.com"));
        assert!(told.starts_with(&long) && !told.contains("example"));
    }

    #[test]
    fn what_names_nothing_stays() {
        for said in [
            "messages.0.content.1.image.source: Field required",
            "`input[0].content[1].file.type` must be one of: 'text', 'image_url'.",
            "This model's maximum context length is 128000 tokens, e.g. 4.1 or v1.2.3; see README.md, a.png and node.js.",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "No tool output found for function call call_abc123def456.",
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
            "The **first** message must be from the user... then it goes on",
            "Invalid 'tools[0].function.name': string does not match pattern '^[a-zA-Z0-9_-]+$'.",
            "请求参数错误：messages 不能为空",
            "Item 'fc_68a' of type 'function_call' was provided without its required 'reasoning' item: 'rs_68b'.",
            "project settings, user-provided text and organization policies",
            "request_id: req_011CQ, 12:30:45",
            "in asia-northeast1 or us-central1, see asia-southeast1-b",
            "**Please note**, ***both*** and **this: 2**31, x**2, f(**kwargs), *args, a ** b, f***",
            "tools user-lookup-v2, key-value-store-2, team-list-2024, account-manager-v10, project-search-3 and user-get-20250414",
            "scopes account:read, org:write, project:admin and workspace:read.all",
            "tools[0].parameters.properties.org and tools.0.custom.input_schema.properties.name.de; user.info, asyncio.run()",
            "java.net.SocketTimeoutException: timeout",
            "Please wait.In a minute it works.Me too; gpt-4.1:free, meta/model-7b, a->b, key=value, tokens[0].info",
            "model `claude-3.5-sonnet` of v1.2.3.4 with tokenizer_config.json and my_module.run",
            "tool_choice: {'type': 'function'} | x => y, std::vec, 99.9%, 1.5s, 2026-01-02T12:30:45.123Z",
            "",
        ] {
            assert_eq!(without_names(said), said);
        }
    }

    const SECRET: &str = "sk-live/AbCdEf+0123456789=wxyz";

    #[test]
    fn a_credential_is_found_in_every_form() {
        let encoded = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let forms = [
            SECRET.to_owned(),
            format!("{SECRET}\n"),
            SECRET.replace('/', "\\/"),
            "sk-live%2FAbCdEf%2B0123456789%3Dwxyz".to_owned(),
            "sk-live%2fAbCdEf%2b0123456789%3dwxyz".to_owned(),
            encoded(SECRET.as_bytes()),
            encoded(format!("user:{SECRET}").as_bytes()),
            encoded(format!(":{SECRET}").as_bytes()),
            URL_SAFE_NO_PAD.encode(SECRET),
            hex::encode(SECRET),
            SECRET[..16].to_owned(),
            "sk-l...wxyz".to_owned(),
            "sk-live/AbCd**************wxyz".to_owned(),
            "sk-…wxyz".to_owned(),
            "*****wxyz".to_owned(),
        ];
        for form in forms {
            for secret in [SECRET.to_owned(), format!("{SECRET}\n"), format!(" {SECRET}\r\n")] {
                let out = without_credential(&format!("Invalid key '{form}' was given"), &secret);
                assert!(out.contains(CREDENTIAL), "{form}: {out}");
                for part in ["AbCd", "wxyz", "QWJDZEVm"] {
                    assert!(!out.contains(part), "{form}: {out}");
                }
            }
        }
        for said in ["Invalid model 'sk'", "a short text...", "the key", "x".repeat(50).as_str()] {
            assert_eq!(without_credential(said, SECRET), said);
        }
        assert_eq!(without_credential("a key", "key"), "a key", "too short to be told from words");
    }

    proptest! {
        #[test]
        fn no_credential_comes_through_whatever_is_around_it(secret in "[A-Za-z0-9/+_=-]{12,48}", before in ".{0,20}", after in ".{0,20}", is_encoded in any::<bool>()) {
            let form = if is_encoded { STANDARD_NO_PAD.encode(format!("{before}{secret}")) } else { secret.clone() };
            let out = without_credential(&format!("{before} {form}{after}"), &format!("{secret}\n"));
            prop_assert!(!out.contains(&secret), "{}", out);
            prop_assert!(!is_encoded || out.contains(CREDENTIAL), "{}", out);
        }

        /// What stands between signs is found, whatever they are, and words stay.
        #[test]
        fn signs_hide_nothing(
            before in "[a-z]{0,6}[:=|@\\[(<>,;'\"`{~]{1,3}",
            after in "[:=|\\])<>,;'\"`}~]{1,3}[a-z]{0,6}",
            digits in "[a-z]{4}[0-9]{8}",
        ) {
            for (named, told) in [
                (format!("sk-{digits}"), CREDENTIAL),
                (format!("org-{digits}"), ACCOUNT),
                (format!("https://{digits}.example/x"), ADDRESS),
                (format!("{digits}.example.com"), ADDRESS),
            ] {
                let said = without_names(&format!("{before}{named}{after}"));
                prop_assert!(!said.contains(&digits), "{before}{named}{after}: {said}");
                prop_assert!(said.contains(told) || before.contains('@') || told == CREDENTIAL, "{before}{named}{after}: {said}");
                prop_assert_eq!(without_names(&said), said);
            }
            prop_assert_eq!(without_names(&format!("{before}word{after}")), format!("{before}word{after}"));
        }
    }
}
