//! What a round may take from each channel's daily cap, before anything is spent.
//!
//! What always holds: what a round has chosen is covered together; calls for what single accounts met leave [`KEPT`] of the cap
//! to all others, so that no account's failures can use it up; where there is not enough, it is asked once and told.

use std::collections::BTreeMap;

use crate::catalog::Channel;
use crate::id::{BucketId, ChannelId};
use crate::money::Money;

/// This part of a channel's cap is not for what single accounts met: one of so many.
pub const KEPT: i64 = 2;

/// One channel's cap in one bucket.
#[derive(Debug, Default)]
struct Cap {
    /// What calls that were chosen may cost.
    taken: Money,
    /// The least of which it is known that it is not there.
    short: Option<Money>,
    /// Calls that were not chosen because of it, and those of them for what single accounts met.
    refused: (u32, u32),
}

/// What a round takes from the caps of all channels.
#[derive(Debug, Default)]
pub struct Purse(BTreeMap<(ChannelId, BucketId), Cap>);

/// A call that wants to be paid.
pub struct WantedCall<'a> {
    pub channel: &'a Channel,
    pub bucket: &'a BucketId,
    pub quote: Money,
    pub is_reported: bool,
}

impl Purse {
    /// How much has to be there for one more call; none if it is known that there is not so much.
    pub fn needs(&mut self, wish: &WantedCall<'_>) -> Option<Money> {
        let cap = self.of(wish);
        let kept = if wish.is_reported { wish.channel.probe_daily_cap.nanos().checked_div(KEPT)? } else { 0 };
        let needed = cap.taken.checked_add(wish.quote)?.checked_add(Money::from_nanos(kept).ok()?)?;
        let is_short = cap.short.is_some_and(|short| needed >= short);
        if is_short {
            cap.refuse(wish);
        }
        Some(needed).filter(|_| !is_short)
    }

    /// It is there.
    pub fn take(&mut self, wish: &WantedCall<'_>) {
        let cap = self.of(wish);
        cap.taken = cap.taken.checked_add(wish.quote).unwrap_or(cap.taken);
    }

    /// It is not there.
    pub fn refused(&mut self, wish: &WantedCall<'_>, needed: Money) {
        let cap = self.of(wish);
        cap.short = Some(cap.short.map_or(needed, |short| short.min(needed)));
        cap.refuse(wish);
    }

    /// Of which channels a cap was not enough, in words.
    pub fn told(&self) -> Vec<(ChannelId, String)> {
        let short = self.0.iter().filter(|(_, cap)| cap.refused.0 > 0);
        let tell = |((channel, bucket), cap): (&(ChannelId, BucketId), &Cap)| {
            let (all, reported) = cap.refused;
            let why = match all == reported {
                true => "half of `probe_daily_cap` is kept for others than what single accounts met, and no more is left",
                false => "what is left of `probe_daily_cap` today does not cover them",
            };
            (channel.clone(), format!("{all} call(s) that are due were not made, {bucket}: {why}"))
        };
        short.map(tell).collect()
    }

    fn of(&mut self, wish: &WantedCall<'_>) -> &mut Cap {
        self.0.entry((wish.channel.id.clone(), wish.bucket.clone())).or_default()
    }
}

impl Cap {
    fn refuse(&mut self, wish: &WantedCall<'_>) {
        let (all, reported) = self.refused;
        self.refused = (all.saturating_add(1), reported.saturating_add(u32::from(wish.is_reported)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, UpstreamHosts};
    use proptest::prelude::*;
    use serde_json::json;

    fn catalog() -> Catalog {
        let document = json!({"version": 1, "buckets": {"b": {"label": "B", "currency": "USD"}}, "models": {},
            "channels": {"a": {"dialect": "openai", "base_url": "https://a.example.com", "secrets": ["K"], "probe_daily_cap": "0.0000001"}}});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    proptest! {
        /// A cap of 100 nano-units.
        #[test]
        fn a_round_never_takes_more_than_there_is_nor_reports_more_than_their_part(
            spent in 0_i64..120,
            wishes in proptest::collection::vec((1_i64..40, any::<bool>()), 0..60),
        ) {
            let (catalog, bucket) = (catalog(), BucketId::parse("b").unwrap());
            let channel = catalog.channel(&ChannelId::parse("a").unwrap()).unwrap();
            let (mut purse, mut taken, mut asked, mut refused) = (Purse::default(), 0, 0, 0);
            for (quote, is_reported) in wishes {
                let wish = WantedCall { channel, bucket: &bucket, quote: Money::from_nanos(quote).unwrap(), is_reported };
                let is_there = spent + taken + quote + if is_reported { 50 } else { 0 } <= 100;
                let granted = match purse.needs(&wish) {
                    Some(needed) => {
                        asked += 1;
                        let granted = spent + needed.nanos() <= 100;
                        if granted { purse.take(&wish) } else { purse.refused(&wish, needed) }
                        granted
                    }
                    None => false,
                };
                prop_assert_eq!(granted, is_there, "as if each of them had been asked about");
                taken += if granted { quote } else { 0 };
                refused += u32::from(!granted);
            }
            prop_assert!(spent + taken <= 100.max(spent));
            prop_assert!(asked <= 60);
            let told = purse.told();
            prop_assert_eq!(told.len(), usize::from(refused > 0));
            let words = format!("{} call(s)", refused);
            prop_assert!(told.iter().all(|(_, told)| told.starts_with(&words)));
        }
    }
}
