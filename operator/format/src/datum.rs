//! A datum: its key (which it is within its Pipeline), its hash (what it computes), and its row in `datums`.

use std::fmt;

use bytes::Bytes;

use crate::codec::{Reader, length_u32, put_option, put_string};
use crate::error::{DecodeError, NameError, escape};
use crate::hash::{Domain, Hash};
use crate::name::{MAX_KEY, MAX_PATH, RepoPath, check_name};
use crate::row::Kind;

/// The length that stands for an absent member in a key.
const ABSENT: u16 = u16::MAX;

/// One file, symlink or directory of a datum, or the place of an optional one that is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of the input.
    pub input: String,
    /// Name it is mounted as beneath `/pfs`.
    pub mount: String,
    /// What matched; none where an optional input matched nothing.
    pub found: Option<Found>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path in the repo.
    pub path: RepoPath,
    /// Its kind: file, executable, symlink or directory.
    pub kind: Kind,
    /// Id of its content, or of its directory's root node.
    pub id: Hash,
    /// Its key in a join or a group.
    pub join_key: Option<String>,
}

impl Found {
    /// The path as keys and hashes take it: a directory's ends in `/`, the root's is empty.
    pub fn key_path(&self) -> String {
        if self.kind == Kind::Directory { self.path.as_directory() } else { self.path.as_str().to_owned() }
    }
}

/// Sorts the members of a datum as its key and its hash need them: by input, within one input by path.
pub fn sort_members(members: &mut [Member]) {
    members.sort_by_cached_key(sort_key);
}

fn sort_key(member: &Member) -> (String, bool, String) {
    let path = member.found.as_ref().map(Found::key_path);
    (member.input.clone(), path.is_none(), path.unwrap_or_default())
}

/// The bytes that name a datum within its Pipeline, and its key in the maps `datums` and `prov`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatumKey(Bytes);

/// A member as a key names it: the input, and the path (none for an absent member).
pub type KeyMember = (String, Option<String>);

impl DatumKey {
    /// The key of these members, which must be sorted ([`sort_members`]) and not empty.
    pub fn of(members: &[Member]) -> Result<Self, DecodeError> {
        check_members(members)?;
        let mut key = Vec::new();
        for member in members {
            let path = member.found.as_ref().map(Found::key_path);
            put_key_member(&mut key, &member.input, path.as_deref());
        }
        if key.len() > MAX_KEY {
            return Err(NameError::DatumKeyTooLong { length: key.len(), max: MAX_KEY }.into());
        }
        Ok(Self(key.into()))
    }

    /// Takes the bytes of a key, after reading them.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let key = Self(bytes);
        key.members()?;
        Ok(key)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The members it names.
    pub fn members(&self) -> Result<Vec<KeyMember>, DecodeError> {
        let what = "datum key";
        if self.0.len() > MAX_KEY {
            return Err(NameError::DatumKeyTooLong { length: self.0.len(), max: MAX_KEY }.into());
        }
        let mut reader = Reader::new(&self.0, what);
        let mut members: Vec<KeyMember> = Vec::new();
        while reader.remaining() > 0 || members.is_empty() {
            let length = reader.u8()?;
            let input = check_name(reader.take(length.into())?)?.to_owned();
            let length = u16::from_be_bytes(reader.array()?);
            let path = match length {
                ABSENT => None,
                length => Some(check_key_path(reader.take(length.into())?)?),
            };
            members.push((input, path));
        }
        let order = |(input, path): &KeyMember| (input.clone(), path.is_none(), path.clone());
        let is_sorted = members.is_sorted_by(|a, b| order(a) < order(b) && !(a.0 == b.0 && b.1.is_none()));
        if is_sorted { Ok(members) } else { Err(DecodeError::invalid(what, "its members must be sorted, each once")) }
    }
}

