//! Times to wait in JSON of upstream's, by the names of members: within the bound of those in headers.
//!
//! What always holds: what is within the bound stays as it was written; a time that nobody can read as one stays too.

use super::bounds::DEEPEST;
use crate::refusal::{LONGEST_WAIT_S, wait_in_seconds};

/// What is in names of members that hold such a time, without case and signs.
const NAMES: [&str; 10] = [
    "retryafter",
    "retrydelay",
    "retryin",
    "tryagain",
    "resetafter",
    "resetin",
    "resetsin",
    "waittime",
    "waitseconds",
    "cooldown",
];
/// How those end whose time is not in seconds, and members within them; with the bound in each.
const UNITS: [(&str, u64); 7] = [
    ("milliseconds", LONGEST_WAIT_S * 1_000),
    ("millis", LONGEST_WAIT_S * 1_000),
    ("ms", LONGEST_WAIT_S * 1_000),
    ("minutes", LONGEST_WAIT_S / 60),
    ("hours", LONGEST_WAIT_S / 3_600),
    ("seconds", LONGEST_WAIT_S),
    ("secs", LONGEST_WAIT_S),
];
/// Members that stand beside an error at the top.
pub const BESIDE: [&str; 9] = [
    "retry_after",
    "retry_after_ms",
    "retry_after_s",
    "retry_after_seconds",
    "retryAfter",
    "retryAfterMs",
    "retryDelay",
    "retry-after",
    "retry-after-ms",
];
/// No such name is longer.
const LONGEST_NAME: usize = 64;

/// The most that a member may hold, if its name says that it is a time to wait.
pub fn most_of(name: &str) -> Option<u64> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let unit = || UNITS.iter().find(|(end, _)| plain.ends_with(end)).map_or(LONGEST_WAIT_S, |(_, most)| *most);
    NAMES.iter().any(|known| plain.contains(known)).then(unit)
}

/// Where a scan of a JSON text is, as far as times to wait go: right behind the name of one, or in an object or a list that is one,
/// and no deeper. What is deeper is no time that anybody reads.
#[derive(Debug, Default)]
pub struct ScanPlace {
    /// What each object and list around the place is; of those beyond [`DEEPEST`] nothing is kept.
    open: Vec<Open>,
    depth: usize,
    /// The most that the next value may hold.
    next: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Anything,
    /// A time by its units: `{"seconds": 60}`.
    Units,
    /// Times to wait, each with this bound.
    Times(u64),
}

impl ScanPlace {
    /// Before a value that may hold so much.
    pub const fn before(most: Option<u64>) -> Self {
        Self { open: Vec::new(), depth: 0, next: most }
    }

    /// Passes the name of a member.
    pub fn name(&mut self, name: &str) {
        let is_unit = self.around() == Open::Units;
        let unit = UNITS.iter().find(|(unit, _)| is_unit && *unit == name).map(|(_, most)| *most);
        self.next = unit.or_else(|| most_of(name));
    }

    /// Passes a value that is no object and no list: the most that it may hold, if it is a time to wait.
    pub fn value(&mut self) -> Option<u64> {
        let in_list = match self.around() {
            Open::Times(most) => Some(most),
            Open::Anything | Open::Units => None,
        };
        self.next.take().or(in_list)
    }

    /// Goes into an object or a list.
    pub fn enter(&mut self, is_object: bool) {
        let open = match self.next.take() {
            Some(_) if is_object => Open::Units,
            Some(most) => Open::Times(most),
            None => Open::Anything,
        };
        self.depth = self.depth.saturating_add(1);
        if self.depth <= DEEPEST {
            self.open.push(open);
        }
    }

