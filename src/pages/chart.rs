//! Charts as SVG: bars of health by the hour and the day, and plots of latency and uptime with their axes beside them.
//!
//! What always holds: a chart is drawn with attributes and classes, never with style; it has a title that says in words what
//! it shows; what is not known is a gap. Drawing is total: for no points, one point, and any numbers. Coordinates are integers
//! on a canvas that the page stretches, so text never stands inside of a chart.
//!
//! Deliberately absent: any library, and anything that moves.

use std::fmt::Write;

use super::markup::Markup;
use super::view::{ChartPoint, Day};
use super::words;
use crate::routing::health::HealthStatus;
use crate::time::{MINUTE_MS, Timestamp};

const WIDTH: u64 = 1000;
const HEIGHT: u64 = 200;
const DAY_SECONDS: u32 = 86_400;

/// A plot with what stands at its axes.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The picture.
    pub svg: Markup,
    /// Labels of the vertical axis, from top to bottom.
    pub levels: [String; 3],
    /// Labels of the horizontal axis, from left to right; fewer than three where there are fewer points.
    pub times: Vec<String>,
}

/// One line of a plot: its class and dashes, and a height for each point.
struct Line {
    class: &'static str,
    dashes: &'static str,
    heights: Vec<Option<u64>>,
}

/// `value` of `most` on a scale of `length`.
fn scaled(value: u64, most: u64, length: u64) -> u64 {
    if most == 0 {
        return 0;
    }
    let exact = u128::from(value.min(most)).saturating_mul(u128::from(length)) / u128::from(most);
    u64::try_from(exact).unwrap_or(length)
}

/// The smallest of 1, 2 and 5 with zeros that is not less.
fn ceiling(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            match unit.checked_mul(factor) {
                Some(level) if level >= most => return level,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        match unit.checked_mul(10) {
            Some(next) => unit = next,
            None => return u64::MAX,
        }
    }
}

/// Where each point is, left to right, by its time.
fn places(points: &[ChartPoint]) -> Vec<u64> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let whole = last.start.since(first.start);
    let place = |point: &ChartPoint| if whole == 0 { WIDTH / 2 } else { scaled(point.start.since(first.start), whole, WIDTH) };
    points.iter().map(place).collect()
}

/// The path through the heights; it stops where one is missing, or where time is.
fn path(points: &[ChartPoint], heights: &[Option<u64>], canvas: u64) -> String {
    let mut path = String::new();
    let mut before: Option<Timestamp> = None;
    for ((point, height), x) in points.iter().zip(heights).zip(places(points)) {
        let Some(height) = height else {
            before = None;
            continue;
        };
        let y = canvas.saturating_sub(*height);
        let longest = u64::from(point.seconds).saturating_mul(1500);
        let _ = match before {
            Some(earlier) if point.start.since(earlier) <= longest => write!(path, "L{x} {y}"),
            // The empty line makes a dot of a point that has no neighbours.
            _ => write!(path, "M{x} {y}h0"),
        };
        before = Some(point.start);
    }
    path
}

fn svg(class: &str, size: (u64, u64), title: &str, inside: &str) -> Markup {
    let (width, height) = size;
    Markup(format!(
        "<svg class=\"{class}\" role=\"img\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\"><title>{title}</title>{inside}</svg>"
    ))
}

/// One bar an hour of the last day, by the worst status in it.
pub fn sparkline(points: &[ChartPoint]) -> Markup {
    let title = format!("Health of the last day: {}.", tally(points.iter().map(|point| point.worst), ("hour", "hours")));
    strip("bars", points.iter().map(|point| (point.worst, label(point))), &title)
}

/// How many bars there are of each status.
fn tally(statuses: impl Iterator<Item = HealthStatus> + Clone, (one, many): (&str, &str)) -> String {
    let count = |status: HealthStatus| statuses.clone().filter(|of| *of == status).count();
    format!(
        "{} up, {} degraded, {} down, {} unknown",
        words::counted(count(HealthStatus::Up), one, many),
        count(HealthStatus::Degraded),
        count(HealthStatus::Down),
        count(HealthStatus::Unknown),
    )
}

/// Bars side by side. The worst status is a bar's height as well as its colour.
fn strip(class: &str, bars: impl ExactSizeIterator<Item = (HealthStatus, String)>, title: &str) -> Markup {
    const TALL: u64 = 40;
    let width = u64::try_from(bars.len()).unwrap_or(0).saturating_mul(10).saturating_sub(3).max(1);
    let mut inside = String::new();
    for (x, (worst, words)) in (0_u64..).step_by(10).zip(bars) {
        let height = match worst {
            HealthStatus::Up => TALL,
            HealthStatus::Degraded => 28,
            HealthStatus::Down => 18,
            HealthStatus::Unknown => 6,
        };
        let _ = write!(
            inside,
            "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"7\" height=\"{height}\"><title>{words}</title></rect>",
            worst.as_str(),
            TALL.saturating_sub(height),
        );
    }
    svg(class, (width, TALL), title, &inside)
}

