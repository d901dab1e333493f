//! Where bytes lie: the tagged encoding that stands beside ids, never inside them.
//!
//! Erasing or moving content changes its location and no id. Decoding is exact: nothing may be left over, and a tag
//! that this version does not know is a typed error, never a guess.

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::Reader;
use crate::error::DecodeError;
use crate::pack::{FRAME_OVERHEAD, HEADER_BYTES};

/// Most bytes that stand inline or embedded in a location: the cap of a node, which holds them.
pub const MAX_INLINE: u32 = 1 << 20;
/// Most bytes that describe something outside.
pub const MAX_OUTSIDE: u32 = 1 << 14;

const IN_PACK: u8 = 1;
const INLINE: u8 = 2;
const EMBEDDED: u8 = 3;
const OUTSIDE: u8 = 4;
const ERASED: u8 = 5;
const INDEXED: u8 = 6;

/// Consecutive frames of one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackRange {
    /// The pack's id.
    pub pack: Uuid,
    /// Offset of the first frame's first byte in the pack's object.
    pub offset: u64,
    /// Number of frames, at least 1.
    pub frames: u32,
    /// Bytes in the object from `offset` to the end of the last frame: what one ranged read fetches.
    pub stored: u64,
    /// Plain bytes to skip at the start of the first frame: 0, unless the frame is shared.
    pub skip: u32,
}

/// Where a node's or a content's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// In a pack, as one chunk.
    Pack(PackRange),
    /// Here: the content itself.
    Inline(Bytes),
    /// Here: the stored bytes of a node.
    Embedded(Bytes),
    /// Outside the store; the description is opaque to this version.
    Outside(Bytes),
    /// Nowhere any more: erased on purpose.
    Erased,
    /// In several chunks: the range holds the blob index that lists them.
    Indexed(PackRange),
}

impl Location {
    /// The exact encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the exact encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pack(range) => put_range(out, IN_PACK, range),
            Self::Indexed(range) => put_range(out, INDEXED, range),
            Self::Inline(bytes) => put_bytes(out, INLINE, bytes),
            Self::Embedded(bytes) => put_bytes(out, EMBEDDED, bytes),
            Self::Outside(bytes) => put_bytes(out, OUTSIDE, bytes),
            Self::Erased => out.push(ERASED),
        }
    }

    /// Reads one location that fills the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "location");
        let location = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(location)
    }

    /// Reads one location off the front; returns it and the number of bytes it took.
    pub fn decode_prefix(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes, "location");
        let location = Self::read(&mut reader)?;
        Ok((location, bytes.len() - reader.remaining()))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        Ok(match reader.u8()? {
            IN_PACK => Self::Pack(read_range(reader)?),
            INLINE => Self::Inline(copied(reader.bytes(MAX_INLINE)?)),
            EMBEDDED => Self::Embedded(copied(reader.bytes(MAX_INLINE)?)),
            OUTSIDE => Self::Outside(copied(reader.bytes(MAX_OUTSIDE)?)),
            ERASED => Self::Erased,
            INDEXED => Self::Indexed(read_range(reader)?),
            tag => return Err(DecodeError::Unknown { what: "location", field: "tag", value: tag.into() }),
        })
    }
}

fn put_range(out: &mut Vec<u8>, tag: u8, range: &PackRange) {
    out.push(tag);
    out.extend_from_slice(range.pack.as_bytes());
    out.extend_from_slice(&range.offset.to_le_bytes());
    out.extend_from_slice(&range.frames.to_le_bytes());
    out.extend_from_slice(&range.stored.to_le_bytes());
    out.extend_from_slice(&range.skip.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&crate::codec::length_u32(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Reads a range and checks what holds in any pack: frames lie behind the header, and each takes its overhead.
fn read_range(reader: &mut Reader<'_>) -> Result<PackRange, DecodeError> {
    let range = PackRange {
        pack: reader.uuid()?,
        offset: reader.u64()?,
        frames: reader.u32()?,
        stored: reader.u64()?,
        skip: reader.u32()?,
    };
    let why = if range.frames == 0 {
        "it has no frames"
    } else if range.offset < HEADER_BYTES as u64 {
        "it begins inside the pack's header"
    } else if range.stored <= u64::from(range.frames) * FRAME_OVERHEAD as u64 {
        "its frames do not fit in its stored length"
    } else if range.offset.checked_add(range.stored).is_none() {
        "it ends beyond 2^64"
    } else {
        return Ok(range);
    };
    Err(DecodeError::invalid("location", why))
}
