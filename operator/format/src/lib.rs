//! The exact part of the store's format (`docs/format/FORMAT.md`): names, rows, ids, digests, containers, records.
//!
//! Pure: bytes and values in, bytes and values out. Everything here is pinned by vectors that an independent reader
//! computes too (`docs/format/varve_ids.py`), and may not change within format 1.

mod codec;
pub mod commit;
pub mod cutter;
pub mod datum;
pub mod error;
pub mod hash;
pub mod keys;
pub mod location;
pub mod name;
pub mod node;
pub mod pack;
pub mod plan;
pub mod records;
pub mod reference;
pub mod reflog;
pub mod row;
pub mod spec;
mod wire;

pub use commit::{CommitIdentity, CommitRecord, canonical_json, commit_uid};
pub use cutter::Cutter;
pub use datum::{DatumKey, DatumRow, DatumState, Found, Member, datum_hash, sort_members};
pub use error::{DecodeError, Error, MapError, NameError, escape};
pub use hash::{Domain, Hash};
pub use location::{Area, Form, Location, PackLocation};
pub use name::{BranchName, CommitName, MapKind, RepoName, RepoPath};
pub use node::{empty_map_id, node_id};
pub use reflog::{Head, RecordAt};
pub use row::{Kind, Row, Totals};
pub use spec::{EnvFromSource, EnvSource, SpecDigest};
