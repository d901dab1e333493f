//! Ten segments of about the same size become one, as the next is written: an entry is rewritten once for each digit of
//! the number of entries that it ends up among.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::TryStreamExt;
use varve_format::records::MemoEntry;
use varve_format::{Hash, Location, MapKind};

use crate::error::Result;
use crate::memo::segment::{Segment, SegmentWriter};
use crate::session::Session;
use crate::store::Store;
use crate::types::{NodeRef, Value};

/// So many segments of as many digits become one.
const MERGED_AT_ONCE: usize = 10;
/// A segment of so many entries is merged no more: some 25 MB, and a Job's end waits for no longer rewriting than that
/// of ten smaller ones.
const LARGEST_MERGED: u64 = 100_000;

impl Session {
    /// The segments that a new one of so many entries is to be merged with, by their keys; none if it stands alone.
    pub(crate) async fn peers(&self, memo: &NodeRef, own_key: &[u8], entries: u64) -> Result<Vec<(Bytes, Segment)>> {
        let mut small: Vec<(Bytes, Segment)> = Vec::new();
        let mut segments = self.store().map_scan(memo, &MapKind::MEMO, None);
        while let Some((key, value)) = segments.try_next().await? {
            let segment = Segment::of(&value)?;
            if key != own_key && segment.entries < LARGEST_MERGED {
                small.push((key, segment));
            }
        }
        let mut chosen: Vec<(Bytes, Segment)> = Vec::new();
        let mut total = entries;
        while total < LARGEST_MERGED {
            let (alike, others): (Vec<_>, Vec<_>) =
                small.into_iter().partition(|(_, segment)| digits(segment.entries) == digits(total));
            small = others;
            if alike.len() + 1 < MERGED_AT_ONCE {
                break;
            }
            total += alike.iter().map(|(_, segment)| segment.entries).sum::<u64>();
            chosen.extend(alike);
        }
        Ok(chosen)
    }

    /// Writes one segment of everything in these; of one hash the new entry counts.
    pub(crate) async fn merge(&self, entries: Vec<MemoEntry>, segments: Vec<Segment>) -> Result<(Hash, Value)> {
        let mut sources = vec![Source { front: entries.into(), rest: None }];
        for segment in segments {
            let places = self.store().segment_places(&segment).await?;
            sources.push(Source { front: VecDeque::new(), rest: Some(Rest { segment, places, next: 0 }) });
        }
        let mut writer = SegmentWriter::new(self);
        let mut last: Option<Vec<u8>> = None;
        loop {
            for source in &mut sources {
                source.fill(self.store()).await?;
            }
            // Of equal hashes the first source's is taken: the new entries come before all others.
            let next = sources.iter_mut().filter(|source| !source.front.is_empty());
            let Some(source) = next.min_by(|a, b| a.hash().cmp(&b.hash())) else { break };
            let Some(entry) = source.front.pop_front() else { break };
            if last.as_deref() != Some(&entry.hash) {
                last = Some(entry.hash.clone());
                writer.push(entry).await?;
            }
        }
        writer.finish(None).await
    }
}

fn digits(entries: u64) -> u32 {
    entries.max(1).ilog10()
}

/// Sorted entries still to be merged: one block of them at hand.
struct Source {
    front: VecDeque<MemoEntry>,
    rest: Option<Rest>,
}

/// The blocks of a segment that were not read yet.
struct Rest {
    segment: Segment,
    places: Vec<Location>,
    next: usize,
}

impl Source {
    fn hash(&self) -> Option<&[u8]> {
        self.front.front().map(|entry| entry.hash.as_slice())
    }

    /// Reads the next block if none is at hand.
    async fn fill(&mut self, store: &Store) -> Result<()> {
        while self.front.is_empty() {
            let Some(rest) = &mut self.rest else { return Ok(()) };
            let Some(block) = rest.segment.blocks().get(rest.next) else { return Ok(()) };
            rest.next += 1;
            self.front = store.read_block(block, &rest.places).await?.into();
        }
        Ok(())
    }
}
