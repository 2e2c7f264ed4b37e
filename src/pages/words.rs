//! Numbers and times in the words that every page uses.

use std::fmt::Write;

use time::OffsetDateTime;

use super::markup::Markup;
use crate::catalog::{ModelKind, RouteKind};
use crate::routing::health::HealthStatus;
use crate::time::Timestamp;
use crate::truth::{Missed, Truth};
pub use crate::usage::grouped;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MINUTE_MS: u64 = crate::time::MINUTE_MS.unsigned_abs();
const HOUR_MS: u64 = crate::time::HOUR_MS.unsigned_abs();
const DAY_MS: u64 = crate::time::DAY_MS.unsigned_abs();

/// What shares are counted in here, so that nothing else has to calculate with floats: parts of 10,000.
pub const WHOLE: u64 = 10_000;

/// A share as parts of [`WHOLE`], rounded down: only a full share is whole. None of what is no share.
pub fn parts(share: Option<f64>) -> Option<u64> {
    let share = share.filter(|share| (0.0..=1.0).contains(share))?;
    if share >= 1.0 {
        return Some(WHOLE);
    }
    // A little is added because 0.9998 times 10,000 may come out a hair below 9,998.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 10,000.
    let parts = (share * 10_000.0 + 1e-6) as u64;
    Some(parts.min(WHOLE.saturating_sub(1)))
}

/// A share in percent, never rounded up: `99.99 %` until it is the whole.
pub fn uptime(share: Option<f64>) -> String {
    parts(share).map_or_else(|| "no data".to_owned(), percent)
}

/// How often "callable" came true, in one sentence.
pub fn truth(truth: &Truth) -> String {
    let Some(parts) = truth.parts() else {
        return "No request counted in the last 30 days.".to_owned();
    };
    let requests = if truth.callable == 1 { "request" } else { "requests" };
    let (answered, callable) = (grouped(truth.answered), grouped(truth.callable));
    format!("“Callable” came true for {answered} of {callable} {requests} in the last 30 days: {}.", percent(parts))
}

/// How many misses are told, and of how many.
pub fn misses(truth: &Truth) -> String {
    let shown = u64::try_from(truth.misses.len()).unwrap_or(u64::MAX);
    match truth.callable.saturating_sub(truth.answered) {
        all if all > shown => format!("The last {shown} of {} misses", grouped(all)),
        _ => counted(truth.misses.len(), "miss", "misses"),
    }
}

/// Why it did not, for people; what upstream did is told as of any failure.
pub const fn missed(missed: Missed) -> &'static str {
    match missed {
        Missed::Connect => "No connection",
        Missed::Timeout => "No answer in time",
        Missed::Load => "Asked for fewer requests",
        Missed::Server => "Failed on its side",
        Missed::Credential => "Did not accept the gateway's credential",
        Missed::Forbidden => "Refused this to the gateway",
        Missed::Absent => "Has nothing at that place",
        Missed::NotFound => "Does not know the model",
        Missed::Unreadable => "Answered with something that is no answer",
        Missed::NotConfigured => "Has no credential set",
        Missed::Cut => "Broke off in the middle of an answer",
        Missed::OtherRoute => "Answered over another route",
        Missed::OtherModel => "Answered by a fallback model",
        Missed::Lost => "Lost by the gateway",
    }
}

/// Parts of [`WHOLE`] in percent, with up to two digits.
pub fn percent(parts: u64) -> String {
    let (whole, rest) = (parts / 100, parts % 100);
    match (rest, rest % 10) {
        (0, _) => format!("{whole} %"),
        (_, 0) => format!("{whole}.{} %", rest / 10),
        _ => format!("{whole}.{rest:02} %"),
    }
}

/// A duration: `312 ms`, `1.24 s`, `2 min 5 s`.
pub fn millis(value: Option<u64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(ms) if ms < 1000 => format!("{ms} ms"),
        Some(ms) if ms < MINUTE_MS => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        Some(ms) => format!("{} min {} s", ms / MINUTE_MS, ms % MINUTE_MS / 1000),
    }
}

/// `1 model`, `2 models`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{} {word}", grouped(u64::try_from(number).unwrap_or(u64::MAX)))
}

