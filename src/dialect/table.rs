//! What becomes of each member of a request: one table for each format.
//!
//! What always holds: a member that decides who serves a request or what it costs is in the table of its format and marked there,
//! so that it is read under no other spelling; a translation names or refuses what it does not carry. A section of
//! `docs/reference/dialects.md` is written from these tables; a test compares them.

use super::dropped::Dropped;
use super::envelope::Fields;
use super::node::Node;
use crate::refusal::Refusal;

/// What a translation does with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is for the gateway, and goes no further.
    Own,
    /// It is read into the conversation.
    Mapped,
    /// It is left out and named.
    Dropped,
    /// It cannot be left out, for this reason.
    Refused(&'static str),
}

/// A member of a request.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    name: &'static str,
    fate: Fate,
    decides: bool,
    /// The only values that have a price, as JSON.
    priced: Option<&'static [&'static str]>,
}

/// A member that is for the gateway.
pub const fn own(name: &'static str) -> Row {
    Row { name, fate: Fate::Own, decides: false, priced: None }
}

/// A member that is carried over; in formats that are not translated, one that is read.
pub const fn mapped(name: &'static str) -> Row {
    Row { name, fate: Fate::Mapped, decides: false, priced: None }
}

/// A member that is left out.
pub const fn dropped(name: &'static str) -> Row {
    Row { name, fate: Fate::Dropped, decides: false, priced: None }
}

/// A member that cannot be left out; `why` follows its name.
pub const fn refused(name: &'static str, why: &'static str) -> Row {
    Row { name, fate: Fate::Refused(why), decides: false, priced: None }
}

impl Row {
    /// It decides who serves the request or what it costs.
    pub const fn decides(self) -> Self {
        Self { decides: true, ..self }
    }

    /// It may have these values, given as JSON; no other has a price.
    pub const fn priced(self, values: &'static [&'static str]) -> Self {
        Self { priced: Some(values), ..self }.decides()
    }
}

/// What every request may have for the gateway.
pub const OWN: [Row; 6] = [
    own("model").decides(),
    own("models").decides(),
    own("provider").decides(),
    own("session_id"),
    own("fit"),
    own("stream").decides(),
];

/// The members of a format's requests.
#[derive(Debug)]
pub struct Table {
    /// Those for the gateway.
    pub own: &'static [Row],
    /// Those of the format.
    pub rows: &'static [Row],
    /// What becomes of all others.
    pub others: Fate,
}

impl Table {
    /// Of a format that is not translated.
    pub const fn passing(rows: &'static [Row]) -> Self {
        Self { own: &OWN, rows, others: Fate::Mapped }
    }

