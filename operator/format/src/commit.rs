//! A commit: its identity, which the seal is taken over, and its placement, which is outside the seal.
//!
//! The messages are those of `docs/format/commit.proto`. Identity bytes are kept exactly as they were first stored
//! and never encoded again, so a later version's fields survive an older reader, and the seal with them.

use prost::Message;
use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::{Domain, Hash};
use crate::location::Location;
use crate::name::{BranchName, MapKind};
use crate::node::MAX_LEVEL;
use crate::wire;

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
    /// Hash of the spec of the Commit CR that asked for it ([`spec_hash`]); none where none did.
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
    /// The exact encoding of its [`Location`].
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

/// The seal of identity bytes exactly as they are stored.
pub fn seal(identity: &[u8]) -> Hash {
    Domain::Commit.hash(identity)
}

/// The hash of a Commit's `spec`: of its RFC 8785 JSON, so that the order of keys and spaces do not count.
pub fn spec_hash(spec: &serde_json::Value) -> Hash {
    Domain::CommitSpec.hash(canonical_json(spec).as_bytes())
}

/// RFC 8785 JSON of a value.
///
/// # Panics
/// Never: a `Value` holds only finite numbers and string keys, which is all that the writer refuses.
pub fn canonical_json(value: &serde_json::Value) -> String {
    serde_json_canonicalizer::to_string(value).expect("a JSON value has finite numbers and string keys")
}

/// The uid of the commit that an object asked for: a UUIDv7 of the object's creation, its random bits taken from the
/// BLAKE3 of the object's uid. Derived, so that a restart anywhere begins the same commit again.
///
/// Times before 1970 count as 1970, times beyond 48 bits of milliseconds (the year 10889) as the last one.
pub fn commit_uid(creation_unix_ms: i64, owner_uid: &str) -> Uuid {
    const LAST_MS: u64 = (1 << 48) - 1;
    let ms = u64::try_from(creation_unix_ms).unwrap_or(0).min(LAST_MS);
    let mut random = [0; 10];
    random.copy_from_slice(&blake3::hash(owner_uid.as_bytes()).as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

impl CommitIdentity {
    /// Reads identity bytes and checks them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let identity: Self = wire::message(bytes, "commit identity")?;
        identity.check()?;
        Ok(identity)
    }

    /// Its uid.
    pub fn uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.uid, "commit uid")
    }

    /// The uid of its repo.
    pub fn repo_uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.repo_uid, "commit repo uid")
    }

    /// Its run.
    pub fn run(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.run, "commit run")
    }

    /// Its branch.
    pub fn branch(&self) -> Result<BranchName, DecodeError> {
        Ok(BranchName::parse_stored(&self.branch)?)
    }

    /// The root of its map of this kind.
    pub fn map(&self, kind: &MapKind) -> Option<&MapRoot> {
        self.maps.iter().find(|root| root.kind == kind.as_str())
    }

    /// Checks every field that has a form of its own.
    pub fn check(&self) -> Result<(), DecodeError> {
        self.uid()?;
        self.repo_uid()?;
        self.run()?;
        self.branch()?;
        if let Some(hash) = &self.spec_hash {
            wire::hash(hash, "commit spec hash")?;
        }
        if self.sequence == 0 {
            return Err(DecodeError::invalid("commit sequence", "it counts from 1"));
        }
        self.parents.iter().try_for_each(Parent::check)?;
        self.maps.iter().try_for_each(MapRoot::check)?;
        if !self.maps.is_sorted_by(|a, b| a.kind < b.kind) {
            return Err(DecodeError::invalid("commit maps", "they must be sorted by kind, each once"));
        }
        self.provenance.as_ref().map_or(Ok(()), Provenance::check)
    }
}

impl Parent {
    /// A parent.
    pub fn new(uid: Uuid, seal: Hash) -> Self {
        Self { uid: uid.into_bytes().to_vec(), seal: seal.to_vec() }
    }

    /// Its uid.
    pub fn uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.uid, "parent uid")
    }

    /// Its seal.
    pub fn seal(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.seal, "parent seal")
    }

    fn check(&self) -> Result<(), DecodeError> {
        self.uid()?;
        self.seal().map(|_| ())
    }
}

impl MapRoot {
    /// The id of the root node.
    pub fn id(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.id, "map root")
    }

    /// The map's kind.
    pub fn kind(&self) -> Result<MapKind, DecodeError> {
        Ok(MapKind::parse(&self.kind)?)
    }

    fn check(&self) -> Result<(), DecodeError> {
        self.id()?;
        let kind = self.kind()?;
        if self.level > MAX_LEVEL.into() {
            return Err(DecodeError::invalid("map level", "levels are 0 to 15"));
        }
        if !kind.is_tree() && (self.files, self.bytes) != (0, 0) {
            return Err(DecodeError::invalid("map counts", "only trees count files and bytes"));
        }
        Ok(())
    }
}

impl Provenance {
    /// The spec digest.
    pub fn spec_digest(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.spec_digest, "provenance spec digest")
    }

    fn check(&self) -> Result<(), DecodeError> {
        self.spec_digest()?;
        for input in &self.inputs {
            input.repo_uid()?;
            input.commit()?;
            input.seal()?;
            input.tree()?;
        }
        for ancestor in &self.closure {
            ancestor.repo_uid()?;
            ancestor.commit()?;
        }
        Ok(())
    }
}

impl ProvenanceInput {
    /// The uid of its repo.
    pub fn repo_uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.repo_uid, "input repo uid")
    }

    /// The uid of its commit.
    pub fn commit(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.commit, "input commit")
    }

    /// The seal of its commit.
    pub fn seal(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.seal, "input seal")
    }

    /// The id of its tree.
    pub fn tree(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.tree, "input tree")
    }
}

impl Ancestor {
    /// The uid of its repo.
    pub fn repo_uid(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.repo_uid, "ancestor repo uid")
    }

    /// The uid of the commit.
    pub fn commit(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.commit, "ancestor commit")
    }
}

impl CommitRecord {
    /// A record of version 1.
    pub fn new(identity: Vec<u8>, placement: Placement) -> Self {
        Self { format: 1, identity, placement: Some(placement) }
    }

    /// Reads a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = wire::message(bytes, "commit record")?;
        wire::version(record.format, "commit record")?;
        Ok(record)
    }

    /// The seal of its identity as stored.
    pub fn seal(&self) -> Hash {
        seal(&self.identity)
    }
}

impl RootPlacement {
    /// Where the root lies.
    pub fn new(kind: &MapKind, at: &Location) -> Self {
        Self { kind: kind.as_str().to_owned(), at: at.to_vec() }
    }

    /// Where the root lies.
    pub fn at(&self) -> Result<Location, DecodeError> {
        Location::from_slice(&self.at)
    }
}

impl PackUse {
    /// The pack's id.
    pub fn pack(&self) -> Result<Uuid, DecodeError> {
        wire::uuid(&self.pack, "pack id")
    }
}
