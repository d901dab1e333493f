//! Packs: large immutable objects of checksummed frames. What lies where is decided here; what a frame looks like is
//! `varve_format::pack`'s.

pub(crate) mod frames;
pub(crate) mod pending;
pub(crate) mod read;
pub(crate) mod sink;

use uuid::Uuid;
use varve_format::{Area, keys};

/// The key of a pack's object.
pub(crate) fn key(area: Area, pack: Uuid) -> String {
    match area {
        Area::Data => keys::data_pack(pack),
        Area::Meta => keys::meta_pack(pack),
    }
}
