//! Forms: `multipart/form-data` bodies (RFC 7578), of which text members are read and files are passed over.
//!
//! What always holds: what was read here is what every other reader reads, so that upstream serves what was checked and
//! priced; whatever could be read in two ways is refused. Nothing is copied but names and what is new.
//!
//! Deliberately absent: streams, since the whole body is there; transfer encodings and character sets other than UTF-8, which
//! RFC 7578 gave up.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use crate::refusal::{Code, Refusal};

/// RFC 2046, section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;
/// More parts than this are a mistake, and would cost more memory than the body.
const MOST_PARTS: usize = 1_000;
/// A part tells its name, its file name and its type; that is never this long.
const LONGEST_HEADERS: usize = 8 * 1024;
/// Members that decide what is served or what it costs. Readers disagree on which of two counts, so each stands once, as text.
const SINGLE: [&str; 8] = ["model", "n", "prompt", "provider", "response_format", "session_id", "stream", "user"];

/// A form, borrowed from the body.
#[derive(Debug)]
pub struct Form<'a> {
    body: &'a [u8],
    /// `--` and the boundary.
    dashes: String,
    parts: Vec<Part<'a>>,
    /// Where the line is that ends the last part.
    end: usize,
}

#[derive(Debug)]
struct Part<'a> {
    name: String,
    content: Content<'a>,
    /// From the line that begins it to the line that begins the next.
    place: Range<usize>,
}

#[derive(Debug)]
enum Content<'a> {
    Text(&'a str),
    /// So many bytes.
    File(usize),
}

impl<'a> Form<'a> {
    /// Reads a body whose `content-type` names its boundary.
    pub fn parse(body: &'a [u8], content_type: &str) -> Result<Self, Refusal> {
        let dashes = format!("--{}", boundary(content_type)?);
        // A delimiter begins with the end of the line before it, but for the first.
        let first = usize::from(body.starts_with(b"\r\n")).saturating_mul(2);
        if !rest(body, first).starts_with(dashes.as_bytes()) {
            return Err(malformed("does not begin with the boundary that `content-type` names"));
        }
        let mut form = Self { body, parts: Vec::new(), end: first, dashes };
        let delimiter = format!("\r\n{}", form.dashes);
        let finder = memmem::Finder::new(&delimiter);
        while let Some(start) = form.line_end()? {
            let length = finder.find(rest(body, start)).ok_or_else(|| malformed("breaks off before its last boundary"))?;
            let inside = start..start.saturating_add(length);
            // The line end before the delimiter is the delimiter's.
            let next = inside.end.saturating_add(2);
            form.add(inside, form.end..next)?;
            form.end = next;
        }
        Ok(form)
    }

    /// Where the part begins whose delimiter is at the end so far; none if that delimiter closes the form.
    fn line_end(&self) -> Result<Option<usize>, Refusal> {
        let after = self.end.saturating_add(self.dashes.len());
        let line = rest(self.body, after);
        if let Some(epilogue) = line.strip_prefix(b"--") {
            let is_blank = epilogue.trim_ascii().is_empty();
            return if is_blank { Ok(None) } else { Err(malformed("goes on after its last boundary")) };
        }
        let padding = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if !rest(line, padding).starts_with(b"\r\n") {
            return Err(malformed("has its boundary inside of a part, or a boundary without the end of its line"));
        }
        Ok(Some(after.saturating_add(padding)))
    }

    /// Adds a part. `inside` begins with the end of the delimiter's line.
    fn add(&mut self, inside: Range<usize>, place: Range<usize>) -> Result<(), Refusal> {
        if self.parts.len() >= MOST_PARTS {
            return Err(malformed(&format!("has more than {MOST_PARTS} members")));
        }
        let part = self.body.get(inside).unwrap_or_default();
        let head = part.get(..part.len().min(LONGEST_HEADERS)).unwrap_or_default();
        let Some(length) = memmem::find(head, b"\r\n\r\n") else {
            return Err(malformed("has a member without an empty line after its headers"));
        };
        let headers = head.get(2..length).ok_or_else(|| malformed("has a member without headers"))?;
        let (name, is_file) = described(headers)?;
        let content = rest(part, length.saturating_add(4));
        let content = if is_file {
            Content::File(content.len())
        } else {
            let text = std::str::from_utf8(content);
            Content::Text(text.map_err(|_| wrong(&name, "is neither a file, with a `filename`, nor text in UTF-8"))?)
        };
        if SINGLE.contains(&name.as_str()) {
            if is_file {
                return Err(wrong(&name, "must be text, and a file was sent"));
            }
            if self.parts.iter().any(|part| part.name == name) {
                return Err(wrong(&name, "stands more than once in the form"));
            }
        }
        self.parts.push(Part { name, content, place });
        Ok(())
    }

