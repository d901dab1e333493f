//! The API server's rules beside the schemas: names, metadata, and what it does to its own kinds.

pub(crate) mod builtin;
pub(crate) mod defaults;
pub(crate) mod metadata;
pub(crate) mod names;
