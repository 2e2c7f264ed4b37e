//! The public pages, one file each.

pub mod error;
pub mod home;
pub mod login;
pub mod model;
pub mod models;
pub mod status;