fn date_time(moment: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.millis()).saturating_mul(1_000_000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `22 Nov 2026`.
pub fn date(moment: Timestamp) -> String {
    let at = date_time(moment);
    let month = MONTHS.get(usize::from(u8::from(at.month()).saturating_sub(1))).copied().unwrap_or_default();
    format!("{} {month} {}", at.day(), at.year())
}

/// `22 Nov 2026, 13:20 UTC`.
pub fn moment_text(moment: Timestamp) -> String {
    let at = date_time(moment);
    format!("{}, {:02}:{:02} UTC", date(moment), at.hour(), at.minute())
}

/// `13:00`.
pub fn clock(moment: Timestamp) -> String {
    let at = date_time(moment);
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// How long, in its one or two largest units.
pub fn span(millis: u64) -> String {
    let (days, hours, minutes) = (millis / DAY_MS, millis % DAY_MS / HOUR_MS, millis % HOUR_MS / MINUTE_MS);
    match (days, hours, minutes) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (1, 0, _) => "1 day".to_owned(),
        (1, hours, _) => format!("1 day {hours} h"),
        (days, _, _) => format!("{} days", grouped(days)),
    }
}

fn element(moment: Timestamp, title: Option<&str>, text: &str) -> Markup {
    let mut html = format!("<time datetime=\"{moment}\"");
    if let Some(title) = title {
        let _ = write!(html, " title=\"{title}\"");
    }
    let _ = write!(html, ">{text}</time>");
    Markup(html)
}

/// A moment, in words and for machines.
pub fn moment(at: Timestamp) -> Markup {
    element(at, None, &moment_text(at))
}

/// A day, in words and for machines.
pub fn day(at: Timestamp) -> Markup {
    Markup(format!("<time datetime=\"{}\">{}</time>", at.day(), date(at)))
}

/// A moment as its distance from now; the moment itself is its title.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let text = if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) };
    element(at, Some(&moment_text(at)), &text)
}

/// How long something is so: `for 3 days`.
pub fn lasting(since: Timestamp, now: Timestamp) -> Markup {
    element(since, Some(&moment_text(since)), &format!("for {}", span(now.since(since))))
}

/// A status as a word.
pub const fn status_word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Up => "Up",
        HealthStatus::Degraded => "Degraded",
        HealthStatus::Down => "Down",
        HealthStatus::Unknown => "Unknown",
    }
}

/// A status as a shape, a word and a colour, so that no one of them is needed alone.
pub fn status(status: HealthStatus) -> Markup {
    let shape = match status {
        HealthStatus::Up => "<circle cx=\"6\" cy=\"6\" r=\"5\"/>",
        HealthStatus::Degraded => "<path d=\"M6 .8 11.6 11H.4Z\"/>",
        HealthStatus::Down => "<path d=\"M1 1h10v10H1Z\"/>",
        HealthStatus::Unknown => "<circle cx=\"6\" cy=\"6\" r=\"4\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\"/>",
    };
    let (class, word) = (status.as_str(), status_word(status));
    Markup(format!(
        "<span class=\"state {class}\"><svg viewBox=\"0 0 12 12\" width=\"12\" height=\"12\" aria-hidden=\"true\">{shape}</svg>{word}</span>"
    ))
}

/// What a model of this kind does.
pub const fn kind(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Chat => "Chat",
        ModelKind::Embedding => "Embeddings",
        ModelKind::Moderation => "Moderation",
        ModelKind::Image => "Images",
        ModelKind::Speech => "Speech",
        ModelKind::Transcription => "Transcription",
        ModelKind::Rerank => "Rerank",
    }
}

/// A route, as a word.
pub const fn route(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Official => "Official",
        RouteKind::Routed => "Routed",
    }
}

/// A tier: who is asked first, and who after that.
pub fn tier(tier: u8) -> String {
    match tier {
        0 => "Primary".to_owned(),
        1 => "Backup".to_owned(),
        tier => format!("Backup {tier}"),
    }
}

/// How many of these candidates are more than the one that is needed.
pub fn backups(candidates: usize) -> String {
    match candidates {
        0 | 1 => "no backup".to_owned(),
        more => counted(more.saturating_sub(1), "backup", "backups"),
    }
}

