//! Parts of lists.

use serde::Serialize;

use crate::refusal::Refusal;

/// Which part of a list: so many, behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Part {
    pub limit: u32,
    pub after: Option<String>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "{T}Page"))]
pub struct Page<T> {
    /// In the list's order.
    pub data: Vec<T>,
    /// What `after` takes for the part behind it; null where this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A part that was asked for, with what stands for its last one in `after`.
    pub fn of(data: Vec<T>, limit: u32, cursor: impl FnOnce(&T) -> String) -> Self {
        let is_full = u32::try_from(data.len()).is_ok_and(|count| count >= limit);
        let next = data.last().filter(|_| is_full).map(cursor);
        Self { data, next }
    }

    /// A list in one part.
    pub const fn whole(data: Vec<T>) -> Self {
        Self { data, next: None }
    }

    /// The same of what is made of each.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(make).collect(), next: self.next }
    }
}

/// `after` is no `next` of this list's.
pub fn wrong_after() -> Refusal {
    Refusal::invalid("after", "`after` must be the `next` of an earlier page.")
}