    /// Comes out of it.
    pub fn leave(&mut self) {
        if self.depth <= DEEPEST {
            self.open.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        self.next = None;
    }

    fn around(&self) -> Open {
        self.open.last().copied().filter(|_| self.depth <= DEEPEST).unwrap_or(Open::Anything)
    }
}

/// A number as JSON that is a time to wait, within the bound; none if it is within it.
pub fn bounded_number(number: &str, most: u64) -> Option<String> {
    let is_more = match wait_in_seconds(number) {
        Some(told) => told > most,
        // Such as 1e9.
        None => number.trim().parse::<f64>().is_ok_and(|told| told > f64::from(u32::try_from(most).unwrap_or(u32::MAX))),
    };
    is_more.then(|| most.to_string())
}

/// The same of a text, which may have its units.
pub fn bounded_text(text: &str, most: u64) -> Option<String> {
    bounded_number(text, most).or_else(|| bounded_duration(text))
}

/// A text that is a time with its units, `86400s` or `1h30m`, within the bound; none if it is within it.
pub fn bounded_duration(text: &str) -> Option<String> {
    let (mut rest, mut seconds) = (text.trim(), 0_u64);
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let (unit, after) = after.split_at_checked(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()))?;
        let number = wait_in_seconds(number)?;
        let told = match unit.trim() {
            "ms" => number.div_ceil(1_000),
            "s" | "sec" | "seconds" => number,
            "m" | "min" | "minutes" => number.saturating_mul(60),
            "h" | "hours" => number.saturating_mul(3_600),
            "d" | "days" => number.saturating_mul(86_400),
            _ => return None,
        };
        seconds = seconds.saturating_add(told);
        rest = after;
    }
    (seconds > LONGEST_WAIT_S).then(|| format!("{LONGEST_WAIT_S}s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number or a text as JSON.
    fn bounded(json: &str, most: u64) -> Option<String> {
        match json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) {
            Some(text) => bounded_text(text, most).map(|told| format!("\"{told}\"")),
            None => bounded_number(json, most),
        }
    }

    #[test]
    fn a_time_is_known_by_its_name_and_its_unit() {
        for (name, most) in [
            ("retry_after", Some(3_600)),
            ("retryAfter", Some(3_600)),
            ("Retry-After", Some(3_600)),
            ("x-retry-after", Some(3_600)),
            ("retry_after_seconds", Some(3_600)),
            ("retry-after-ms", Some(3_600_000)),
            ("retryAfterMillis", Some(3_600_000)),
            ("retryDelay", Some(3_600)),
            ("wait_time_minutes", Some(60)),
            ("reset_after", Some(3_600)),
            ("cooldown_hours", Some(1)),
            ("try_again_in", Some(3_600)),
            ("max_retries", None),
            ("retry", None),
            ("limit", None),
            ("code", None),
            ("", None),
        ] {
            assert_eq!(most_of(name), most, "{name}");
        }
        assert!(BESIDE.iter().all(|name| most_of(name).is_some()));
    }

    #[test]
    fn a_time_beyond_the_bound_is_the_bound_in_every_form() {
        for (json, told) in [
            ("86400", Some("3600")),
            ("3600", None),
            ("3600.0", None),
            ("3600.1", Some("3600")),
            ("0", None),
            ("-5", None),
            ("1e9", Some("3600")),
            ("9E99999", Some("3600")),
            ("99999999999999999999999999", Some("3600")),
            ("\"86400\"", Some("\"3600\"")),
            ("\" 86400.5 \"", Some("\"3600\"")),
            ("\"7\"", None),
            ("\"86400s\"", Some("\"3600s\"")),
            ("\"1h30m\"", Some("\"3600s\"")),
            ("\"1h0m0s\"", None),
            ("\"2 days\"", Some("\"3600s\"")),
            ("\"90000ms\"", None),
            ("\"9000000ms\"", Some("\"3600s\"")),
            ("\"soon\"", None),
            ("\"Wed, 21 Oct 2026 07:28:00 GMT\"", None),
            ("\"\"", None),
            ("null", None),
            ("true", None),
        ] {
            assert_eq!(bounded(json, LONGEST_WAIT_S).as_deref(), told, "{json}");
        }
        assert_eq!(bounded("86400", LONGEST_WAIT_S * 1_000), None);
        assert_eq!(bounded("86400000", LONGEST_WAIT_S * 1_000).as_deref(), Some("3600000"));
    }

    proptest! {
        #[test]
        fn nothing_is_above_the_bound_and_nothing_within_it_changes(number in any::<u64>(), small in 0..=LONGEST_WAIT_S, fraction in "(\\.[0-9]{1,4})?") {
            for quote in ["", "\""] {
                let told = bounded(&format!("{quote}{number}{fraction}{quote}"), LONGEST_WAIT_S);
                prop_assert_eq!(told.is_some(), number >= LONGEST_WAIT_S && (number > LONGEST_WAIT_S || fraction.bytes().any(|byte| matches!(byte, b'1'..=b'9'))));
                prop_assert_eq!(bounded(&format!("{quote}{small}{quote}"), LONGEST_WAIT_S), None);
            }
        }

        #[test]
        fn no_value_is_too_odd(json in "[\\[\\]{}\":,0-9a-zé. -]{0,40}") {
            let _ = bounded(&json, LONGEST_WAIT_S);
            let _ = bounded_duration(&json);
        }
    }
}
