//! How much of a balance one request may set aside.
//!
//! The rule, as a customer can read it: a request sets aside what its answer can cost at most. Where that is more than a quarter
//! of what is free, or would not leave room for nine more such requests with the smallest limit, it sets aside less, and its
//! output limit becomes what that pays for; never below the smallest limit, which is the catalogue's, or the client's own where
//! that is less.
//!
//! What always holds: what is granted is within `least..=most`, and within what is free wherever `least` is; ten requests whose
//! `least` a tenth of the balance covers are granted at once, whatever they ask for.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::money::Money;

/// One request takes at most this part of what is free.
const SHARE: i64 = 4;
/// And leaves room for so many more requests with the smallest limit.
const MORE: i64 = 9;

/// What is free of a bucket for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Free {
    /// What can be set aside: of the balance, and of every budget.
    pub amount: Money,
    /// Whether a budget leaves less than the balance does.
    pub is_of_a_budget: bool,
}

impl Free {
    /// What a request sets aside that needs `least` and can use `most`. Whether `least` is covered is not decided here.
    pub fn share(self, least: Money, most: Money) -> Money {
        let free = self.amount.nanos();
        let quarter = free.checked_div(SHARE).unwrap_or(0);
        let beside = least.nanos().checked_mul(MORE).and_then(|others| free.checked_sub(others)).unwrap_or(0);
        let share = Money::from_nanos(quarter.min(beside)).unwrap_or_default();
        share.max(least).min(most)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)] // Of small numbers.

    use super::*;
    use proptest::prelude::*;

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn share(free: &str, least: &str, most: &str) -> String {
        Free { amount: money(free), is_of_a_budget: false }.share(money(least), money(most)).to_string()
    }

    #[test]
    fn a_request_takes_a_quarter_and_leaves_room_for_nine_more() {
        for (free, least, most, granted, why) in [
            ("100", "0.04", "1.28", "1.28", "all of it, where there is plenty"),
            ("2", "0.04", "1.28", "0.5", "a quarter"),
            ("0.5", "0.04", "1.28", "0.125", "a quarter of less"),
            ("0.4", "0.04", "1.28", "0.04", "only the least, so that nine more can be"),
            ("0.41", "0.04", "1.28", "0.05", "what nine more leave"),
            ("0.04", "0.04", "1.28", "0.04", "the last"),
            ("2", "0.3", "0.3", "0.3", "what cannot be fitted stays"),
            ("0", "0", "5", "0", "nothing costs nothing"),
        ] {
            assert_eq!(share(free, least, most), granted, "{why}");
        }
    }

    proptest! {
        #[test]
        fn a_share_is_within_its_bounds(free in 0i64..9_000_000_000_000_000, least in 0i64..1_000_000_000_000, more in 0i64..1_000_000_000_000_000) {
            let [amount, least, most] = [free, least, least + more].map(|nanos| Money::from_nanos(nanos).unwrap());
            let share = Free { amount, is_of_a_budget: false }.share(least, most);
            prop_assert!(least <= share && share <= most);
            prop_assert!(share <= amount.max(least));
        }

        #[test]
        fn ten_at_once_are_granted_from_ten_times_the_least(least in 1i64..1_000_000_000, spare in 0i64..1_000_000_000_000, more in 0i64..1_000_000_000_000) {
            let mut free = least * 10 + spare;
            for _ in 0..10 {
                let [amount, least, most] = [free, least, least + more].map(|nanos| Money::from_nanos(nanos).unwrap());
                let share = Free { amount, is_of_a_budget: false }.share(least, most).nanos();
                prop_assert!(share <= free);
                free -= share;
            }
        }
    }
}
