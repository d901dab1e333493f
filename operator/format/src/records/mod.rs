//! Records that operator and workers exchange through the store: plain protobuf, outside all ids.
//!
//! Hashes are 32 bytes, uids 16, locations their exact encoding; the methods hand them out typed. A record that
//! stands alone begins with its version.

mod checked;
mod job;
mod plan;
mod results;

pub use checked::{decode_checked, encode_checked};
pub use job::{DatumOrigin, JobDatum, JobRecord, MemoBlock, MemoBlockRef, MemoEntry, MemoSegment};
pub use plan::{Plan, PlanDatum, PlanMember, PlanShard, ShardSlice, Task, TaskInput};
use prost::Message;
pub use results::{DatumResult, ImportEdit, ImportResults, ResultState, ShardResults};

use crate::error::DecodeError;
use crate::hash::Hash;
use crate::location::Location;
use crate::row::Totals;
use crate::wire;

/// The root node of a directory or a map, and where it lies.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct NodeRef {
    /// The node's id.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Files below it.
    #[prost(uint64, tag = "2")]
    pub files: u64,
    /// Bytes below it.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// Exact encoding of its location.
    #[prost(bytes = "vec", tag = "4")]
    pub at: Vec<u8>,
}

/// A content, and where it lies.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ContentRef {
    /// The content's id.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Its size in bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Exact encoding of its location.
    #[prost(bytes = "vec", tag = "3")]
    pub at: Vec<u8>,
}

impl NodeRef {
    /// A node of this id and these totals at this place.
    pub fn new(id: Hash, totals: Totals, at: &Location) -> Self {
        Self { id: id.to_vec(), files: totals.files, bytes: totals.bytes, at: at.to_vec() }
    }

    /// The node's id.
    pub fn id(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.id, "node id")
    }

    /// Its totals.
    pub fn totals(&self) -> Totals {
        Totals { files: self.files, bytes: self.bytes }
    }

    /// Where it lies.
    pub fn at(&self) -> Result<Location, DecodeError> {
        Location::from_slice(&self.at)
    }
}

impl ContentRef {
    /// A content of this id and size at this place.
    pub fn new(id: Hash, size: u64, at: &Location) -> Self {
        Self { id: id.to_vec(), size, at: at.to_vec() }
    }

    /// The content's id.
    pub fn id(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.id, "content id")
    }

    /// Where it lies.
    pub fn at(&self) -> Result<Location, DecodeError> {
        Location::from_slice(&self.at)
    }
}

/// A record that stands alone, and so begins with its version.
pub trait Versioned: Message + Default {
    /// What errors call it.
    const WHAT: &'static str;

    /// The version it carries.
    fn version(&self) -> u32;

    /// Reads a record of version 1.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = wire::message(bytes, Self::WHAT)?;
        wire::version(record.version(), Self::WHAT)?;
        Ok(record)
    }
}

macro_rules! versioned {
    ($($type:ident $what:literal),* $(,)?) => {$(
        impl Versioned for $type {
            const WHAT: &'static str = $what;
            fn version(&self) -> u32 {
                self.format
            }
        }
    )*};
}
versioned!(
    Plan "plan",
    ShardResults "shard results",
    ImportResults "import results",
    JobRecord "job record",
    MemoSegment "memo segment",
);
