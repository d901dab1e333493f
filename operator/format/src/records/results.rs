//! What pods record: results of datums, and files fetched for a Commit.

use prost::Message;

use super::{ContentRef, NodeRef};
use crate::error::DecodeError;
use crate::hash::Hash;
use crate::row::Kind;
use crate::wire;

/// Results that one pod recorded at once.
#[derive(Clone, PartialEq, Message)]
pub struct ShardResults {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The results.
    #[prost(message, repeated, tag = "2")]
    pub datums: Vec<DatumResult>,
}

/// How a try of a datum ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ResultState {
    /// Not set: refused.
    Unspecified = 0,
    /// The datum is done.
    Succeeded = 1,
    /// The datum has failed for good.
    Failed = 2,
    /// A try was used, and the datum is not at its end.
    TryFailed = 3,
}

/// The result of a datum, or a try of it that was used.
#[derive(Clone, PartialEq, Message)]
pub struct DatumResult {
    /// The datum's hash.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// Bytes of its key.
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    /// How it ended.
    #[prost(enumeration = "ResultState", tag = "3")]
    pub state: i32,
    /// Tries used so far, this one included.
    #[prost(uint32, tag = "4")]
    pub tries: u32,
    /// The command's exit code, if it exited.
    #[prost(sint32, optional, tag = "5")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[prost(sint32, optional, tag = "6")]
    pub signal: Option<i32>,
    /// Why it failed, one `CamelCase` word of a bounded set; empty on success.
    #[prost(string, tag = "7")]
    pub reason: String,
    /// Its output tree; none if it failed.
    #[prost(message, optional, tag = "8")]
    pub output: Option<NodeRef>,
    /// What it printed.
    #[prost(message, optional, tag = "9")]
    pub log: Option<ContentRef>,
    /// The last lines that it printed, at most 2 KiB.
    #[prost(string, tag = "10")]
    pub tail: String,
    /// The node it ran on.
    #[prost(string, tag = "11")]
    pub node: String,
    /// The devices it had.
    #[prost(string, repeated, tag = "12")]
    pub devices: Vec<String>,
    /// When the try began, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "13")]
    pub started_ns: i64,
    /// When the try ended, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "14")]
    pub ended_ns: i64,
}

/// What an import pod fetched.
#[derive(Clone, PartialEq, Message)]
pub struct ImportResults {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The files, to be put in this order.
    #[prost(message, repeated, tag = "2")]
    pub edits: Vec<ImportEdit>,
}

/// A fetched file.
#[derive(Clone, PartialEq, Message)]
pub struct ImportEdit {
    /// Its path in the repo, stored form.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Its kind's number in the format.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// Its content.
    #[prost(message, optional, tag = "3")]
    pub content: Option<ContentRef>,
}

impl DatumResult {
    /// Its datum's hash.
    pub fn hash(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.hash, "result hash")
    }
}

impl ImportEdit {
    /// Its kind.
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        wire::kind(self.kind)
    }
}