    fn rows(&self) -> impl Iterator<Item = &'static Row> + use<> {
        self.own.iter().chain(self.rows)
    }

    /// The members that decide who serves a request or what it costs.
    pub fn deciding(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.rows().filter(|row| row.decides).map(|row| row.name)
    }

    /// Refuses members whose values have no price.
    pub fn check_prices(&self, fields: &Fields<'_, '_>) -> Result<(), Refusal> {
        self.rows().filter_map(|row| Some((row.name, row.priced?))).try_for_each(|(name, priced)| fields.only(name, priced))
    }

    /// Goes through the members of a request that is translated: what is left out is named, and what cannot be is refused.
    pub fn sift(&self, request: &Node<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
        for name in request.names() {
            match self.rows().find(|row| row.name == name).map_or(self.others, |row| row.fate) {
                Fate::Own | Fate::Mapped => {}
                Fate::Dropped => dropped.note(&request.at(name)),
                Fate::Refused(why) => return Err(request.wrong(name, why)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Endpoint;
    use crate::dialect::gemini::GENERATION_CONFIG;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/dialects.md");
    /// The section is between these.
    const MARKS: [&str; 2] = ["<!-- Written by a test from the tables in src/dialect. -->\n", "<!-- Until here. -->\n"];
    const WIDEST: usize = 132;

    fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// A line of a list, wrapped; nothing where it lists nothing.
    fn line(head: &str, text: &str) -> String {
        let mut out = format!("- {head}:");
        let mut width = out.len();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if width + word.len() + 1 > WIDEST {
                out.push_str("\n ");
                width = 1;
            }
            out.push(' ');
            out.push_str(word);
            width += word.len() + 1;
        }
        if text.is_empty() { String::new() } else { out + "\n" }
    }

    fn told(name: &str, table: &Table) -> String {
        let of = |wanted: fn(&Fate) -> bool| {
            let names = list(table.rows().filter(|row| wanted(&row.fate)).map(|row| row.name));
            let others = if wanted(&table.others) { "every other member" } else { "" };
            [names.as_str(), others].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        };
        let priced = table.rows().filter_map(|row| {
            let values = list(row.priced?.iter().copied());
            Some(format!("`{}`: {}", row.name, if values.is_empty() { "none".to_owned() } else { values }))
        });
        [
            format!("**{name}**\n\n"),
            line("For the gateway", &of(|fate| *fate == Fate::Own)),
            line("Mapped", &of(|fate| *fate == Fate::Mapped)),
            line("Dropped", &of(|fate| *fate == Fate::Dropped)),
            line("Refused", &of(|fate| matches!(fate, Fate::Refused(_)))),
            line("Served with these values only", &priced.collect::<Vec<_>>().join("; ")),
            "\n".to_owned(),
        ]
        .concat()
    }

    #[test]
    fn the_reference_says_what_the_tables_say() {
        let of = |endpoint: Endpoint| endpoint.format().members();
        let guarded: std::collections::BTreeSet<_> =
            Endpoint::of_lower_case().flat_map(|endpoint| of(endpoint).deciding()).collect();
        let section = [
            told("Chat completions", of(Endpoint::Chat)),
            told("Responses", of(Endpoint::Responses)),
            told("Messages", of(Endpoint::Messages)),
            told("generateContent", of(Endpoint::Generate)),
            told("`generationConfig` of generateContent", &GENERATION_CONFIG),
            "**Must be written in lower case**, in every format but Gemini's\n\n".to_owned(),
            line("Decide who serves a request or what it costs", &list(guarded.into_iter())),
        ]
        .concat();
        let document = std::fs::read_to_string(DOCUMENT).unwrap();
        let (before, rest) = document.split_once(MARKS[0]).unwrap();
        let (written, after) = rest.split_once(MARKS[1]).unwrap();
        if std::env::var_os("TF_WRITE").is_some() {
            std::fs::write(DOCUMENT, [before, MARKS[0], &section, MARKS[1], after].concat()).unwrap();
        } else {
            assert_eq!(written, section, "TF_WRITE=1 cargo test --lib the_reference_says writes it");
        }
    }

    #[test]
    fn what_is_for_the_gateway_is_neither_named_nor_refused() {
        let own = r#""model":"m","models":["a"],"provider":{},"session_id":"s","fit":"never","stream":true"#;
        for (endpoint, said) in [
            (Endpoint::Chat, r#""messages":[]"#),
            (Endpoint::Responses, r#""input":"x""#),
            (Endpoint::Messages, r#""messages":[]"#),
            (Endpoint::Generate, r#""contents":[]"#),
        ] {
            let text = format!("{{{own},{said}}}");
            let object = crate::dialect::Object::parse(&text).unwrap();
            let read = endpoint.format().translation().unwrap().read_request(&object).unwrap();
            assert!(read.dropped.is_empty(), "{endpoint:?}: {:?}", read.dropped);
        }
    }

    #[test]
    fn a_member_stands_in_a_table_once() {
        for endpoint in Endpoint::of_lower_case() {
            let table = endpoint.format().members();
            let names: Vec<&str> = table.rows().map(|row| row.name).collect();
            assert_eq!(super::super::json::repeated(names.into_iter()), None, "{endpoint:?}");
        }
    }
}
