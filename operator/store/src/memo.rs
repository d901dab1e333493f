//! The memo: which datum hash gave which result. Each ended Job adds one immutable segment of sorted entries; the map
//! `memo` of the hidden branch `_memo` lists the segments by their Job.
//!
//! A segment is blocks of entries, each a frame of its own; the map's value names each block's first hash, so a look-up
//! reads one block per hash and segment at most. Where the blocks lie stands beside the value, outside its hash.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use uuid::Uuid;
use varve_format::records::{MemoBlock, MemoBlockRef, MemoEntry, MemoSegment, Versioned};
use varve_format::{Hash, Location, MapKind};

use crate::error::{Error, Result};
use crate::session::Session;
use crate::store::Store;
use crate::types::{ContentRef, NodeRef, Value};

/// A block ends after the entry that reaches this: one read of about 10 ms, some hundred entries.
const BLOCK_BYTES: usize = 64 << 10;
/// No block is larger.
const MAX_BLOCK_BYTES: u64 = 16 << 20;
/// Blocks read at once.
const READS_IN_FLIGHT: usize = 16;

impl Session {
    /// Adds the entries of an ended Job to a memo; of one hash the last counts. Returns the memo's new root, for the
    /// commit on `_memo`. The same Job again replaces its segment, so losing a race and appending again is harmless.
    pub async fn write_memo(&self, memo: &NodeRef, job: Uuid, entries: Vec<MemoEntry>) -> Result<NodeRef> {
        let mut entries = entries;
        for entry in &entries {
            entry.hash().map_err(Error::decode("a memo entry to write"))?;
        }
        entries.sort_by(|a, b| a.hash.cmp(&b.hash));
        entries.reverse();
        entries.dedup_by(|a, b| a.hash == b.hash);
        entries.reverse();
        if entries.is_empty() {
            return Ok(memo.clone());
        }
        let count = entries.len() as u64;
        let mut blocks: Vec<MemoBlockRef> = Vec::new();
        let mut refs: Vec<Location> = Vec::new();
        let mut block = MemoBlock::default();
        let mut block_bytes = 0;
        let mut entries = entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            block_bytes += entry.encoded_len();
            block.entries.push(entry);
            if block_bytes >= BLOCK_BYTES || entries.peek().is_none() {
                let first = block.entries[0].hash.clone();
                let content = self.write_record(block.encode_to_vec()).await?;
                // The location stays out of the value, and so out of its hash.
                let block_ref =
                    varve_format::records::ContentRef { id: content.id.to_vec(), size: content.size, at: Vec::new() };
                blocks.push(MemoBlockRef { first, block: Some(block_ref) });
                refs.push(content.at);
                block = MemoBlock::default();
                block_bytes = 0;
            }
        }
        let segment = MemoSegment { format: 1, job_uid: job.into_bytes().to_vec(), entries: count, blocks };
        let value = Value { bytes: segment.encode_to_vec().into(), refs };
        let key = Bytes::copy_from_slice(job.as_bytes());
        self.edit_map(&MapKind::MEMO, memo, vec![(key, Some(value))]).await
    }
}

impl Store {
    /// The entries that a memo has for these datum hashes.
    pub async fn memo_lookup(&self, memo: &NodeRef, hashes: &[Hash]) -> Result<HashMap<Hash, MemoEntry>> {
        let mut wanted: Vec<Hash> = hashes.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = HashMap::new();
        let mut segments = self.map_scan(memo, &MapKind::MEMO, None);
        while let Some((_, value)) = segments.try_next().await? {
            if found.len() == wanted.len() {
                break;
            }
            let missing: Vec<Hash> = wanted.iter().filter(|hash| !found.contains_key(*hash)).copied().collect();
            let blocks = blocks_for(&value, &missing)?;
            let mut entries = futures::stream::iter(blocks)
                .map(|(block, hashes)| async move { self.search_block(&block, &hashes).await })
                .buffer_unordered(READS_IN_FLIGHT);
            while let Some(entries) = entries.try_next().await? {
                found.extend(entries);
            }
        }
        Ok(found)
    }

    async fn search_block(&self, block: &ContentRef, hashes: &[Hash]) -> Result<Vec<(Hash, MemoEntry)>> {
        let bytes = self.read_all(block, MAX_BLOCK_BYTES).await?;
        let decoded = MemoBlock::decode(bytes).map_err(|error| Error::corrupt("a memo block", error.to_string()))?;
        let find = |hash: &Hash| {
            let index = decoded.entries.binary_search_by(|entry| entry.hash.as_slice().cmp(hash.as_ref())).ok()?;
            Some((*hash, decoded.entries[index].clone()))
        };
        Ok(hashes.iter().filter_map(find).collect())
    }
}

/// Which blocks of a segment may hold which of the sorted hashes.
fn blocks_for(value: &Value, hashes: &[Hash]) -> Result<Vec<(ContentRef, Vec<Hash>)>> {
    let segment = MemoSegment::from_bytes(&value.bytes).map_err(Error::decode("a memo segment"))?;
    if segment.blocks.len() != value.refs.len() {
        return Err(Error::corrupt("a memo segment", "it has not a place for each block"));
    }
    let mut firsts = Vec::with_capacity(segment.blocks.len());
    for block in &segment.blocks {
        firsts.push(block.first().map_err(Error::decode("a memo segment"))?);
    }
    let mut chosen: Vec<(ContentRef, Vec<Hash>)> = Vec::new();
    for (index, (block, at)) in segment.blocks.iter().zip(&value.refs).enumerate() {
        let start = hashes.partition_point(|hash| *hash < firsts[index]);
        let end = firsts.get(index + 1).map_or(hashes.len(), |next| hashes.partition_point(|hash| hash < next));
        let Some(content) = block.block.as_ref().filter(|_| start < end) else { continue };
        let id = content.id().map_err(Error::decode("a memo segment"))?;
        let content = ContentRef { id, size: content.size, at: at.clone() };
        chosen.push((content, hashes[start..end].to_vec()));
    }
    Ok(chosen)
}
