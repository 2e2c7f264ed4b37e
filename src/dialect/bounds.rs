//! What one request may contain. Everything is counted before anything is collected, in one pass that keeps nothing but the
//! depth, so that no body costs more than its length. `docs/reference/limits.md` has the same numbers; a test compares them.
//!
//! What always holds: the bounds are far above what clients send and what providers take; whoever meets one is told which, and by
//! how much.

use memchr::memchr2;

use crate::refusal::Refusal;

/// Objects and lists stand in one another no deeper: nobody who reads recursively reads deeper either.
pub const DEEPEST: usize = 128;
/// Members of one object: arguments of calls are objects, too, with as many as a model can write.
pub const MOST_MEMBERS: usize = 16_384;
/// Objects in a request: messages, their parts, tools and what schemas are made of.
pub const MOST_OBJECTS: usize = 100_000;
/// Values in a request, such as the tokens of texts to be embedded.
pub const MOST_VALUES: usize = 500_000;
/// Tools that are offered, those in groups too.
pub const MOST_TOOLS: usize = 4_096;
/// Texts that end an answer.
pub const MOST_STOPS: usize = 256;
/// The model and its fallbacks.
pub const MOST_MODELS: usize = 16;
/// Channels in each list of `provider`.
pub const MOST_PROVIDERS: usize = 64;
/// Items that a provider keeps, named by one request.
pub const MOST_REFERENCES: usize = 4_096;
/// Calls in one answer.
pub const MOST_CALLS: usize = 1_024;

/// Lists of tools, as every dialect calls them, and how deep they can stand: deeper ones are somebody's data.
const TOOLS: [&str; 4] = ["tools", "functions", "functionDeclarations", "function_declarations"];
const DEEPEST_TOOLS: usize = 4;
/// Lists of texts that end an answer.
const STOPS: [&str; 4] = ["stop", "stop_sequences", "stopSequences", "stop_token_ids"];
const DEEPEST_STOPS: usize = 2;

/// What is open at a place of the text.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// Its members or items so far.
    count: usize,
    holds: Holds,
}

/// What a list holds that has a bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Holds {
    Tools,
    Stops,
    #[default]
    Anything,
}

/// What was counted of a JSON text.
#[derive(Debug, Default)]
struct Counts {
    depth: usize,
    deepest: usize,
    most_members: usize,
    objects: usize,
    values: usize,
    tools: usize,
    stops: usize,
}

impl Counts {
    /// Counts a text, whether it is JSON or not: of what is not, nothing is read beyond its fault, and up to there it is counted
    /// as it is read.
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut counts = Self::default();
        let mut open: Vec<Open> = Vec::with_capacity(DEEPEST);
        // The string before this place, which is a name if a colon follows.
        let mut string = 0..0;
        let mut is_named = false;
        let mut at = 0_usize;
        while let Some(byte) = bytes.get(at) {
            let start = at.saturating_add(1);
            at = start;
            match byte {
                b'"' => {
                    let end = next_quote(bytes, start).unwrap_or(bytes.len());
                    string = start..end;
                    at = end.saturating_add(1);
                }
                b':' => is_named = true,
                b',' => {
                    is_named = false;
                    counts.item(open.last_mut());
                }
                b'{' | b'[' => {
                    let name = text.get(string.clone()).filter(|_| is_named && *byte == b'[').unwrap_or_default();
                    let holds = holds(name, counts.depth);
                    is_named = false;
                    counts.begin(*byte == b'{', holds, &mut open);
                    // What stands in it is counted with the first of it, and with each comma.
                    if !bytes.get(at..).unwrap_or_default().trim_ascii_start().starts_with(if *byte == b'{' {
                        b"}"
                    } else {
                        b"]"
                    }) {
                        counts.item(open.last_mut());
                    }
                }
                b'}' | b']' => counts.end(*byte == b'}', &mut open),
                _ => {}
            }
        }
        counts
    }

    fn begin(&mut self, is_object: bool, holds: Holds, open: &mut Vec<Open>) {
        self.objects = self.objects.saturating_add(usize::from(is_object));
        self.depth = self.depth.saturating_add(1);
        self.deepest = self.deepest.max(self.depth);
        // Nothing is kept of what is too deep.
        if self.depth <= DEEPEST {
            open.push(Open { count: 0, holds });
        }
    }

    fn item(&mut self, open: Option<&mut Open>) {
        self.values = self.values.saturating_add(1);
        let Some(open) = open else { return };
        open.count = open.count.saturating_add(1);
        match open.holds {
            Holds::Tools => self.tools = self.tools.saturating_add(1),
            Holds::Stops => self.stops = self.stops.saturating_add(1),
            Holds::Anything => {}
        }
    }

    fn end(&mut self, is_object: bool, open: &mut Vec<Open>) {
        if self.depth <= DEEPEST
            && let Some(Open { count, .. }) = open.pop().filter(|_| is_object)
        {
            self.most_members = self.most_members.max(count);
        }
        self.depth = self.depth.saturating_sub(1);
    }
}

