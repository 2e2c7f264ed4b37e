//! How long answers took, counted in ranges, so that counts of many minutes and isolates add up.
//!
//! What always holds: ranges grow by the square root of two, so a percentile is told to within a fifth of itself.

use serde::{Deserialize, Serialize};

/// Where one range ends and the next begins, in milliseconds: 25 ms times powers of the square root of two.
pub const BOUNDS_MS: [u64; 23] = [
    25, 35, 50, 71, 100, 141, 200, 283, 400, 566, 800, 1_131, 1_600, 2_263, 3_200, 4_525, 6_400, 9_051, 12_800, 18_102, 25_600,
    36_204, 51_200,
];

/// How many ranges there are.
pub const RANGES: usize = BOUNDS_MS.len() + 1;

/// The range that a time is counted in.
pub fn range_of(ms: u64) -> usize {
    BOUNDS_MS.iter().filter(|bound| ms > **bound).count()
}

/// Counts by range: up to and with each bound, and beyond the last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram(pub Vec<u64>);

/// What half, nine in ten, and ninety-nine in a hundred took at most, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Percentiles {
    /// Half took at most this.
    pub p50: u64,
    /// Nine in ten did.
    pub p90: u64,
    /// Ninety-nine in a hundred did.
    pub p99: u64,
}

impl Histogram {
    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Both counts together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let length = self.0.len().max(other.0.len());
        let of = |list: &[u64], place: usize| list.get(place).copied().unwrap_or(0);
        Self((0..length).map(|place| of(&self.0, place).saturating_add(of(&other.0, place))).collect())
    }

    /// The percentiles; none if nothing was counted.
    pub fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles { p50: self.percentile(50)?, p90: self.percentile(90)?, p99: self.percentile(99)? })
    }

    /// What `percent` of a hundred took at most, in milliseconds: even within its range, rounded up.
    fn percentile(&self, percent: u64) -> Option<u64> {
        let total = self.total();
        let rank = total.saturating_mul(percent).div_ceil(100).max(1);
        let mut below = 0_u64;
        for (place, count) in self.0.iter().enumerate() {
            if below.saturating_add(*count) >= rank && total > 0 {
                let from = place.checked_sub(1).and_then(|before| BOUNDS_MS.get(before)).copied().unwrap_or(0);
                // Of what is beyond the last bound no more is known.
                let Some(to) = BOUNDS_MS.get(place) else { return Some(from) };
                let inside = rank.saturating_sub(below).saturating_mul(to.saturating_sub(from)).div_ceil((*count).max(1));
                return Some(from.saturating_add(inside));
            }
            below = below.saturating_add(*count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(times: &[u64]) -> Histogram {
        let mut counts = vec![0; RANGES];
        for time in times {
            counts[range_of(*time)] += 1;
        }
        Histogram(counts)
    }

    #[test]
    fn nothing_counted_says_nothing() {
        assert_eq!(Histogram::default().percentiles(), None);
        assert_eq!(counted(&[]).percentiles(), None);
    }

    #[test]
    fn what_is_beyond_the_last_range_is_at_least_its_bound() {
        assert_eq!(counted(&[900_000]).percentiles().unwrap().p50, 51_200);
    }

    proptest! {
        #[test]
        fn a_percentile_is_near_the_true_one(times in prop::collection::vec(25_u64..50_000, 1..300)) {
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let told = counted(&times).percentiles().unwrap();
            for (percent, told) in [(50, told.p50), (90, told.p90), (99, told.p99)] {
                let rank = (sorted.len() * percent).div_ceil(100).max(1);
                let truth = sorted[rank - 1];
                // One range is as wide as 41 % of its lower bound.
                prop_assert!(told * 100 <= truth * 143 + 200 && truth * 100 <= told * 143 + 200, "{percent}: {told} for {truth}");
            }
        }

        #[test]
        fn counts_add_up_in_any_order(a in prop::collection::vec(0_u64..90_000, 0..50), b in prop::collection::vec(0_u64..90_000, 0..50)) {
            let both: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(counted(&a).plus(&counted(&b)), counted(&both));
            prop_assert_eq!(counted(&b).plus(&counted(&a)), counted(&both));
        }
    }
}
