//! A commit: its identity, which the seal is taken over, and its placement, which is outside the seal.
//!
//! The messages are those of `docs/format/commit.proto`. Identity bytes are kept exactly as they were first stored
//! and never encoded again, so a later version's fields survive an older reader, and the seal with them.

mod messages;

pub use messages::{
    Ancestor, ChangeSummary, CommitIdentity, CommitRecord, MapRoot, PackUse, Parent, Placement, Provenance,
    ProvenanceInput, RootPlacement,
};
use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::{Domain, Hash};
use crate::location::Location;
use crate::name::{BranchName, MapKind};
use crate::node::MAX_LEVEL;
use crate::wire;

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