/// What a list of a name holds at a depth.
fn holds(name: &str, depth: usize) -> Holds {
    if name.is_empty() {
        return Holds::Anything;
    }
    // Nobody needs to escape a letter.
    let name = match name.contains('\\') {
        true => serde_json::from_str(&format!("\"{name}\"")).unwrap_or_default(),
        false => name.to_owned(),
    };
    match name.as_str() {
        name if depth <= DEEPEST_TOOLS && TOOLS.contains(&name) => Holds::Tools,
        name if depth <= DEEPEST_STOPS && STOPS.contains(&name) => Holds::Stops,
        _ => Holds::Anything,
    }
}

/// The place of the next quote from here on that is not escaped.
pub fn next_quote(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = memchr2(b'"', b'\\', bytes.get(from..)?)?.saturating_add(from);
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at.saturating_add(2);
    }
}

/// Refuses a body that contains more than a request may.
pub fn check(text: &str) -> Result<(), Refusal> {
    let counts = Counts::of(text);
    for (what, of, count, most) in [
        ("", "levels of objects and lists in one another", counts.deepest, DEEPEST),
        ("", "members in one of its objects", counts.most_members, MOST_MEMBERS),
        ("tools", "tools", counts.tools, MOST_TOOLS),
        ("stop", "texts that end an answer", counts.stops, MOST_STOPS),
        ("", "objects", counts.objects, MOST_OBJECTS),
        ("", "values", counts.values, MOST_VALUES),
    ] {
        if count > most {
            return Err(too_many(what, of, count, most));
        }
    }
    Ok(())
}

/// Refuses a list that is longer than it may be. Its items are counted and not read; what is no list is for its reader to refuse.
pub fn check_list(path: &str, of: &str, json: &str, most: usize) -> Result<(), Refusal> {
    let count = items(json);
    if count > most { Err(too_many(path, of, count, most)) } else { Ok(()) }
}

/// How many items the list has that a JSON text is.
fn items(json: &str) -> usize {
    if !json.starts_with('[') {
        return 0;
    }
    let bytes = json.as_bytes();
    let (mut depth, mut count, mut at) = (0_usize, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at = at.saturating_add(1);
        match byte {
            b'"' => at = next_quote(bytes, at).unwrap_or(bytes.len()).saturating_add(1),
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => count = count.saturating_add(1),
            _ => {}
        }
    }
    let is_empty = json.get(1..).is_some_and(|rest| rest.trim_start().starts_with(']'));
    if is_empty { 0 } else { count.saturating_add(1) }
}

/// More of something than a request may have.
pub fn too_many(param: &str, of: &str, count: usize, most: usize) -> Refusal {
    let message = format!("The request has {count} {of}; it may have at most {most}.");
    let next_step = match param {
        "" => "Send less in one request.".to_owned(),
        param => format!("Shorten `{param}` and send the request again."),
    };
    let refusal = Refusal { next_step, ..Refusal::invalid(param, message) };
    let refusal = if param.is_empty() { Refusal { param: None, ..refusal } } else { refusal };
    refusal.fact("count", count).fact("limit", most)
}