    /// The text of a member, the first if there are several.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.texts(name).next()
    }

    /// The texts of a member that may stand more than once.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.parts.iter().filter(move |part| part.name == name).filter_map(|part| match part.content {
            Content::Text(text) => Some(text),
            Content::File(_) => None,
        })
    }

    /// The names of its parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.name.as_str())
    }

    /// Whether there is a file of a name.
    pub fn has_file(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.name == name && matches!(part.content, Content::File(_)))
    }

    /// How many bytes its files have together.
    pub fn file_bytes(&self) -> u64 {
        let bytes: usize = self.parts.iter().map(|part| if let Content::File(bytes) = part.content { bytes } else { 0 }).sum();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The body with these text members set and those left out; what did not change is borrowed. Values must not have the
    /// boundary in them, which is the client's choice: they are ours, and one line.
    pub fn edited(&self, set: &[(&str, &str)], left_out: &[&str]) -> Vec<Cow<'a, [u8]>> {
        let mut pieces = Vec::new();
        let mut kept = 0;
        let mut put = |from: usize, to: usize, new: Option<String>| {
            let old = self.body.get(from..to).unwrap_or_default();
            pieces.extend((!old.is_empty()).then_some(Cow::Borrowed(old)));
            pieces.extend(new.map(|new| Cow::Owned(new.into_bytes())));
        };
        for (at, part) in self.parts.iter().enumerate() {
            let value = set.iter().find(|(name, _)| *name == part.name).map(|(_, value)| *value);
            if value.is_none() && !left_out.contains(&part.name.as_str()) {
                continue;
            }
            let is_first = self.parts.iter().position(|other| other.name == part.name) == Some(at);
            put(kept, part.place.start, value.filter(|_| is_first).map(|value| self.written(&part.name, value)));
            kept = part.place.end;
        }
        let is_new = |name: &str| !self.parts.iter().any(|part| part.name == name);
        let new: String = set.iter().filter(|(name, _)| is_new(name)).map(|(name, value)| self.written(name, value)).collect();
        put(kept, self.end, (!new.is_empty()).then_some(new));
        put(self.end, self.body.len(), None);
        pieces
    }

    fn written(&self, name: &str, value: &str) -> String {
        format!("{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n", self.dashes)
    }
}

fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

fn malformed(what: &str) -> Refusal {
    let next_step = "Send the form as an HTTP library writes it, with the `content-type` that it made.";
    Refusal::new(Code::InvalidRequest, format!("The form {what}."), next_step)
}

fn wrong(name: &str, what: &str) -> Refusal {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Refusal::invalid(&name, format!("`{name}` {what}."))
}

/// The boundary that a `content-type` names, quoted or not.
fn boundary(content_type: &str) -> Result<String, Refusal> {
    let invalid = || Refusal::invalid("content-type", "`content-type` names no valid boundary for the form.");
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let parameters = parameters(content_type).ok_or_else(invalid)?;
    let mut boundaries = parameters.into_iter().filter(|(name, _)| name == "boundary").map(|(_, value)| value);
    let found = boundaries.next().filter(|text| text.bytes().all(is_part) && !text.ends_with(' '));
    let found = found.filter(|text| (1..=LONGEST_BOUNDARY).contains(&text.len()));
    found.filter(|_| boundaries.next().is_none()).ok_or_else(invalid)
}