/// One bar a day, by the worst status in it.
pub fn uptime_bars(days: &[Day]) -> Markup {
    strip("bars", days.iter().map(|day| (day.worst, day_words(day))), &bars_title(days))
}

fn day_words(day: &Day) -> String {
    let down = match day.down_minutes {
        0 => String::new(),
        minutes => format!(", down for {}", words::span(u64::from(minutes).saturating_mul(MINUTE_MS.unsigned_abs()))),
    };
    format!("{}: {}, {}{down}", words::date(day.date), words::uptime(day.uptime), words::status_word(day.worst).to_lowercase())
}

fn bars_title(days: &[Day]) -> String {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return "Uptime by the day: no data.".to_owned();
    };
    let tally = tally(days.iter().map(|day| day.worst), ("day", "days"));
    format!("Uptime by the day, {} to {}: {tally}.", words::date(first.date), words::date(last.date))
}

/// The first byte: median, 90 and 99 of 100.
pub fn latency(points: &[ChartPoint]) -> Plot {
    let most = points.iter().flat_map(|point| [point.first_byte.p50, point.first_byte.p90, point.first_byte.p99]).flatten().max();
    let top = ceiling(most.unwrap_or(0).max(10));
    let of =
        |pick: fn(&ChartPoint) -> Option<u64>| points.iter().map(|point| pick(point).map(|ms| scaled(ms, top, HEIGHT))).collect();
    let lines = [
        Line { class: "line p99", dashes: "1 5", heights: of(|point| point.first_byte.p99) },
        Line { class: "line p90", dashes: "6 4", heights: of(|point| point.first_byte.p90) },
        Line { class: "line p50", dashes: "", heights: of(|point| point.first_byte.p50) },
    ];
    let title = match most {
        Some(most) => format!(
            "First byte, {}: at most {} at p99. The numbers are in the table below.",
            range(points),
            words::millis(Some(most))
        ),
        None => "First byte: no data.".to_owned(),
    };
    plot(points, &lines, &title, [words::millis(Some(top)), words::millis(Some(top / 2)), "0 ms".to_owned()])
}

/// The share of attempts that went well.
pub fn uptime(points: &[ChartPoint]) -> Plot {
    let shares: Vec<Option<u64>> = points.iter().map(|point| words::parts(point.uptime)).collect();
    let least = shares.iter().flatten().min().copied();
    let floor = [9990, 9900, 9500, 9000, 5000].into_iter().find(|floor| least.is_none_or(|least| least >= *floor)).unwrap_or(0);
    let room = words::WHOLE.saturating_sub(floor);
    let heights = shares.iter().map(|share| share.map(|share| scaled(share.saturating_sub(floor), room, HEIGHT))).collect();
    let title = match least {
        Some(least) => {
            format!("Uptime, {}: at least {}. The numbers are in the table below.", range(points), words::percent(least))
        }
        None => "Uptime: no data.".to_owned(),
    };
    let middle = words::percent(floor.saturating_add(room / 2));
    plot(
        points,
        &[Line { class: "line uptime", dashes: "", heights }],
        &title,
        ["100 %".to_owned(), middle, words::percent(floor)],
    )
}

fn plot(points: &[ChartPoint], lines: &[Line], title: &str, levels: [String; 3]) -> Plot {
    let mut inside = String::new();
    for y in [0, HEIGHT / 2, HEIGHT] {
        let _ = write!(inside, "<path class=\"grid\" vector-effect=\"non-scaling-stroke\" d=\"M0 {y}H{WIDTH}\"/>");
    }
    for line in lines {
        let _ = write!(inside, "<path class=\"{}\" vector-effect=\"non-scaling-stroke\"", line.class);
        if !line.dashes.is_empty() {
            let _ = write!(inside, " stroke-dasharray=\"{}\"", line.dashes);
        }
        let _ = write!(inside, " d=\"{}\"/>", path(points, &line.heights, HEIGHT));
    }
    let ends = match points {
        [] => Vec::new(),
        [one] => vec![one],
        [first, last] => vec![first, last],
        [first, .., last] => vec![first, points.get(points.len() / 2).unwrap_or(first), last],
    };
    let times = ends.into_iter().map(label).collect();
    Plot { svg: svg("plot", (WIDTH, HEIGHT), title, &inside), levels, times }
}

