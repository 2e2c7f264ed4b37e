//! Time: a moment in UTC and the periods of budgets. Never read here: the clock is an argument.
//!
//! What is written can be read again: RFC 3339 has the years 0 to 9999, and a moment beyond them is written as the first or the last.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, Time};

/// A minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A moment, in milliseconds since 1970 in UTC. In JSON it is RFC 3339 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Time", extend("format" = "date-time")))]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment that can be written, 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The last moment that can be written, 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, any offset with which it is a moment of the years 0 to 9999 in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
        Some(Self(millis)).filter(|moment| (Self::MIN..=Self::MAX).contains(moment))
    }

    /// This moment and `millis` more.
    pub const fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// Its day in UTC, such as `2026-11-22`.
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// The same moment to the second, for sentences.
    pub const fn to_second(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(1000)))
    }

    fn date_time(self) -> OffsetDateTime {
        let written = self.clamp(Self::MIN, Self::MAX);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(written.0).saturating_mul(1_000_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    fn from_date(date: Date) -> Self {
        Self(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp().saturating_mul(1000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.date_time().format(&Rfc3339).unwrap_or_default())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("must be a time in RFC 3339, such as 2026-12-31T00:00:00Z")
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> Self {
        moment.to_string()
    }
}

/// How long a budget counts before it starts again, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Never starts again.
    Total,
    /// From midnight.
    Day,
    /// From the first of the month.
    Month,
}

impl Period {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// When the period that contains `now` began.
    pub fn start(self, now: Timestamp) -> Timestamp {
        let date = now.date_time().date();
        match self {
            Self::Total => Timestamp(0),
            Self::Day => Timestamp::from_date(date),
            Self::Month => Timestamp::from_date(date.replace_day(1).unwrap_or(date)),
        }
    }

    /// When the period that contains `now` ends; none if it never does.
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        let date = now.date_time().date();
        match self {
            Self::Total => None,
            Self::Day => date.next_day().map(Timestamp::from_date),
            Self::Month => {
                let first = date.replace_day(1).unwrap_or(date);
                let next = first.checked_add(Duration::days(31))?;
                next.replace_day(1).ok().map(Timestamp::from_date)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in any::<i64>(), near in -400_000_000_000_000_i64..400_000_000_000_000) {
            for moment in [Timestamp(millis), Timestamp(near)] {
                let text = moment.to_string();
                prop_assert_eq!(Timestamp::parse(&text), Some(moment.clamp(Timestamp::MIN, Timestamp::MAX)), "{}", text);
            }
        }

        #[test]
        fn what_is_read_is_written_as_it_is(edge in 0_usize..3, second in 0_i64..200_000, hours in -23_i64..=23, minutes in 0_i64..60) {
            let (seconds, sign) = ([-62_167_219_200, 253_402_300_799 - 200_000, 0][edge] + second, if hours < 0 { '-' } else { '+' });
            let local = OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap();
            let text = format!("{}{sign}{:02}:{minutes:02}", local.trim_end_matches('Z'), hours.abs());
            if let Some(read) = Timestamp::parse(&text) {
                prop_assert_eq!(Timestamp::parse(&read.to_string()), Some(read), "{}", text);
            } else {
                prop_assert!(edge != 2, "{} is a time", text);
            }
        }
    }

    #[test]
    fn a_time_that_cannot_be_written_in_utc_is_none() {
        for text in ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999-00:01", "0000-01-01T00:00:00+00:01"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        for (text, edge) in [("0000-01-01T00:00:00Z", Timestamp::MIN), ("9999-12-31T23:59:59.999Z", Timestamp::MAX)] {
            assert_eq!(Timestamp::parse(text), Some(edge));
            assert_eq!(edge.to_string(), text);
        }
        assert_eq!(Timestamp::MAX.plus(1).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::MIN.plus(-1).to_string(), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let moment = Timestamp::parse("2026-11-22T15:20:07.125+02:00").unwrap();
        assert_eq!(moment.to_string(), "2026-11-22T13:20:07.125Z");
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn periods_begin_and_end_in_utc() {
        let now = Timestamp::parse("2026-12-31T23:59:59.999Z").unwrap();
        assert_eq!(Period::Day.start(now).to_string(), "2026-12-31T00:00:00Z");
        assert_eq!(Period::Day.end(now).unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(Period::Month.start(now).to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(Period::Month.end(now).unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(Period::Total.end(now), None);
    }
}
