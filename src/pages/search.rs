//! Which models a filter leaves, in which order.
//!
//! What always holds: prices are compared as money, and only where both are decimals; what has no price, or no time, comes last.

use super::filter::{ModelFilter, ModelOrder};
use super::view::{Model, Route};
use crate::money::Money;

impl ModelFilter {
    /// The models that it leaves, in its order.
    #[must_use]
    pub fn apply(&self, models: Vec<Model>) -> Vec<Model> {
        let mut left: Vec<Model> = models.into_iter().filter(|model| self.keeps(model)).collect();
        left.sort_by_cached_key(|model| (model.name.to_lowercase(), model.id.clone()));
        match self.sort {
            ModelOrder::Name => {}
            // What has no price or no time comes last.
            ModelOrder::Price => left.sort_by_key(|model| {
                let least = self.routes(model).filter_map(input_price).min();
                (least.is_none(), least)
            }),
            ModelOrder::FirstByte => left.sort_by_key(|model| {
                let least = self.routes(model).filter_map(first_byte).min();
                (least.is_none(), least)
            }),
        }
        left
    }

    fn keeps(&self, model: &Model) -> bool {
        let text = search_text(model);
        let has_words = self.q.to_lowercase().split_whitespace().all(|word| text.contains(word));
        let is_family = self.family.is_empty() || self.family == model.family;
        let is_kind = self.kind.is_none_or(|kind| kind == model.kind);
        let is_callable = !self.is_callable || model.availability.is_callable;
        let most = Money::parse(&self.max_price).ok();
        let is_cheap = |route: &Route| most.is_none_or(|most| input_price(route).is_some_and(|price| price <= most));
        let has_route = (most.is_none() && self.route.is_none()) || self.routes(model).any(is_cheap);
        has_words && is_family && is_kind && is_callable && has_route
    }

    fn routes<'a>(&self, model: &'a Model) -> impl Iterator<Item = &'a Route> {
        let wanted = self.route;
        model.routes.iter().filter(move |route| wanted.is_none_or(|kind| kind == route.kind))
    }
}

/// What the words of a search are looked for in, in small letters.
pub fn search_text(model: &Model) -> String {
    format!("{} {} {} {}", model.name, model.id, model.family, model.aliases.join(" ")).to_lowercase()
}

/// The first price of a route is that of its input.
fn input_price(route: &Route) -> Option<Money> {
    route.prices.first().and_then(|row| Money::parse(&row.amount).ok())
}

fn first_byte(route: &Route) -> Option<u64> {
    route.candidates.first().and_then(|candidate| candidate.first_byte.p50)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::testing;

    fn ids(query: &[(&str, &str)]) -> Vec<String> {
        let models = ModelFilter::read(query.iter().copied()).apply(testing::models());
        models.into_iter().map(|model| model.id).collect()
    }

    #[test]
    fn every_field_leaves_what_it_says() {
        for (query, left) in [
            (&[("q", " Sonnet  claude ")][..], &["anthropic/claude-sonnet-4.6"][..]),
            (&[("q", "gpt-5.5-LATEST")], &["gpt-5.5"]),
            (&[("q", "nothing has this")], &[]),
            (&[("family", "claude")], &["anthropic/claude-sonnet-4.6"]),
            (&[("kind", "embedding")], &["text-embedding-3-large"]),
            (&[("route", "routed")], &["gpt-5.5", "qwen3-max"]),
            (&[("callable", "1"), ("kind", "chat")], &["anthropic/claude-sonnet-4.6", "gpt-5.5"]),
            (&[("max_price", "1.25")], &["gpt-5.5", "text-embedding-3-large"]),
            (&[("max_price", "1.25"), ("route", "routed")], &[]),
        ] {
            assert_eq!(ids(query), left, "{query:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_filters_nothing() {
        let all = ids(&[]).len();
        assert_eq!(all, testing::models().len());
        for pair in [("kind", "x"), ("route", "x"), ("max_price", "a lot"), ("callable", "yes"), ("sort", "x"), ("x", "y")] {
            assert_eq!(ids(&[pair]).len(), all, "{pair:?}");
        }
    }

    #[test]
    fn the_order_is_by_name_price_or_first_byte() {
        assert_eq!(ids(&[]).first().unwrap(), "anthropic/claude-sonnet-4.6");
        assert_eq!(ids(&[("sort", "price")]).first().unwrap(), "text-embedding-3-large");
        assert_eq!(ids(&[("sort", "first_byte")]).first().unwrap(), "text-embedding-3-large");
        assert_eq!(ids(&[("sort", "first_byte")]).last().unwrap(), "qwen3-max", "what has no time comes last");
    }
}
