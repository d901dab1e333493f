//! The messages of a commit's record, as `docs/format/commit.proto` has them.

use prost::Message;

/// What a commit is. Encoded once, when it is written.
#[derive(Clone, PartialEq, Message)]
pub struct CommitIdentity {
    /// UUIDv7 of the commit, assigned when it was begun.
    #[prost(bytes = "vec", tag = "1")]
    pub uid: Vec<u8>,
    /// The store's uid of its repo.
    #[prost(bytes = "vec", tag = "2")]
    pub repo_uid: Vec<u8>,
    /// Name of the repo.
    #[prost(string, tag = "3")]
    pub repo_name: String,
    /// Name of the Commit, unique within the repo.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Hash of the spec of the Commit CR that asked for it (context `varve v1 commit spec`); none where none did.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub spec_hash: Option<Vec<u8>>,
    /// The branch it was made on.
    #[prost(string, tag = "6")]
    pub branch: String,
    /// Its place in the branch, from 1.
    #[prost(uint64, tag = "7")]
    pub sequence: u64,
    /// The commits before it.
    #[prost(message, repeated, tag = "8")]
    pub parents: Vec<Parent>,
    /// Roots of its maps, sorted by kind, present even where empty.
    #[prost(message, repeated, tag = "9")]
    pub maps: Vec<MapRoot>,
    /// Where it comes from; empty for a commit that no Job made.
    #[prost(message, optional, tag = "10")]
    pub provenance: Option<Provenance>,
    /// Who asked for it.
    #[prost(string, tag = "11")]
    pub author: String,
    /// When it was begun, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "12")]
    pub time_ns: i64,
    /// What its author says of it.
    #[prost(string, tag = "13")]
    pub message: String,
    /// What changed against its first parent.
    #[prost(message, optional, tag = "14")]
    pub changes: Option<ChangeSummary>,
    /// The run: uid of the source commit, its own for a source commit.
    #[prost(bytes = "vec", tag = "15")]
    pub run: Vec<u8>,
}

/// A commit before this one.
#[derive(Clone, PartialEq, Message)]
pub struct Parent {
    /// Its uid.
    #[prost(bytes = "vec", tag = "1")]
    pub uid: Vec<u8>,
    /// Its seal.
    #[prost(bytes = "vec", tag = "2")]
    pub seal: Vec<u8>,
}

/// The root of one of a commit's maps.
#[derive(Clone, PartialEq, Message)]
pub struct MapRoot {
    /// The map's kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Id of the root node.
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
    /// Level of the root node.
    #[prost(uint32, tag = "3")]
    pub level: u32,
    /// Files below it, 0 in maps other than trees.
    #[prost(uint64, tag = "4")]
    pub files: u64,
    /// Bytes below it, 0 in maps other than trees.
    #[prost(uint64, tag = "5")]
    pub bytes: u64,
}

/// What a Job made a commit of.
#[derive(Clone, PartialEq, Message)]
pub struct Provenance {
    /// Name of the Pipeline.
    #[prost(string, tag = "1")]
    pub pipeline: String,
    /// Name of the Job.
    #[prost(string, tag = "2")]
    pub job: String,
    /// The Job's uid, as its CR has it.
    #[prost(string, tag = "3")]
    pub job_uid: String,
    /// The spec digest: what decides a datum's result besides its inputs.
    #[prost(bytes = "vec", tag = "4")]
    pub spec_digest: Vec<u8>,
    /// The Job's snapshot of the Pipeline's spec, as RFC 8785 JSON.
    #[prost(string, tag = "5")]
    pub spec: String,
    /// The image as the Pipeline names it.
    #[prost(string, tag = "6")]
    pub image: String,
    /// The image's config digest, with its algorithm.
    #[prost(string, tag = "7")]
    pub image_config_digest: String,
    /// The inputs, sorted by name.
    #[prost(message, repeated, tag = "8")]
    pub inputs: Vec<ProvenanceInput>,
    /// Every commit that it stands on, transitively, the inputs included; sorted by repo uid, branch, uid.
    #[prost(message, repeated, tag = "9")]
    pub closure: Vec<Ancestor>,
}

/// One input of a Job.
#[derive(Clone, PartialEq, Message)]
pub struct ProvenanceInput {
    /// Name of the input.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Name of its repo.
    #[prost(string, tag = "2")]
    pub repo_name: String,
    /// The store's uid of its repo.
    #[prost(bytes = "vec", tag = "3")]
    pub repo_uid: Vec<u8>,
    /// The branch.
    #[prost(string, tag = "4")]
    pub branch: String,
    /// Uid of the commit.
    #[prost(bytes = "vec", tag = "5")]
    pub commit: Vec<u8>,
    /// Its place in the branch.
    #[prost(uint64, tag = "6")]
    pub sequence: u64,
    /// Its seal.
    #[prost(bytes = "vec", tag = "7")]
    pub seal: Vec<u8>,
    /// Id of its tree.
    #[prost(bytes = "vec", tag = "8")]
    pub tree: Vec<u8>,
}

/// A commit that another stands on.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Ancestor {
    /// The store's uid of its repo.
    #[prost(bytes = "vec", tag = "1")]
    pub repo_uid: Vec<u8>,
    /// Name of the repo.
    #[prost(string, tag = "2")]
    pub repo_name: String,
    /// The branch.
    #[prost(string, tag = "3")]
    pub branch: String,
    /// Uid of the commit.
    #[prost(bytes = "vec", tag = "4")]
    pub commit: Vec<u8>,
    /// Its place in the branch.
    #[prost(uint64, tag = "5")]
    pub sequence: u64,
}

/// How many files a commit changed.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ChangeSummary {
    /// Files that were not there before.
    #[prost(uint64, tag = "1")]
    pub added: u64,
    /// Files whose content or kind changed.
    #[prost(uint64, tag = "2")]
    pub changed: u64,
    /// Files that are gone.
    #[prost(uint64, tag = "3")]
    pub removed: u64,
}

/// A commit's record as it lies in a pack: the identity exactly as sealed, and the placement.
#[derive(Clone, PartialEq, Message)]
pub struct CommitRecord {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// Bytes of a [`CommitIdentity`], as first stored.
    #[prost(bytes = "vec", tag = "2")]
    pub identity: Vec<u8>,
    /// Where things lie; no part of the seal.
    #[prost(message, optional, tag = "3")]
    pub placement: Option<Placement>,
}

/// Where the parts of a commit lie.
#[derive(Clone, PartialEq, Message)]
pub struct Placement {
    /// Locations of the roots of its maps, sorted by kind.
    #[prost(message, repeated, tag = "1")]
    pub roots: Vec<RootPlacement>,
    /// The full record of the Job that made it; none for a commit that no Job made.
    #[prost(message, optional, tag = "2")]
    pub job_record: Option<crate::records::ContentRef>,
    /// The packs written for this commit, and how much of each it uses.
    #[prost(message, repeated, tag = "3")]
    pub packs: Vec<PackUse>,
}

/// Where the root of a map lies.
#[derive(Clone, PartialEq, Message)]
pub struct RootPlacement {
    /// The map's kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The exact encoding of its location.
    #[prost(bytes = "vec", tag = "2")]
    pub at: Vec<u8>,
}

/// How much of a pack a commit brought in.
#[derive(Clone, PartialEq, Message)]
pub struct PackUse {
    /// The pack's id.
    #[prost(bytes = "vec", tag = "1")]
    pub pack: Vec<u8>,
    /// Stored bytes.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}
