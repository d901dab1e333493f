//! A segment of the memo: blocks of sorted entries, each a frame or a few of its own.
//!
//! The map's value names each block's first hash, its id and size. Where the blocks lie stands beside the value, outside
//! its hash: a lone block by its place, several by that of one index, the same as that of a large file whose chunks the
//! blocks are. So a segment is one reference, however many results it holds.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;
use varve_format::records::{self, MemoBlock, MemoBlockRef, MemoEntry, MemoSegment, Versioned};
use varve_format::{Form, Hash, Location, PackLocation};

use crate::content::index::{self, IndexChunk};
use crate::content::outboard::Hashing;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::store::Store;
use crate::types::{ContentRef, Value};

/// A block ends after the entry that reaches this: one read of about 10 ms, some hundred entries.
const BLOCK_BYTES: usize = 64 << 10;
/// No block is larger.
const MAX_BLOCK_BYTES: u64 = 16 << 20;

/// A block as the segment's value names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Its number in the segment.
    index: usize,
    /// Hash of its first entry.
    pub(crate) first: Hash,
    id: Hash,
    size: u64,
}

/// A segment as its value describes it.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Number of entries.
    pub(crate) entries: u64,
    blocks: Vec<Block>,
    /// All blocks as one content, where there are several.
    whole: Option<(Hash, u64)>,
    refs: Vec<Location>,
}

impl Segment {
    /// Reads a value of the map `memo`.
    pub(crate) fn of(value: &Value) -> Result<Self> {
        let segment = MemoSegment::from_bytes(&value.bytes).map_err(Error::decode("a memo segment"))?;
        let mut blocks = Vec::with_capacity(segment.blocks.len());
        for (index, block) in segment.blocks.iter().enumerate() {
            let first = block.first().map_err(Error::decode("a memo segment"))?;
            let Some(content) = &block.block else { return Err(corrupt("it does not name one of its blocks")) };
            let id = content.id().map_err(Error::decode("a memo segment"))?;
            blocks.push(Block { index, first, id, size: content.size });
        }
        let whole = match &segment.whole {
            Some(whole) => Some((whole.id().map_err(Error::decode("a memo segment"))?, whole.size)),
            None => None,
        };
        Ok(Self { entries: segment.entries, blocks, whole, refs: value.refs.clone() })
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

fn corrupt(why: &str) -> Error {
    Error::corrupt("a memo segment", why)
}

impl Store {
    /// Where the blocks of a segment lie, in their order.
    pub(crate) async fn segment_places(&self, segment: &Segment) -> Result<Vec<Location>> {
        let places = match (&segment.whole, segment.refs.as_slice()) {
            (Some((id, size)), [at @ Location::Pack(range)]) if range.form == Form::Index => {
                let whole = ContentRef { id: *id, size: *size, at: at.clone() };
                let index = self.read_index(&whole, range).await?;
                index.chunks.iter().map(|chunk| Location::Pack(chunk.at)).collect()
            }
            // As the first version wrote them all, and as a lone block is still written.
            (None, places) => places.to_vec(),
            _ => return Err(corrupt("it has several blocks and no index of them")),
        };
        if places.len() == segment.blocks.len() {
            Ok(places)
        } else {
            Err(corrupt("it has not a place for each block"))
        }
    }

    /// The entries of a block, sorted.
    pub(crate) async fn read_block(&self, block: &Block, places: &[Location]) -> Result<Vec<MemoEntry>> {
        let at = places.get(block.index).cloned().ok_or_else(|| corrupt("it has not a place for each block"))?;
        let content = ContentRef { id: block.id, size: block.size, at };
        let bytes = self.read_all(&content, MAX_BLOCK_BYTES).await?;
        let decoded = MemoBlock::decode(bytes).map_err(|error| Error::corrupt("a memo block", error.to_string()))?;
        Ok(decoded.entries)
    }
}

/// Writes entries, which must come sorted by hash and each hash once, as a segment. Memory is one block.
pub(crate) struct SegmentWriter<'a> {
    session: &'a Session,
    entries: u64,
    block: MemoBlock,
    block_bytes: usize,
    blocks: Vec<MemoBlockRef>,
    chunks: Vec<IndexChunk>,
    hashing: Hashing,
    size: u64,
}

impl<'a> SegmentWriter<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self {
            session,
            entries: 0,
            block: MemoBlock::default(),
            block_bytes: 0,
            blocks: Vec::new(),
            chunks: Vec::new(),
            hashing: Hashing::new(),
            size: 0,
        }
    }

    pub(crate) async fn push(&mut self, entry: MemoEntry) -> Result<()> {
        self.entries += 1;
        self.block_bytes += entry.encoded_len();
        self.block.entries.push(entry);
        if self.block_bytes >= BLOCK_BYTES { self.end_block().await } else { Ok(()) }
    }

    async fn end_block(&mut self) -> Result<()> {
        let block = std::mem::take(&mut self.block);
        self.block_bytes = 0;
        let Some(first) = block.entries.first().map(|entry| entry.hash.clone()) else { return Ok(()) };
        let bytes = Bytes::from(block.encode_to_vec());
        let (id, size) = (Hash::of_content(&bytes), bytes.len() as u64);
        self.hashing.update(&bytes);
        let at = self.session.append_meta_as(id, bytes).await?;
        let plain = u32::try_from(size).map_err(|_| too_large(size))?;
        self.chunks.push(IndexChunk { start: self.size, plain, hash: id, at });
        self.size += size;
        // The location stays out of the value, and so out of its hash.
        let content = records::ContentRef { id: id.to_vec(), size, at: Vec::new() };
        self.blocks.push(MemoBlockRef { first, block: Some(content) });
        Ok(())
    }

    /// The segment's id, over all its blocks' bytes, and its value in the map `memo`. `job` is none for one that was
    /// merged from several.
    pub(crate) async fn finish(mut self, job: Option<Uuid>) -> Result<(Hash, Value)> {
        self.end_block().await?;
        let hashed = self.hashing.finish();
        let (whole, refs) = match self.chunks.as_slice() {
            [only] => (None, vec![Location::Pack(only.at)]),
            chunks => {
                let encoded = index::encode(hashed.size, chunks, &hashed.outboard)?;
                let at = self.session.append_meta(encoded).await?;
                let whole = records::ContentRef { id: hashed.id.to_vec(), size: hashed.size, at: Vec::new() };
                (Some(whole), vec![Location::Pack(PackLocation { form: Form::Index, ..at })])
            }
        };
        let job_uid = job.map(|job| job.into_bytes().to_vec()).unwrap_or_default();
        let segment = MemoSegment { format: 1, job_uid, entries: self.entries, blocks: self.blocks, whole };
        Ok((hashed.id, Value { bytes: segment.encode_to_vec().into(), refs }))
    }
}

fn too_large(size: u64) -> Error {
    Error::TooLarge { what: "a block of the memo".to_owned(), size, max: MAX_BLOCK_BYTES }
}
