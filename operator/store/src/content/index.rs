//! The blob index of a content of several chunks: which chunks, where, and the outboard to verify ranges by.
//!
//! `version u8 | size u64 | chunks u32 | for each: plain length u32, hash[32], location | outboard: length u32, bytes`. About
//! 0.06 % of the content. Its chunks' locations are what it refers to; a collector follows them from here.

use blake3::hazmat::ChainingValue;
use bytes::Bytes;
use varve_format::{Hash, Location, PackLocation};

use crate::content::outboard;
use crate::error::{Error, Result};

const VERSION: u8 = 1;
/// Least bytes that a chunk takes here.
const LEAST_ENTRY: usize = 37;
/// The largest index, which bounds a content: of some 390 GiB its outboard has 97 MiB, and its chunks have the rest.
pub(crate) const MAX_INDEX_BYTES: u64 = 128 << 20;

/// Bytes of a chunk here: length, hash, and a place in a pack.
const ENTRY_BYTES: u64 = 4 + 32 + 44;

/// Refuses a content as soon as its index could not be written: not at the end of days of uploading.
pub(crate) fn check_size(size: u64, chunks: usize) -> Result<()> {
    let bytes = (size / outboard::GROUP_BYTES * 64).saturating_add((chunks as u64).saturating_mul(ENTRY_BYTES));
    if bytes > MAX_INDEX_BYTES - 64 {
        return Err(Error::ContentTooLarge { size, max: MAX_INDEX_BYTES });
    }
    Ok(())
}

/// A chunk of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexChunk {
    /// Offset in the content.
    pub(crate) start: u64,
    /// Length in bytes.
    pub(crate) plain: u32,
    /// BLAKE3 of the chunk.
    pub(crate) hash: Hash,
    /// Where it lies.
    pub(crate) at: PackLocation,
}

/// A decoded index, its outboard verified against the content's id.
#[derive(Debug)]
pub(crate) struct BlobIndex {
    /// The content that it is of.
    pub(crate) id: Hash,
    /// That content's size.
    pub(crate) size: u64,
    pub(crate) chunks: Vec<IndexChunk>,
    /// Chaining values of the groups; none for a content of one group, which is verified by its id.
    pub(crate) groups: Vec<ChainingValue>,
}

pub(crate) fn encode(size: u64, chunks: &[IndexChunk], outboard: &[u8]) -> Result<Bytes> {
    let too_large = |_| Error::TooLarge { what: "the index of a content".to_owned(), size, max: MAX_INDEX_BYTES };
    let mut out = vec![VERSION];
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&u32::try_from(chunks.len()).map_err(too_large)?.to_le_bytes());
    for chunk in chunks {
        out.extend_from_slice(&chunk.plain.to_le_bytes());
        out.extend_from_slice(chunk.hash.as_bytes());
        Location::Pack(chunk.at).encode(&mut out);
    }
    out.extend_from_slice(&u32::try_from(outboard.len()).map_err(too_large)?.to_le_bytes());
    out.extend_from_slice(outboard);
    if out.len() as u64 > MAX_INDEX_BYTES {
        return Err(Error::TooLarge {
            what: "the index of a content".to_owned(),
            size: out.len() as u64,
            max: MAX_INDEX_BYTES,
        });
    }
    Ok(out.into())
}

impl BlobIndex {
    /// Reads an index and checks that it is this content's.
    pub(crate) fn decode(bytes: &[u8], id: &Hash, size: u64) -> Result<Self> {
        let wrong = |why: &str| Error::corrupt(format!("the index of content {id}"), why);
        let mut fields = Fields(bytes);
        let cut_short = || wrong("it is cut short");
        if fields.take(1).ok_or_else(cut_short)? != [VERSION] {
            return Err(wrong("its version is unknown"));
        }
        if fields.u64().ok_or_else(cut_short)? != size {
            return Err(wrong("it is of a content of another size"));
        }
        let count = fields.u32().ok_or_else(cut_short)? as usize;
        if count > bytes.len() / LEAST_ENTRY {
            return Err(wrong("it declares more chunks than it can hold"));
        }
        let mut chunks = Vec::with_capacity(count);
        let mut start = 0_u64;
        for _ in 0..count {
            let plain = fields.u32().ok_or_else(cut_short)?;
            let hash = fields.take(32).ok_or_else(cut_short)?;
            let hash = Hash::from_slice(hash).map_err(Error::decode("a blob index"))?;
            let location = Location::decode(&mut fields.0).map_err(Error::decode("a blob index"))?;
            let Location::Pack(at) = location else { return Err(wrong("a chunk does not lie in a pack")) };
            chunks.push(IndexChunk { start, plain, hash, at });
            start = start.checked_add(plain.into()).ok_or_else(|| wrong("its chunks are too long"))?;
        }
        let length = fields.u32().ok_or_else(cut_short)? as usize;
        let outboard = fields.take(length).ok_or_else(cut_short)?;
        if !fields.0.is_empty() {
            return Err(wrong("bytes follow it"));
        }
        if start != size {
            return Err(wrong("its chunks do not add up to the content's size"));
        }
        let groups = outboard::verify(id, size, outboard).ok_or_else(|| wrong("its hashes do not lead to the id"))?;
        Ok(Self { id: *id, size, chunks, groups })
    }

    /// Bytes that this index holds in memory.
    pub(crate) fn weight(&self) -> usize {
        std::mem::size_of_val(self.chunks.as_slice()) + std::mem::size_of_val(self.groups.as_slice()) + 64
    }

    /// Indexes of the chunks that a range of bytes touches.
    pub(crate) fn touched(&self, range: &std::ops::Range<u64>) -> std::ops::Range<usize> {
        let first = self.chunks.partition_point(|chunk| chunk.start + u64::from(chunk.plain) <= range.start);
        let end = self.chunks.partition_point(|chunk| chunk.start < range.end);
        first..end.max(first)
    }
}

/// Takes fields off the front; none when the bytes end too early.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use varve_format::{Area, Form};

    use super::*;

    #[test]
    fn a_content_is_refused_before_its_index_cannot_be_written() {
        // Chunks of 256 KiB up to 4 GiB, of 1 MiB up to 256 GiB, of 4 MiB beyond.
        let chunks = |gib: usize| 16_384 + (gib.min(256) - 4) * 1_024 + gib.saturating_sub(256) * 256;
        check_size(390 << 30, chunks(390)).expect("so much is promised");
        assert!(matches!(check_size(512 << 30, chunks(512)), Err(Error::ContentTooLarge { .. })));
    }

    #[test]
    fn a_chunk_takes_no_more_of_an_index_than_is_reckoned_with() {
        let at = PackLocation {
            area: Area::Data,
            pack: Uuid::nil(),
            offset: u64::MAX,
            frames: 1,
            stored: u64::MAX,
            skip: 0,
            form: Form::Plain,
        };
        let chunk = IndexChunk { start: 0, plain: 1, hash: Hash::ZERO, at };
        let length = |count: usize| encode(count as u64, &vec![chunk; count], &[]).expect("a small index").len() as u64;
        assert!(length(9) - length(8) <= ENTRY_BYTES);
    }
}
