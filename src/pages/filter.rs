//! The filter of the list of models: the fields of its form, and which models they leave in which order.
//!
//! What always holds: a query that cannot be understood filters nothing; prices are compared as money, and only where both
//! are decimals.

use super::view::{Model, Route};
use crate::catalog::{ModelKind, RouteKind};
use crate::money::Money;

/// Every kind of model, in the order of the form.
pub const KINDS: [ModelKind; 7] = [
    ModelKind::Chat,
    ModelKind::Embedding,
    ModelKind::Moderation,
    ModelKind::Image,
    ModelKind::Speech,
    ModelKind::Transcription,
    ModelKind::Rerank,
];

/// What the models are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// By the lowest input price; currencies are not converted.
    Price,
    /// By the median time to the first byte.
    FirstByte,
}

impl Sort {
    /// As in the query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Price => "price",
            Self::FirstByte => "first_byte",
        }
    }
}

/// What is asked of the list of models.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Words that name, id, family or aliases must contain, as they were typed.
    pub q: String,
    /// Only this family; empty is any.
    pub family: String,
    /// Only this kind.
    pub kind: Option<ModelKind>,
    /// Only models with this route.
    pub route: Option<RouteKind>,
    /// Only what can be called now.
    pub is_callable: bool,
    /// The input price at most, in the route's currency per unit, as it was typed.
    pub max_price: String,
    /// The order.
    pub sort: Sort,
}

impl Filter {
    /// Reads a query's decoded pairs; of a field that comes twice the last one counts.
    pub fn read<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut filter = Self::default();
        for (name, value) in pairs {
            let value = value.trim();
            match name {
                "q" => filter.q = value.to_owned(),
                "family" => filter.family = value.to_owned(),
                "kind" => filter.kind = KINDS.into_iter().find(|kind| kind.as_str() == value),
                "route" => filter.route = RouteKind::parse(value),
                "callable" => filter.is_callable = value == "1",
                "max_price" => filter.max_price = value.to_owned(),
                "sort" => {
                    filter.sort =
                        [Sort::Price, Sort::FirstByte].into_iter().find(|sort| sort.as_str() == value).unwrap_or_default();
                }
                _ => {}
            }
        }
        filter
    }

    /// Whether anything is filtered.
    pub fn is_active(&self) -> bool {
        let has_choice = self.kind.is_some() || self.route.is_some() || self.is_callable;
        has_choice || [&self.q, &self.family, &self.max_price].iter().any(|text| !text.is_empty())
    }

    /// The models that it leaves, in its order.
    #[must_use]
    pub fn apply(&self, models: Vec<Model>) -> Vec<Model> {
        let mut left: Vec<Model> = models.into_iter().filter(|model| self.keeps(model)).collect();
        left.sort_by_cached_key(|model| (model.name.to_lowercase(), model.id.clone()));
        match self.sort {
            Sort::Name => {}
            // What has no price or no time comes last.
            Sort::Price => left.sort_by_key(|model| {
                let least = self.routes(model).filter_map(input_price).min();
                (least.is_none(), least)
            }),
            Sort::FirstByte => left.sort_by_key(|model| {
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
        let models = Filter::read(query.iter().copied()).apply(testing::models());
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