/// What a route saves against the official one.
pub fn saving(percent: Option<i32>) -> Option<String> {
    match percent? {
        0 => Some("same price as official".to_owned()),
        saving if saving > 0 => Some(format!("{saving} % below official")),
        saving => Some(format!("{} % above official", saving.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_never_rounded_up() {
        for (share, text) in [
            (Some(1.0), "100 %"),
            (Some(0.999_96), "99.99 %"),
            (Some(0.999_999_999_999), "99.99 %"),
            (Some(0.9998), "99.98 %"),
            (Some(0.999), "99.9 %"),
            (Some(0.99), "99 %"),
            (Some(0.9001), "90.01 %"),
            (Some(0.5), "50 %"),
            (Some(0.000_1), "0.01 %"),
            (Some(0.000_01), "0 %"),
            (Some(0.0), "0 %"),
            (Some(-0.1), "no data"),
            (Some(1.1), "no data"),
            (Some(f64::NAN), "no data"),
            (Some(f64::INFINITY), "no data"),
            (None, "no data"),
        ] {
            assert_eq!(uptime(share), text, "{share:?}");
        }
    }

    #[test]
    fn every_two_digit_percentage_reads_as_it_was_written() {
        for basis in 0..=10_000_u32 {
            let share = f64::from(basis) / 10_000.0;
            assert_eq!(parts(Some(share)), Some(u64::from(basis)), "{share}");
        }
    }

    #[test]
    fn how_often_callable_came_true_is_told_in_a_sentence() {
        let truth_of = |callable, answered| Truth { callable, answered, misses: Vec::new() };
        for (callable, answered, told) in [
            (0, 0, "No request counted in the last 30 days."),
            (1, 1, "“Callable” came true for 1 of 1 request in the last 30 days: 100 %."),
            (100_000, 99_999, "“Callable” came true for 99,999 of 100,000 requests in the last 30 days: 99.99 %."),
        ] {
            assert_eq!(truth(&truth_of(callable, answered)), told);
        }
        let miss = crate::truth::Miss { at: Timestamp::default(), reason: Missed::Cut };
        let with = |callable, answered, count| misses(&Truth { misses: vec![miss; count], ..truth_of(callable, answered) });
        assert_eq!((with(3, 2, 1), with(99, 46, 20)), ("1 miss".to_owned(), "The last 20 of 53 misses".to_owned()));
    }

    #[test]
    fn durations_have_their_natural_unit() {
        for (value, text) in [
            (None, "–"),
            (Some(0), "0 ms"),
            (Some(999), "999 ms"),
            (Some(1000), "1.00 s"),
            (Some(12_345), "12.34 s"),
            (Some(125_000), "2 min 5 s"),
            (Some(u64::MAX), "307445734561825 min 51 s"),
        ] {
            assert_eq!(millis(value), text);
        }
        for (value, text) in [
            (0, "less than a minute"),
            (59_999, "less than a minute"),
            (60_000, "1 min"),
            (3_600_000, "1 h"),
            (3_660_000, "1 h 1 min"),
            (86_400_000, "1 day"),
            (90_000_000, "1 day 1 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(value), text);
        }
    }

    #[test]
    fn times_are_in_utc_and_in_words() {
        let at = Timestamp::parse("2026-11-22T15:20:07+02:00").unwrap();
        assert_eq!(moment(at).as_str(), "<time datetime=\"2026-11-22T13:20:07Z\">22 Nov 2026, 13:20 UTC</time>");
        assert_eq!(
            ago(at, at.plus(120_000)).as_str(),
            "<time datetime=\"2026-11-22T13:20:07Z\" title=\"22 Nov 2026, 13:20 UTC\">2 min ago</time>"
        );
        assert!(ago(at, at.plus(-7_200_000)).as_str().contains(">in 2 h<"));
        for extreme in [i64::MIN, i64::MAX] {
            assert!(!moment_text(Timestamp::from_millis(extreme)).is_empty());
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (400_000, "400,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "model", "models"), "1 model");
        assert_eq!(counted(1200, "model", "models"), "1,200 models");
        assert_eq!([0, 1, 2, 4].map(backups), ["no backup", "no backup", "1 backup", "3 backups"]);
    }
}
