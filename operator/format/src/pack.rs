//! Packs: the objects that hold frames of bytes, and the bytes around them.
//!
//! `header | frames | footer | trailer`. A frame's checksum covers the pack's id and its own offset, so that a frame
//! that was moved or swapped shows. Bytes in, bytes out: compression, IO and caches are the store's.

use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::codec::{Reader, length_u32, put_list};
use crate::error::DecodeError;
use crate::hash::Hash;

/// The eight bytes that a pack begins and ends with.
pub const MAGIC: &[u8; 8] = b"VARVEPK1";
/// Bytes of a pack's header.
pub const HEADER_BYTES: usize = 45;
/// Bytes of a frame's head: codec, stored, plain.
pub const FRAME_HEAD_BYTES: usize = 9;
/// Bytes that a frame takes beside its stored bytes.
pub const FRAME_OVERHEAD: usize = FRAME_HEAD_BYTES + 8;
/// Most stored or plain bytes of a frame.
pub const MAX_FRAME: usize = 1 << 20;
/// Bytes of a pack's trailer.
pub const TRAILER_BYTES: usize = 20;
/// Most bytes of a footer.
pub const MAX_FOOTER: usize = 1 << 26;

const FORMAT: u32 = 1;
const FOOTER_VERSION: u8 = 1;
const FOOTER_FRAME_BYTES: usize = 9;
const FOOTER_CHUNK_BYTES: usize = 40;

/// `"VARVEPK1" | format u32 = 1 | cipher u8 | key id[16] | pack id[16]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The pack's id, a UUIDv7 chosen before the upload.
    pub pack: Uuid,
}

impl Header {
    /// The header of a pack without a cipher.
    pub fn plain(pack: Uuid) -> Self {
        Self { pack }
    }

    /// The bytes that a pack begins with. Version 1 writes no cipher.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[29..].copy_from_slice(self.pack.as_bytes());
        out
    }

    /// Reads a header of exactly [`HEADER_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "pack header";
        let mut reader = Reader::new(bytes, what);
        if &reader.array::<8>()? != MAGIC {
            return Err(DecodeError::Magic { what });
        }
        let format = reader.u32()?;
        if format != FORMAT {
            return Err(DecodeError::Unknown { what, field: "format", value: format });
        }
        let cipher = reader.u8()?;
        if cipher != 0 {
            return Err(DecodeError::Unknown { what, field: "cipher", value: cipher.into() });
        }
        if reader.uuid()? != Uuid::nil() {
            return Err(DecodeError::invalid(what, "it names a key and has no cipher"));
        }
        let pack = reader.uuid()?;
        reader.finish()?;
        Ok(Self { pack })
    }
}

/// How a frame's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// As one zstd frame.
    Zstd = 1,
}

impl Codec {
    fn decode(byte: u8, what: &'static str) -> Result<Self, DecodeError> {
        match byte {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            other => Err(DecodeError::Unknown { what, field: "codec", value: other.into() }),
        }
    }
}

/// What stands before a frame's bytes: `codec u8 | stored u32 | plain u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHead {
    /// How the bytes are stored.
    pub codec: Codec,
    /// Length of the stored bytes, 1 byte to 1 MiB.
    pub stored_bytes: u32,
    /// Length of the plain bytes, 1 byte to 1 MiB.
    pub plain_bytes: u32,
}

impl FrameHead {
    /// Reads the first nine bytes of a frame; more may follow.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes, "frame"), "frame")
    }

    /// Bytes of the whole frame in its pack.
    pub fn frame_bytes(&self) -> usize {
        self.stored_bytes as usize + FRAME_OVERHEAD
    }

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let codec = Codec::decode(reader.u8()?, what)?;
        let head = Self { codec, stored_bytes: reader.u32()?, plain_bytes: reader.u32()? };
        head.check(what)?;
        Ok(head)
    }

    fn check(&self, what: &'static str) -> Result<(), DecodeError> {
        for length in [self.stored_bytes, self.plain_bytes] {
            if length as usize > MAX_FRAME {
                return Err(DecodeError::TooLong { what, length: length.into(), max: MAX_FRAME as u64 });
            }
            if length == 0 {
                return Err(DecodeError::invalid(what, "it has no bytes"));
            }
        }
        if self.codec == Codec::Raw && self.stored_bytes != self.plain_bytes {
            return Err(DecodeError::invalid(what, "raw bytes must be stored at their plain length"));
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.codec as u8);
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
    }
}

/// A frame: its head and its stored bytes, which the caller decompresses to exactly `plain_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How the bytes are stored.
    pub codec: Codec,
    /// Length of the plain bytes.
    pub plain_bytes: u32,
    /// The stored bytes.
    pub stored: &'a [u8],
}

impl<'a> Frame<'a> {
    /// What stands before its bytes.
    pub fn head(&self) -> FrameHead {
        let stored_bytes = u32::from_le_bytes(length_u32(self.stored.len()));
        FrameHead { codec: self.codec, stored_bytes, plain_bytes: self.plain_bytes }
    }

