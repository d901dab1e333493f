//! What a Job leaves behind: its full record, and its share of the memo.

use prost::Message;

use super::{ContentRef, NodeRef};
use crate::error::DecodeError;
use crate::hash::Hash;
use crate::wire;

/// The full record of a Job.
#[derive(Clone, PartialEq, Message)]
pub struct JobRecord {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The Job's uid.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// The Job's name.
    #[prost(string, tag = "3")]
    pub job_name: String,
    /// Name of the Pipeline.
    #[prost(string, tag = "4")]
    pub pipeline: String,
    /// The spec digest.
    #[prost(bytes = "vec", tag = "5")]
    pub spec_digest: Vec<u8>,
    /// When the Job began, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "6")]
    pub started_ns: i64,
    /// When the Job ended, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "7")]
    pub ended_ns: i64,
    /// Every datum that was not carried over unchanged, sorted by key.
    #[prost(message, repeated, tag = "8")]
    pub datums: Vec<JobDatum>,
    /// How many datums the Job's inputs make in all, those carried over unchanged included.
    #[prost(uint64, tag = "9")]
    pub total: u64,
}

/// How a Job came by a datum's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DatumOrigin {
    /// Not set: refused.
    Unspecified = 0,
    /// It ran.
    Processed = 1,
    /// The memo had it.
    Memo = 2,
    /// It ran and failed.
    Failed = 3,
}

/// A datum in a Job's record.
#[derive(Clone, PartialEq, Message)]
pub struct JobDatum {
    /// Bytes of its key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Its hash.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// How the Job came by its result.
    #[prost(enumeration = "DatumOrigin", tag = "3")]
    pub origin: i32,
    /// Tries used.
    #[prost(uint32, tag = "4")]
    pub tries: u32,
    /// The node it ran on.
    #[prost(string, tag = "5")]
    pub node: String,
    /// The devices it had.
    #[prost(string, repeated, tag = "6")]
    pub devices: Vec<String>,
    /// When it began, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "7")]
    pub started_ns: i64,
    /// When it ended, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "8")]
    pub ended_ns: i64,
    /// What it printed.
    #[prost(message, optional, tag = "9")]
    pub log: Option<ContentRef>,
    /// The command's exit code, if it exited.
    #[prost(sint32, optional, tag = "10")]
    pub exit_code: Option<i32>,
    /// Why it failed; empty on success.
    #[prost(string, tag = "11")]
    pub reason: String,
}

/// A result that the memo keeps.
#[derive(Clone, PartialEq, Message)]
pub struct MemoEntry {
    /// The datum's hash.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// How it ended, as in `datums`: 1 succeeded, 2 recovered.
    #[prost(uint32, tag = "2")]
    pub state: u32,
    /// Its output tree.
    #[prost(message, optional, tag = "3")]
    pub output: Option<NodeRef>,
    /// What it printed.
    #[prost(message, optional, tag = "4")]
    pub log: Option<ContentRef>,
}

/// A run of a memo segment's entries that is read at once.
#[derive(Clone, PartialEq, Message)]
pub struct MemoBlock {
    /// Entries, sorted by hash.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<MemoEntry>,
}

/// A memo segment: its blocks, by the first hash of each.
#[derive(Clone, PartialEq, Message)]
pub struct MemoSegment {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The Job that it was written for; empty for one that was merged from several.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// Number of entries.
    #[prost(uint64, tag = "3")]
    pub entries: u64,
    /// Its blocks, sorted.
    #[prost(message, repeated, tag = "4")]
    pub blocks: Vec<MemoBlockRef>,
    /// The blocks one after the other as one content, whose index says where each lies; none where there is only one.
    #[prost(message, optional, tag = "5")]
    pub whole: Option<ContentRef>,
}

/// Where a block of a memo segment lies.
#[derive(Clone, PartialEq, Message)]
pub struct MemoBlockRef {
    /// Hash of its first entry.
    #[prost(bytes = "vec", tag = "1")]
    pub first: Vec<u8>,
    /// The block.
    #[prost(message, optional, tag = "2")]
    pub block: Option<ContentRef>,
}

impl MemoEntry {
    /// Its datum's hash.
    pub fn hash(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.hash, "memo entry hash")
    }
}

impl MemoBlockRef {
    /// The hash of its first entry.
    pub fn first(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.first, "memo block first hash")
    }
}