fn put_key_member(out: &mut Vec<u8>, input: &str, path: Option<&str>) {
    out.push(u8::try_from(input.len()).expect("names of inputs have at most 255 bytes"));
    out.extend_from_slice(input.as_bytes());
    let Some(path) = path else { return out.extend_from_slice(&ABSENT.to_be_bytes()) };
    let length = u16::try_from(path.len()).expect("paths have at most 4096 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(path.as_bytes());
}

/// A path as a key holds it: perhaps with a directory's `/`, perhaps empty.
fn check_key_path(bytes: &[u8]) -> Result<String, DecodeError> {
    if bytes.len() > MAX_PATH {
        let (shown, length) = (escape(bytes), bytes.len());
        return Err(NameError::TooLong { what: "path", shown, length, max: MAX_PATH }.into());
    }
    if bytes == b"/" {
        return Err(NameError::EmptyPart { what: "path", shown: "/".to_owned() }.into());
    }
    let path = RepoPath::parse_bytes(bytes.strip_suffix(b"/").unwrap_or(bytes))?;
    Ok(if bytes.ends_with(b"/") { path.as_directory() } else { path.as_str().to_owned() })
}

/// Checks what a key and a hash both need: at least one member, sorted, each once, with names and kinds that may be.
fn check_members(members: &[Member]) -> Result<(), DecodeError> {
    let what = "datum";
    if members.is_empty() {
        return Err(DecodeError::invalid(what, "it needs at least one member"));
    }
    for member in members {
        check_name(member.input.as_bytes())?;
        let Some(found) = &member.found else { continue };
        match found.kind {
            Kind::Directory => found.path.check_directory()?,
            kind if kind.is_file() && !found.path.is_root() => {}
            kind => return Err(DecodeError::invalid(what, format!("{} may not be a {kind:?}", found.path))),
        }
    }
    let is_sorted =
        members.is_sorted_by(|a, b| sort_key(a) < sort_key(b) && !(a.input == b.input && b.found.is_none()));
    if is_sorted { Ok(()) } else { Err(DecodeError::invalid(what, "its members must be sorted, each once")) }
}

impl fmt::Debug for DatumKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Display for DatumKey {
    /// `input:/path + input:/path`, for messages; an absent member is `input:(absent)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(members) = self.members() else { return fmt::Debug::fmt(self, f) };
        for (index, (input, path)) in members.iter().enumerate() {
            let plus = if index == 0 { "" } else { " + " };
            match path {
                Some(path) => write!(f, "{plus}{}:/{}", escape(input.as_bytes()), escape(path.as_bytes()))?,
                None => write!(f, "{plus}{}:(absent)", escape(input.as_bytes()))?,
            }
        }
        Ok(())
    }
}

/// The hash of a datum: what it computes. Members as for [`DatumKey::of`].
pub fn datum_hash(spec_digest: &Hash, members: &[Member]) -> Result<Hash, DecodeError> {
    check_members(members)?;
    let mut bytes = spec_digest.to_vec();
    bytes.extend_from_slice(&length_u32(members.len()));
    for member in members {
        put_hash_member(&mut bytes, member);
    }
    Ok(Domain::Datum.hash(&bytes))
}

fn put_hash_member(out: &mut Vec<u8>, member: &Member) {
    put_string(out, &member.mount);
    let Some(found) = &member.found else {
        out.extend_from_slice(&u32::MAX.to_le_bytes());
        out.push(0);
        out.extend_from_slice(Hash::ZERO.as_bytes());
        return put_option(out, None, put_string);
    };
    put_string(out, &found.key_path());
    out.push(found.kind.into());
    out.extend_from_slice(found.id.as_bytes());
    put_option(out, found.join_key.as_deref(), put_string);
}

/// How a datum in `datums` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DatumState {
    /// The command succeeded.
    Succeeded = 1,
    /// The command failed and its recovery succeeded.
    Recovered = 2,
}

/// The value of a datum in the map `datums`: nothing that differs from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DatumRow {
    /// The datum's hash.
    pub hash: Hash,
    /// How it ended.
    pub state: DatumState,
    /// Id of its output tree; the empty tree's where it wrote nothing.
    pub output: Hash,
}

impl DatumRow {
    /// Bytes of the encoding.
    pub const BYTES: usize = 66;

    /// `1u8 | datum hash[32] | state u8 | output root[32]`.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = 1;
        out[1..33].copy_from_slice(self.hash.as_bytes());
        out[33] = self.state as u8;
        out[34..].copy_from_slice(self.output.as_bytes());
        out
    }

    /// Reads exactly the bytes of [`DatumRow::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "datum row";
        let mut reader = Reader::new(bytes, what);
        let version = reader.u8()?;
        if version != 1 {
            return Err(DecodeError::Unknown { what, field: "version", value: version.into() });
        }
        let hash = reader.hash()?;
        let state = match reader.u8()? {
            1 => DatumState::Succeeded,
            2 => DatumState::Recovered,
            other => return Err(DecodeError::Unknown { what, field: "state", value: other.into() }),
        };
        let row = Self { hash, state, output: reader.hash()? };
        reader.finish()?;
        Ok(row)
    }
}
