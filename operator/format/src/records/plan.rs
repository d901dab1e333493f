//! What a plan holds: the task, and each shard's datums. How the parts are put together is [`crate::plan`]'s.

use prost::Message;
use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::Hash;
use crate::location::Location;
use crate::row::Kind;
use crate::wire;

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
#[derive(Clone, PartialEq, Eq, Hash, Message)]
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
    /// Plain BLAKE3 of its bytes; empty in plans written at first, which had none.
    #[prost(bytes = "vec", tag = "5")]
    pub hash: Vec<u8>,
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
        wire::kind(self.kind)
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
