//! The web pages: from view models to HTML, feeds and text, on the server and without a framework.
//!
//! What always holds: every text from outside is escaped, by the templates for HTML and by hand for Atom, XML and Markdown;
//! a page needs nothing but this site's own style sheet and script, and works without the script; rendering is total.
//!
//! The map: [`view`] is what `api` fills; [`site`] are the public pages, each with its template; [`frame`] is what they share.
//! The customers' console will live in `pages/console/` and the operator's in `pages/operator/`, with the same frame.
//!
//! Deliberately absent: requests, cookies, decisions on who may see what, and any number that a view model does not hold.

pub mod chart;
pub mod feed;
pub mod frame;
pub mod llms;
pub mod site;
pub mod sitemap;
pub mod view;
pub mod words;

mod filter;
mod markup;
mod search;
mod snippet;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use filter::{ModelFilter, ModelOrder};
