//! The filter of the list of models: the fields of its form.
//!
//! What always holds: a query that cannot be understood filters nothing.

use crate::catalog::{ModelKind, RouteKind};

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
pub enum ModelOrder {
    /// By name.
    #[default]
    Name,
    /// By the lowest input price; currencies are not converted.
    Price,
    /// By the median time to the first byte.
    FirstByte,
}

impl ModelOrder {
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
pub struct ModelFilter {
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
    pub sort: ModelOrder,
}

impl ModelFilter {
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
                    filter.sort = [ModelOrder::Price, ModelOrder::FirstByte]
                        .into_iter()
                        .find(|sort| sort.as_str() == value)
                        .unwrap_or_default();
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
}