/// What a point is called at the axis and in the table.
pub fn label(point: &ChartPoint) -> String {
    if point.seconds < DAY_SECONDS { words::clock(point.start) } else { words::date(point.start) }
}

fn range(points: &[ChartPoint]) -> String {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => format!("{} to {}", words::moment_text(first.start), words::moment_text(last.start)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::view::Percentiles;

    fn point(hour: i64, first_byte: Option<u64>, uptime: Option<f64>) -> ChartPoint {
        ChartPoint {
            start: Timestamp::from_millis(hour.saturating_mul(3_600_000)),
            seconds: 3600,
            requests: 10,
            failures: u64::from(uptime.is_some_and(|uptime| uptime < 1.0)),
            uptime,
            worst: match uptime {
                None => HealthStatus::Unknown,
                Some(share) if share < 1.0 => HealthStatus::Down,
                Some(_) => HealthStatus::Up,
            },
            first_byte: Percentiles { p50: first_byte, p90: first_byte.map(|ms| ms.saturating_mul(2)), p99: None },
        }
    }

    /// Every number in every path, and all of them on the canvas.
    fn is_on_canvas(markup: &Markup) {
        let drawn = roxmltree::Document::parse(markup.as_str()).unwrap();
        assert_eq!(drawn.root_element().attribute("role"), Some("img"));
        assert!(drawn.root_element().first_element_child().unwrap().has_tag_name("title"));
        for d in drawn.descendants().filter_map(|node| node.attribute("d")) {
            for number in d.split(|c: char| !c.is_ascii_digit() && c != '-').filter(|number| !number.is_empty()) {
                assert!((0..=1000).contains(&number.parse::<i64>().unwrap()), "{d}");
            }
        }
    }

    #[test]
    fn charts_are_total() {
        let extremes = [u64::MAX, 0, 1, u64::MAX - 1].into_iter().map(Some);
        let wild: Vec<ChartPoint> =
            extremes.zip([-5, 0, 3, i64::MAX / 3_600_000]).map(|(ms, hour)| point(hour, ms, Some(f64::NAN))).collect();
        let backwards: Vec<ChartPoint> = wild.iter().rev().cloned().collect();
        let silent: Vec<ChartPoint> = (0..24).map(|hour| point(hour, None, None)).collect();
        for points in [&[][..], &[point(7, Some(312), Some(0.5))], &wild, &backwards, &silent] {
            for chart in [sparkline(points), latency(points).svg, uptime(points).svg] {
                is_on_canvas(&chart);
            }
        }
        let days = [HealthStatus::Up, HealthStatus::Unknown].map(|worst| Day {
            date: Timestamp::from_millis(i64::MIN),
            uptime: Some(-1.0),
            worst,
            down_minutes: u32::MAX,
        });
        for days in [&[][..], &days[..1], &days] {
            is_on_canvas(&uptime_bars(days));
        }
    }

    #[test]
    fn a_line_stops_where_nothing_is_known() {
        let points = [
            point(0, Some(1), None),
            point(1, Some(2), None),
            point(2, None, None),
            point(3, Some(2), None),
            point(9, Some(2), None),
        ];
        let heights: Vec<Option<u64>> = points.iter().map(|point| point.first_byte.p50).collect();
        assert_eq!(path(&points, &heights, 10), "M0 9h0L111 8M333 8h0M1000 8h0");
    }

    #[test]
    fn the_axis_ends_at_a_round_number_that_holds_everything() {
        for (most, level) in [(0, 1), (1, 1), (3, 5), (312, 500), (501, 1000), (1001, 2000), (u64::MAX, u64::MAX)] {
            assert_eq!(ceiling(most), level);
        }
        let plot = uptime(&[point(0, None, Some(0.9996)), point(1, None, Some(1.0))]);
        assert_eq!(plot.levels, ["100 %", "99.95 %", "99.9 %"]);
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let points = [point(0, Some(200), Some(1.0)), point(1, Some(400), Some(0.5)), point(2, Some(300), Some(1.0))];
        let words = "Health of the last day: 2 hours up, 0 degraded, 1 down, 0 unknown.";
        assert!(sparkline(&points).as_str().contains(words), "{}", sparkline(&points).as_str());
        let days = [Day { date: Timestamp::from_millis(0), uptime: Some(0.99), worst: HealthStatus::Down, down_minutes: 14 }];
        assert!(uptime_bars(&days).as_str().contains("1 Jan 1970: 99 %, down, down for 14 min"));
    }
}
