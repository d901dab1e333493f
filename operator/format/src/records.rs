//! Records that operator and workers exchange through the store: plain protobuf, outside all ids.
//!
//! Hashes are 32 bytes, uids 16, locations their exact encoding; the methods hand them out typed. A record that
//! stands alone begins with its version.

use prost::Message;
use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::Hash;
use crate::location::Location;
use crate::row::{Kind, Totals};
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

/// The header of a plan: what to run, and where each shard's datums stand in the plan's bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Plan {
    /// The plan's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The Job's uid.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// Number of the batch Job that it was made for.
    #[prost(uint32, tag = "3")]
    pub attempt: u32,
    /// The spec digest.
    #[prost(bytes = "vec", tag = "4")]
    pub spec_digest: Vec<u8>,
    /// What to run.
    #[prost(message, optional, tag = "5")]
    pub task: Option<Task>,
    /// One slice for each shard, in the order of their numbers; set by [`crate::plan::encode`].
    #[prost(message, repeated, tag = "6")]
    pub shard_index: Vec<ShardSlice>,
}

/// What a keeper has its shim run for each datum.
#[derive(Clone, PartialEq, Message)]
pub struct Task {
    /// The whole command line, resolved: what stands in for the image's entrypoint and its arguments.
    #[prost(string, repeated, tag = "1")]
    pub argv: Vec<String>,
    /// Where it runs.
    #[prost(string, tag = "2")]
    pub working_dir: String,
    /// Tries for each datum, in all.
    #[prost(uint32, tag = "3")]
    pub tries: u32,
    /// Most seconds of user code for each try; 0 for no limit.
    #[prost(uint64, tag = "4")]
    pub timeout_seconds: u64,
    /// Exit codes that count as success.
    #[prost(sint32, repeated, tag = "5")]
    pub accept_exit_codes: Vec<i32>,
    /// The inputs, sorted by name.
    #[prost(message, repeated, tag = "6")]
    pub inputs: Vec<TaskInput>,
    /// The Job's name.
    #[prost(string, tag = "7")]
    pub job_name: String,
    /// Uid of the output commit.
    #[prost(string, tag = "8")]
    pub output_commit: String,
}

/// An input as the pod sees it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct TaskInput {
    /// Name of the input.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Name it is mounted as beneath `/pfs`.
    #[prost(string, tag = "2")]
    pub mount: String,
    /// Uid of its commit, for `<input>_COMMIT`.
    #[prost(string, tag = "3")]
    pub commit: String,
}

/// Where a shard's datums stand in a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct ShardSlice {
    /// Offset of its first byte, counted from the end of the header.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// Its length in bytes.
    #[prost(uint64, tag = "2")]
    pub length: u64,
    /// How many datums it has.
    #[prost(uint64, tag = "3")]
    pub datums: u64,
    /// How many input bytes they have.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
}

/// The datums of one shard.
#[derive(Clone, PartialEq, Message)]
pub struct PlanShard {
    /// In the order in which they are run.
    #[prost(message, repeated, tag = "1")]
    pub datums: Vec<PlanDatum>,
}

/// A datum to run.
#[derive(Clone, PartialEq, Message)]
pub struct PlanDatum {
    /// Bytes of its key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Its hash.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// Its members, in the order of the key.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<PlanMember>,
    /// Tries that were used before this plan.
    #[prost(uint32, tag = "4")]
    pub tries_used: u32,
}

/// A member of a datum to run, and where it lies.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PlanMember {
    /// Name of the input.
    #[prost(string, tag = "1")]
    pub input: String,
    /// Name it is mounted as.
    #[prost(string, tag = "2")]
    pub mount: String,
    /// Its path in the repo, stored form without a directory's `/`.
    #[prost(string, tag = "3")]
    pub path: String,
    /// Its kind's number in the format.
    #[prost(uint32, tag = "4")]
    pub kind: u32,
    /// Id of its content or directory.
    #[prost(bytes = "vec", tag = "5")]
    pub id: Vec<u8>,
    /// Files in it.
    #[prost(uint64, tag = "6")]
    pub files: u64,
    /// Bytes in it.
    #[prost(uint64, tag = "7")]
    pub bytes: u64,
    /// Exact encoding of its location.
    #[prost(bytes = "vec", tag = "8")]
    pub at: Vec<u8>,
    /// Whether an optional input matched nothing; path, id and location are then empty.
    #[prost(bool, tag = "9")]
    pub absent: bool,
}

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
    /// The Job that it was written for.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// Number of entries.
    #[prost(uint64, tag = "3")]
    pub entries: u64,
    /// Its blocks, sorted.
    #[prost(message, repeated, tag = "4")]
    pub blocks: Vec<MemoBlockRef>,
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

impl Plan {
    /// The Job's uid.
    pub fn job_uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.job_uid, "plan job uid")
    }

    /// The spec digest.
    pub fn spec_digest(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.spec_digest, "plan spec digest")
    }
}

impl PlanDatum {
    /// Its hash.
    pub fn hash(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.hash, "planned datum hash")
    }
}

impl PlanMember {
    /// Its kind.
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        kind(self.kind)
    }

    /// Its id.
    pub fn id(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.id, "planned member id")
    }

    /// Where it lies.
    pub fn at(&self) -> Result<Location, DecodeError> {
        Location::from_slice(&self.at)
    }
}

fn kind(number: u32) -> Result<Kind, DecodeError> {
    let unknown = DecodeError::Unknown { what: "record", field: "kind", value: number };
    u8::try_from(number).map_err(|_| unknown).and_then(Kind::try_from)
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
        kind(self.kind)
    }
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