/// What the headers of a part say of it: its name, and whether it is a file.
fn described(headers: &[u8]) -> Result<(String, bool), Refusal> {
    let headers = std::str::from_utf8(headers).map_err(|_| malformed("has headers that are not UTF-8"))?;
    let (mut found, mut is_plain) = (None, true);
    for line in headers.split("\r\n") {
        let header = line.split_once(':').filter(|(name, _)| is_token(name));
        let (name, value) = header.ok_or_else(|| malformed("has a line among a member's headers that is not a header"))?;
        if line.bytes().any(|byte| byte == b'\r' || byte == b'\n' || byte == 0) {
            return Err(malformed("has a control character among a member's headers"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if found.is_some() => return Err(malformed("has a member with two names")),
            "content-disposition" => found = Some(disposition(value)?),
            "content-type" => is_plain &= is_utf8(value),
            "content-transfer-encoding" => {
                is_plain &= ["7bit", "8bit", "binary"].iter().any(|known| value.trim().eq_ignore_ascii_case(known));
            }
            _ => {}
        }
    }
    let (name, is_file) = found.ok_or_else(|| malformed("has a member without a `content-disposition`"))?;
    if !is_file && !is_plain {
        return Err(wrong(&name, "must be text in UTF-8 without a transfer encoding"));
    }
    Ok((name, is_file))
}

/// The name in a `content-disposition`, and whether a file is told of.
fn disposition(value: &str) -> Result<(String, bool), Refusal> {
    let unclear = || malformed("has a `content-disposition` that is not `form-data` with one name");
    if !value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("form-data")) {
        return Err(unclear());
    }
    let parameters = parameters(value).ok_or_else(unclear)?;
    let is_file = parameters.iter().any(|(name, _)| name == "filename" || name == "filename*");
    // RFC 7578 has no `name*`, and few readers know it.
    let mut names = parameters.into_iter().filter(|(name, _)| name == "name" || name == "name*");
    match (names.next(), names.next()) {
        (Some((key, name)), None) if key == "name" => Ok((name, is_file)),
        _ => Err(unclear()),
    }
}

/// Whether a type leaves text as UTF-8.
fn is_utf8(content_type: &str) -> bool {
    let charset = |(name, value): &(String, String)| {
        name != "charset" || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    };
    parameters(content_type).is_some_and(|parameters| parameters.iter().all(charset))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The parameters behind the first `;` of a header, names in lower case; none if they cannot be read in one way only.
fn parameters(value: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut left = value.split_once(';').map_or("", |(_, left)| left).trim();
    while !left.is_empty() {
        let (name, after) = left.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (value, after) = after.split_at(after.find(';').unwrap_or(after.len()));
                is_token_like(value.trim()).then(|| (value.trim().to_owned(), after))?
            }
        };
        let name = name.trim();
        // RFC 2231: some readers join `name*0` to a `name` that outdoes the plain one.
        (is_token(name) && (!name.contains('*') || name.eq_ignore_ascii_case("filename*"))).then_some(())?;
        parameters.push((name.to_ascii_lowercase(), value));
        let after = after.trim_start();
        left = match after.strip_prefix(';') {
            Some(next) => next.trim(),
            None => after.is_empty().then_some("")?,
        };
    }
    Some(parameters)
}

