//! Where bytes lie: the tagged encoding that stands beside ids, never inside them.
//!
//! Erasing or moving content changes its location and no id. Decoding is exact: nothing may be left over, and a tag
//! that this version does not know is a typed error, never a guess.

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::Reader;
use crate::error::DecodeError;
use crate::pack::{FRAME_OVERHEAD, HEADER_BYTES, MAX_FRAME};

/// Most bytes that stand inline or embedded in a location: the cap of a node, which holds them.
pub const MAX_INLINE: u32 = 1 << 20;
/// Most bytes that describe something outside.
pub const MAX_OUTSIDE: u32 = 1 << 14;

const IN_PACK: u8 = 1;
const INLINE: u8 = 2;
const EMBEDDED: u8 = 3;
const OUTSIDE: u8 = 4;
const ERASED: u8 = 5;

/// Which folder of the store a pack lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Area {
    /// `data/`: packs of contents.
    Data = 0,
    /// `meta/`: packs of nodes, records and indexes.
    Meta = 1,
}

/// What the frames hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Form {
    /// The bytes themselves.
    Plain = 0,
    /// The blob index of a content of several chunks.
    Index = 1,
}

/// Consecutive frames of one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackLocation {
    /// Which folder the pack lies in.
    pub area: Area,
    /// The pack's id.
    pub pack: Uuid,
    /// Offset of the first frame's first byte in the pack's object.
    pub offset: u64,
    /// Number of frames, at least 1.
    pub frames: u32,
    /// Bytes in the object from `offset` to the end of the last frame: what one ranged read fetches.
    pub stored: u64,
    /// Plain bytes to skip at the start of the first frame: 0, unless several contents share it.
    pub skip: u32,
    /// What the frames hold.
    pub form: Form,
}

/// Where a node's or a content's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// In a pack.
    Pack(PackLocation),
    /// Here: the content itself.
    Inline(Bytes),
    /// Here: the stored bytes of a node.
    Embedded(Bytes),
    /// Outside the store; the description is opaque to this version.
    Outside(Bytes),
    /// Nowhere any more: erased on purpose.
    Erased,
}

impl Location {
    /// Appends the exact encoding, which says itself where it ends.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pack(pack) => pack.encode(out),
            Self::Inline(bytes) => put_bytes(out, INLINE, bytes),
            Self::Embedded(bytes) => put_bytes(out, EMBEDDED, bytes),
            Self::Outside(bytes) => put_bytes(out, OUTSIDE, bytes),
            Self::Erased => out.push(ERASED),
        }
    }

    /// The exact encoding, alone.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Takes one location off the front of the bytes.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "location");
        let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let location = match reader.u8()? {
            IN_PACK => Self::Pack(PackLocation::read(&mut reader)?),
            INLINE => Self::Inline(copied(reader.bytes(MAX_INLINE)?)),
            EMBEDDED => Self::Embedded(copied(reader.bytes(MAX_INLINE)?)),
            OUTSIDE => Self::Outside(copied(reader.bytes(MAX_OUTSIDE)?)),
            ERASED => Self::Erased,
            tag => return Err(unknown("tag", tag)),
        };
        *bytes = reader.rest();
        Ok(location)
    }

    /// Reads a location that fills the bytes.
    pub fn from_slice(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let location = Self::decode(&mut bytes)?;
        match bytes.len() {
            0 => Ok(location),
            extra => Err(DecodeError::Trailing { what: "location", extra }),
        }
    }
}

impl PackLocation {
    /// `1 | area u8 | pack[16] | offset u64 | frames u32 | stored u64 | skip u32 | form u8`.
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[IN_PACK, self.area as u8]);
        out.extend_from_slice(self.pack.as_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.frames.to_le_bytes());
        out.extend_from_slice(&self.stored.to_le_bytes());
        out.extend_from_slice(&self.skip.to_le_bytes());
        out.push(self.form as u8);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let area = match reader.u8()? {
            0 => Area::Data,
            1 => Area::Meta,
            other => return Err(unknown("area", other)),
        };
        let (pack, offset, frames) = (reader.uuid()?, reader.u64()?, reader.u32()?);
        let (stored, skip) = (reader.u64()?, reader.u32()?);
        let form = match reader.u8()? {
            0 => Form::Plain,
            1 => Form::Index,
            other => return Err(unknown("form", other)),
        };
        let location = Self { area, pack, offset, frames, stored, skip, form };
        location.check()?;
        Ok(location)
    }

    /// What holds in any pack: frames lie behind the header, and each takes its overhead and 1 byte to 1 MiB.
    fn check(&self) -> Result<(), DecodeError> {
        let frames = u64::from(self.frames);
        let fewest = frames * (FRAME_OVERHEAD as u64 + 1);
        let most = frames * (FRAME_OVERHEAD as u64 + MAX_FRAME as u64);
        let why = if frames == 0 {
            "it has no frames"
        } else if self.offset < HEADER_BYTES as u64 {
            "it begins inside the pack's header"
        } else if !(fewest..=most).contains(&self.stored) {
            "its stored length is not that of its frames"
        } else if self.skip as usize >= MAX_FRAME {
            "it skips more than a frame"
        } else if self.offset.checked_add(self.stored).is_none() {
            "it ends beyond 2^64"
        } else {
            return Ok(());
        };
        Err(DecodeError::invalid("location", why))
    }
}

fn unknown(field: &'static str, value: u8) -> DecodeError {
    DecodeError::Unknown { what: "location", field, value: value.into() }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&crate::codec::length_u32(bytes.len()));
    out.extend_from_slice(bytes);
}