    /// Appends `codec | stored | plain | bytes | xxh3_64(pack id ‖ offset ‖ the frame so far)`, for the frame that begins
    /// at `offset` of its pack's object.
    ///
    /// # Panics
    /// If a length is not 1 byte to 1 MiB, or a raw frame's two lengths differ: the writer cuts frames itself.
    pub fn encode_into(&self, out: &mut Vec<u8>, pack: Uuid, offset: u64) {
        let head = self.head();
        if let Err(error) = head.check("frame") {
            panic!("a frame to be written must be one that can be read: {error}");
        }
        let start = out.len();
        head.encode(out);
        out.extend_from_slice(self.stored);
        let checksum = frame_checksum(pack, offset, &out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the frame that begins at `offset` of its pack's object, and checks it. Returns it and its length in the
    /// pack; bytes behind it are left alone.
    pub fn parse(bytes: &'a [u8], pack: Uuid, offset: u64) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes, "frame");
        let head = FrameHead::read(&mut reader, "frame")?;
        let stored = reader.take(head.stored_bytes as usize)?;
        let checksum = reader.u64()?;
        if checksum != frame_checksum(pack, offset, &bytes[..FRAME_HEAD_BYTES + stored.len()]) {
            return Err(DecodeError::Checksum { what: "frame", offset });
        }
        Ok((Self { codec: head.codec, plain_bytes: head.plain_bytes, stored }, head.frame_bytes()))
    }
}

fn frame_checksum(pack: Uuid, offset: u64, frame_so_far: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(pack.as_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(frame_so_far);
    hasher.digest()
}

/// A chunk as the footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FooterChunk {
    /// Index of its first frame in the pack.
    pub first_frame: u32,
    /// Number of its frames.
    pub frames: u32,
    /// BLAKE3 of its plain bytes.
    pub hash: Hash,
}

/// What a pack holds: its frames in order, the first at [`HEADER_BYTES`], each behind the one before; and its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// The head of each frame.
    pub frames: Vec<FrameHead>,
    /// Chunks, in the order of their first frame.
    pub chunks: Vec<FooterChunk>,
}

impl Footer {
    /// Lists the next frame.
    pub fn push_frame(&mut self, frame: &Frame<'_>) {
        self.frames.push(frame.head());
    }

    /// `version u8 = 1 | frames: list of (codec u8 | stored u32 | plain u32) | chunks: list of (first frame u32 |
    /// frames u32 | hash[32])`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FOOTER_VERSION];
        put_list(&mut out, self.frames.iter(), |out, frame| frame.encode(out));
        put_list(&mut out, self.chunks.iter(), |out, chunk| {
            out.extend_from_slice(&chunk.first_frame.to_le_bytes());
            out.extend_from_slice(&chunk.frames.to_le_bytes());
            out.extend_from_slice(chunk.hash.as_bytes());
        });
        out
    }

    /// Reads a footer. Check it against its [`Trailer`] first.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "pack footer";
        let mut reader = Reader::new(bytes, what);
        let version = reader.u8()?;
        if version != FOOTER_VERSION {
            return Err(DecodeError::Unknown { what, field: "version", value: version.into() });
        }
        let count = reader.count(FOOTER_FRAME_BYTES)?;
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            frames.push(FrameHead::read(&mut reader, what)?);
        }
        let count = reader.count(FOOTER_CHUNK_BYTES)?;
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            let chunk = FooterChunk { first_frame: reader.u32()?, frames: reader.u32()?, hash: reader.hash()? };
            let end = u64::from(chunk.first_frame) + u64::from(chunk.frames);
            if chunk.frames == 0 || end > frames.len() as u64 {
                return Err(DecodeError::invalid(what, "a chunk has no frames, or lies beyond the last frame"));
            }
            chunks.push(chunk);
        }
        reader.finish()?;
        Ok(Self { frames, chunks })
    }

    /// Offset of each frame in the pack's object.
    pub fn offsets(&self) -> impl Iterator<Item = u64> {
        self.frames.iter().scan(HEADER_BYTES as u64, |next, frame| {
            let offset = *next;
            *next += frame.frame_bytes() as u64;
            Some(offset)
        })
    }
}

/// `footer length u32 | xxh3_64(footer) | "VARVEPK1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Length of the footer in bytes.
    pub footer_bytes: u32,
    /// Its checksum.
    pub checksum: u64,
}

impl Trailer {
    /// The trailer of this footer.
    pub fn of(footer: &[u8]) -> Self {
        Self { footer_bytes: u32::from_le_bytes(length_u32(footer.len())), checksum: xxh3_64(footer) }
    }

    /// The bytes that a pack ends with.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&self.footer_bytes.to_le_bytes());
        out[4..12].copy_from_slice(&self.checksum.to_le_bytes());
        out[12..].copy_from_slice(MAGIC);
        out
    }

    /// Reads the last [`TRAILER_BYTES`] of a pack.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "pack trailer";
        let mut reader = Reader::new(bytes, what);
        let trailer = Self { footer_bytes: reader.u32()?, checksum: reader.u64()? };
        if &reader.array::<8>()? != MAGIC {
            return Err(DecodeError::Magic { what });
        }
        reader.finish()?;
        if trailer.footer_bytes as usize > MAX_FOOTER {
            let length = trailer.footer_bytes.into();
            return Err(DecodeError::TooLong { what: "pack footer", length, max: MAX_FOOTER as u64 });
        }
        Ok(trailer)
    }

    /// Checks the footer's length and checksum; `offset` is where it begins, for the error.
    pub fn check(&self, footer: &[u8], offset: u64) -> Result<(), DecodeError> {
        if footer.len() as u64 == u64::from(self.footer_bytes) && xxh3_64(footer) == self.checksum {
            return Ok(());
        }
        Err(DecodeError::Checksum { what: "pack footer", offset })
    }
}
