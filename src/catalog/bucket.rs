//! The check of buckets.

use std::collections::BTreeMap;

use url::Url;

use super::fault::{Checker, join};
use super::raw::{self, Entries};
use super::version::Bucket;
use crate::id::BucketId;

/// Of pages for people, in bytes.
const LONGEST_PAGE_URL: usize = 500;

impl Checker {
    pub(super) fn buckets(&mut self, table: Option<Entries<raw::Bucket>>) -> BTreeMap<BucketId, Bucket> {
        let mut buckets = BTreeMap::new();
        for (name, path, raw) in self.entries("buckets", table) {
            self.no_unknown(&path, raw.unknown);
            let label = self.required(&path, "label", raw.label);
            let currency = self.required(&path, "currency", raw.currency);
            let usd = self.optional(&path, "usd", raw.usd).and_then(|text| self.amount(&join(&path, "usd"), &text));
            let top_up_url =
                self.optional(&path, "top_up_url", raw.top_up_url).and_then(|text| self.page(&join(&path, "top_up_url"), &text));
            let id = BucketId::parse(&name);
            if id.is_none() {
                self.fault(&path, "is not a valid bucket name");
            }
            if currency.as_ref().is_some_and(|code| code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase())) {
                self.fault(join(&path, "currency"), "must be a currency code of three capitals, such as USD");
            }
            if let (Some(id), Some(label), Some(currency)) = (id, label, currency) {
                buckets.insert(id, Bucket { label, currency, usd, top_up_url });
            }
        }
        buckets
    }

    /// The address of a page for people.
    fn page(&mut self, path: &str, text: &str) -> Option<String> {
        let url = Url::parse(text).ok().map(String::from);
        let url = url
            .filter(|url| ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) && url.len() <= LONGEST_PAGE_URL);
        if url.is_none() {
            self.fault(
                path,
                format!("must be the address of a page, such as https://example.com/top-up, of at most {LONGEST_PAGE_URL} bytes"),
            );
        }
        url
    }
}
