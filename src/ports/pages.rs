//! Pages that everybody gets alike, kept for some seconds.

/// Where such pages are kept.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait PageCache {
    /// A page that everybody gets alike, if it was made some seconds ago.
    fn kept_page(&self, address: &str) -> Option<Kept>;
    /// Keeps such a page for some seconds.
    fn keep_page(&self, address: String, page: Kept);
}

/// A page that everybody gets alike: its headers and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Kept {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}
