//! How answers look: whole objects, tables, metadata alone.

pub(crate) mod accept;
pub(crate) mod cells;
pub(crate) mod duration;
pub(crate) mod events;
pub(crate) mod form;
pub(crate) mod path;
pub(crate) mod table;
