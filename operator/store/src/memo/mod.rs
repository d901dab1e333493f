//! The memo: which datum hash gave which result. Each ended Job adds one immutable segment of sorted entries; the map
//! `memo` of the hidden branch `_memo` lists the segments. Ten of about the same size become one, so that a look-up
//! asks as many as the number of entries has digits, times nine, however many Jobs there were.

mod merge;
mod segment;

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;
use varve_format::records::MemoEntry;
use varve_format::{Hash, MapKind};

use crate::error::{Error, Result};
use crate::memo::segment::{Block, Segment, SegmentWriter};
use crate::session::Session;
use crate::store::Store;
use crate::types::{NodeRef, Value};

/// Blocks read at once.
const READS_IN_FLIGHT: usize = 16;

impl Session {
    /// Adds the entries of an ended Job to a memo; of one hash the last counts. Returns the memo's new root, for the
    /// commit on `_memo`. The same Job again replaces its segment, or repeats what a merged one holds, so losing a race
    /// and appending again is harmless.
    pub async fn write_memo(&self, memo: &NodeRef, job: Uuid, entries: Vec<MemoEntry>) -> Result<NodeRef> {
        let entries = sorted(entries)?;
        if entries.is_empty() {
            return Ok(memo.clone());
        }
        let own_key = Bytes::copy_from_slice(job.as_bytes());
        let peers = self.peers(memo, &own_key, entries.len() as u64).await?;
        if peers.is_empty() {
            let mut writer = SegmentWriter::new(self);
            for entry in entries {
                writer.push(entry).await?;
            }
            let (_, value) = writer.finish(Some(job)).await?;
            return self.edit_map(&MapKind::MEMO, memo, vec![(own_key, Some(value))]).await;
        }
        let mut edits: Vec<(Bytes, Option<Value>)> = peers.iter().map(|(key, _)| (key.clone(), None)).collect();
        edits.push((own_key, None));
        let segments = peers.into_iter().map(|(_, segment)| segment).collect();
        let (id, value) = self.merge(entries, segments).await?;
        // By what is in it: no other segment, of a Job or merged, has this key.
        edits.push((Bytes::copy_from_slice(id.as_bytes()), Some(value)));
        self.edit_map(&MapKind::MEMO, memo, edits).await
    }
}

/// Entries by hash, of one hash the last.
fn sorted(entries: Vec<MemoEntry>) -> Result<Vec<MemoEntry>> {
    let mut entries = entries;
    for entry in &entries {
        entry.hash().map_err(Error::decode("a memo entry to write"))?;
    }
    entries.sort_by(|a, b| a.hash.cmp(&b.hash));
    entries.reverse();
    entries.dedup_by(|a, b| a.hash == b.hash);
    entries.reverse();
    Ok(entries)
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
            let segment = Segment::of(&value)?;
            let blocks: Vec<(Block, Vec<Hash>)> = blocks_for(&segment, &missing);
            if blocks.is_empty() {
                continue;
            }
            let places = self.segment_places(&segment).await?;
            let mut entries = futures::stream::iter(blocks)
                .map(|(block, hashes)| {
                    let places = &places;
                    async move {
                        let entries = self.read_block(&block, places).await?;
                        let find = |hash: Hash| {
                            let index = entries.binary_search_by(|entry| entry.hash.as_slice().cmp(hash.as_ref()));
                            Some((hash, entries[index.ok()?].clone()))
                        };
                        Ok::<Vec<_>, Error>(hashes.into_iter().filter_map(find).collect())
                    }
                })
                .buffer_unordered(READS_IN_FLIGHT);
            while let Some(entries) = entries.try_next().await? {
                found.extend(entries);
            }
        }
        Ok(found)
    }
}

/// Which blocks of a segment may hold which of the sorted hashes.
fn blocks_for(segment: &Segment, hashes: &[Hash]) -> Vec<(Block, Vec<Hash>)> {
    let blocks = segment.blocks();
    let mut chosen = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let start = hashes.partition_point(|hash| *hash < block.first);
        let end = blocks.get(index + 1).map_or(hashes.len(), |next| hashes.partition_point(|hash| *hash < next.first));
        if start < end {
            chosen.push((*block, hashes[start..end].to_vec()));
        }
    }
    chosen
}