/// A value without quotes. Boundaries have characters that should be quoted, and clients do not quote them.
fn is_token_like(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// What stands in quotes, and what comes behind them. Browsers write `%22`, `%0D` and `%0A`, libraries `\"` and `\\`; other
/// escapes are read in more than one way, other percent signs stand for themselves.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut left = text;
    loop {
        let at = left.find(['"', '\\', '%'])?;
        let (plain, special) = left.split_at(at);
        value.push_str(plain);
        let escapes =
            [("\\\"", '"'), ("\\\\", '\\'), ("%22", '"'), ("%0D", '\r'), ("%0d", '\r'), ("%0A", '\n'), ("%0a", '\n'), ("%", '%')];
        if let Some(after) = special.strip_prefix('"') {
            return Some((value, after));
        }
        let (after, means) = escapes.iter().find_map(|(escape, means)| Some((special.strip_prefix(escape)?, means)))?;
        value.push(*means);
        left = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=X";

    /// A form in short: a line of headers, then the content, for each part.
    fn form(parts: &[(&str, &str)]) -> String {
        let parts =
            parts.iter().map(|(head, content)| format!("--X\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n"));
        parts.chain(["--X--\r\n".to_owned()]).collect()
    }

    fn edited(form: &Form<'_>, set: &[(&str, &str)], left_out: &[&str]) -> Vec<u8> {
        form.edited(set, left_out).concat()
    }

    #[test]
    fn members_are_read_as_libraries_write_them() {
        let body = "\r\n--X \t\r\ncontent-disposition:form-data;name=\"model\"\r\n\r\nwhisper-1\r\n--X\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Disposition: form-data; name=timestamp_granularities[]\r\nContent-Length: 4\r\n\r\nword\r\n--X\r\nContent-Disposition: form-data; name=\"timestamp_granularities[]\"\r\n\r\nsegment\r\n--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\" c; name=x.mp3\"; filename*=UTF-8''a.mp3\r\nContent-Type: audio/mpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\u{1}\r\n\r\n--\r\n--X--\r\n\r\n";
        let form = Form::parse(body.as_bytes(), TYPE).unwrap();
        assert_eq!((form.text("model"), form.text("file"), form.text("none")), (Some("whisper-1"), None, None));
        assert_eq!(form.texts("timestamp_granularities[]").collect::<Vec<_>>(), ["word", "segment"]);
        assert!(form.has_file("file") && !form.has_file("model"));
        assert_eq!(form.file_bytes(), 8);
        for (head, name) in
            [("name=\"a%22b\"", "a\"b"), ("name=\"a\\\"b\\\\\"", "a\"b\\"), ("name=\"50%\"", "50%"), ("name=\"%0d%0A\"", "\r\n")]
        {
            assert_eq!(Form::parse(self::form(&[(head, "1")]).as_bytes(), TYPE).unwrap().text(name), Some("1"), "{head}");
        }
        assert_eq!(Form::parse(b"--X--", TYPE).unwrap().text("model"), None);
        assert_eq!(Form::parse(b"--X--\r\n", TYPE).unwrap().file_bytes(), 0);
    }

    #[test]
    fn a_boundary_is_read_quoted_or_not() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "----WebKitFormBoundary7MA4YWxkTrZu0gW"),
            ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b:c\"", "a b:c"),
            ("multipart/form-data; boundary=a=b ; x=\"y;z\"", "a=b"),
        ] {
            assert_eq!(boundary(content_type).unwrap(), expected);
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a b; c",
            "multipart/form-data; boundary=\u{e4}",
            "multipart/form-data; boundary=a*b",
            &long,
        ] {
            assert_eq!(boundary(content_type).unwrap_err().param.as_deref(), Some("content-type"), "{content_type}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let file = form(&[("name=\"model\"; filename=\"m\"", "a")]);
        let twice = form(&[("name=\"model\"", "a"), ("name=model", "b")]);
        let escaped = form(&[("name=\"mo\\del\"", "a")]);
        let starred = form(&[("name*=UTF-8''model", "a")]);
        let both = form(&[("name=\"x\"; name=\"model\"", "a")]);
        let attached = "--X\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--X--".to_owned();
        let nameless = form(&[("filename=\"a\"", "a")]);
        let inside = form(&[("name=\"file\"; filename=\"a\"", "data\r\n--Xylophone")]);
        let with = |header: &str| format!("--X\r\nContent-Disposition: form-data; name=\"n\"\r\n{header}\r\n\r\n1\r\n--X--\r\n");
        let crowd: Vec<(&str, &str)> = vec![("name=a", ""); 1_001];
        for body in [
            file,
            twice,
            escaped,
            starred,
            both,
            attached,
            nameless,
            inside,
            with("Content-Transfer-Encoding: base64"),
            with("Content-Type: text/plain; charset=utf-16"),
            with("Content-Disposition: form-data; name=\"model\""),
            with(" folded: line"),
            with("no header"),
            with("a: b\nc: d"),
            form(&crowd),
            format!("--X\r\nA: {}\r\n\r\n1\r\n--X--", "a".repeat(9_000)),
            format!("{}more", form(&[])),
            format!("preamble\r\n{}", form(&[])),
            "--X\r\n\r\n1\r\n--X--".to_owned(),
            "--X\r\nContent-Disposition: form-data; name=a\r\n1\r\n--X--".to_owned(),
            "--X\nContent-Disposition: form-data; name=a\n\n1\n--X--\n".to_owned(),
            "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X".to_owned(),
            "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n1".to_owned(),
            "--X".to_owned(),
            "--Y--".to_owned(),
            String::new(),
        ] {
            let refusal = Form::parse(body.as_bytes(), TYPE).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest, "{body}");
        }
        let binary = [form(&[("name=\"n\"", "1")]).as_bytes(), b""]
            .concat()
            .iter()
            .map(|b| if *b == b'1' { 0xff } else { *b })
            .collect::<Vec<u8>>();
        assert_eq!(Form::parse(&binary, TYPE).unwrap_err().param.as_deref(), Some("n"));
    }

    #[test]
    fn only_what_must_change_changes_and_no_file_is_copied() {
        let sound = "\u{0}sound\r\n--\r\nX\n--X--\r\n".repeat(1_000);
        let body = form(&[
            ("name=\"session_id\"", "s"),
            ("name=\"file\"; filename=\"a.mp3\"", &sound),
            ("name=\"model\"", "gateway/name"),
            ("name=\"provider\"", "{}"),
        ]);
        let form_ = Form::parse(body.as_bytes(), TYPE).unwrap();
        assert_eq!(form_.file_bytes(), u64::try_from(sound.len()).unwrap());
        let pieces = form_.edited(&[("model", "whisper-1")], &["session_id", "provider", "models"]);
        assert!(pieces.iter().filter(|piece| matches!(piece, Cow::Owned(_))).all(|piece| piece.len() < 100));
        let expected = form(&[("name=\"file\"; filename=\"a.mp3\"", &sound), ("name=\"model\"", "whisper-1")]);
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
        let added = form(&[("name=\"a\"", "1"), ("name=\"model\"", "m")]);
        let form_ = form(&[("name=\"a\"", "1")]);
        assert_eq!(edited(&Form::parse(form_.as_bytes(), TYPE).unwrap(), &[("model", "m")], &[]), added.as_bytes());
    }

    /// A part as it is meant: its name, whether it is a file, its content.
    type Meant = (String, bool, Vec<u8>);

    fn written(parts: &[Meant], boundary: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, is_file, content) in parts {
            let name = name.replace('"', "%22").replace('\\', "\\\\");
            let file = if *is_file { "; filename=\"x\"\r\nContent-Type: application/octet-stream" } else { "" };
            body.extend_from_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        body
    }

    fn read(body: &[u8], content_type: &str) -> Vec<Meant> {
        let form = Form::parse(body, content_type).unwrap();
        let content = |part: &Part<'_>| match part.content {
            Content::Text(text) => text.as_bytes().to_vec(),
            Content::File(bytes) => {
                let end = part.place.end - 2;
                form.body[end - bytes..end].to_vec()
            }
        };
        form.parts.iter().map(|part| (part.name.clone(), matches!(part.content, Content::File(_)), content(part))).collect()
    }

    fn part() -> impl Strategy<Value = Meant> {
        // Ends of lines, dashes and beginnings of boundaries, in any order.
        let bytes = proptest::sample::select(b"\r\n--Xab\0\xff\"".to_vec());
        let file = ("(image\\[\\]|file|a\"b|c\\\\)", proptest::collection::vec(bytes, 0..40))
            .prop_map(|(name, bytes)| (name, true, bytes));
        let text = ("(include\\[\\]|models|prompt\"|x y|temperature)", "[\r\nXab: -]{0,20}")
            .prop_map(|(name, text)| (name, false, text.into_bytes()));
        prop_oneof![file, text]
    }

    proptest! {
        #[test]
        fn any_form_survives(parts in proptest::collection::vec(part(), 0..6), has_model in any::<bool>(), boundary in "(XabX|X--|a'b c)") {
            let mut parts = parts;
            parts.retain(|(_, _, content)| !String::from_utf8_lossy(&[b"\r\n", content.as_slice()].concat()).contains(&format!("\r\n--{boundary}")));
            if has_model {
                parts.insert(parts.len() / 2, ("model".to_owned(), false, b"theirs".to_vec()));
            }
            let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
            let body = written(&parts, &boundary);
            prop_assert_eq!(read(&body, &content_type), parts.clone());
            let form = Form::parse(&body, &content_type).unwrap();
            prop_assert_eq!(edited(&form, &[], &[]), body.clone());
            let mut expected = parts;
            expected.retain(|(name, _, _)| name != "models");
            match expected.iter_mut().find(|(name, _, _)| name == "model") {
                Some((_, _, value)) => *value = b"ours".to_vec(),
                None => expected.push(("model".to_owned(), false, b"ours".to_vec())),
            }
            let changed = edited(&form, &[("model", "ours")], &["models"]);
            prop_assert_eq!(&changed, &written(&expected, &boundary));
            prop_assert_eq!(read(&changed, &content_type), expected);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200), content_type in ".{0,60}") {
            let _ = Form::parse(&bytes, TYPE);
            let _ = Form::parse(&bytes, &content_type);
        }

        #[test]
        fn a_form_with_any_change_is_read_or_refused(at in 0usize..200, byte in any::<u8>(), cut in 0usize..300) {
            let mut body = form(&[("name=\"model\"", "m"), ("name=\"file\"; filename=\"a\"", "\r\n--\r\n"), ("name=\"n\"", "2")]).into_bytes();
            if let Some(old) = body.get_mut(at) {
                *old = byte;
            }
            body.truncate(cut.max(1));
            if let Ok(form) = Form::parse(&body, TYPE) {
                // Whatever it is now, what is written of it says the same again.
                let changed = edited(&form, &[("model", "ours")], &[]);
                let again = Form::parse(&changed, TYPE).unwrap();
                prop_assert_eq!((again.text("model"), again.text("n")), (Some("ours"), form.text("n")));
            }
        }
    }
}
