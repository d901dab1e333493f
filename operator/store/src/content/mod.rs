//! Contents: written in one pass, whatever their size, and read back by ranges that are verified up to the id.

pub(crate) mod budget;
pub(crate) mod chunker;
pub(crate) mod index;
pub(crate) mod outboard;
pub(crate) mod read;
pub(crate) mod small;
pub(crate) mod write;
