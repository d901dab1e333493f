//! Reading contents: any range, each byte verified up to the content's id before it is handed out.

use std::ops::Range;
use std::sync::Arc;

use async_stream::try_stream;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use varve_format::pack::MAX_FRAME;
use varve_format::{Form, Hash, Location, PackLocation};

use crate::content::budget::Budget;
use crate::content::index::{BlobIndex, IndexChunk, MAX_INDEX_BYTES};
use crate::content::outboard::{GROUP_BYTES, group_value};
use crate::error::{Error, Result};
use crate::pack::{self, frames};
use crate::store::Store;
use crate::types::ContentRef;

/// The largest content that may lie in a pack as one chunk.
const MAX_WHOLE_BYTES: u64 = 64 << 20;
/// Frames up to this size are kept in memory a while: small files share them.
const CACHED_FRAME_BYTES: u64 = 160 << 10;
/// Ranged reads of one content under way at once.
const FETCHES_IN_FLIGHT: usize = 4;
/// Neighbouring chunks are fetched together up to this size, of what they unpack to: stored, text may have a tenth.
const FETCH_BYTES: u64 = 4 << 20;
/// The largest chunk that is read, unpacked: with it, what one chunk may take of memory.
const MAX_CHUNK_BYTES: u64 = 16 << 20;

impl Store {
    /// Bytes of a content from one offset to another, which may lie beyond the end. Memory is bounded by a few fetches,
    /// whatever the range.
    pub fn read(&self, content: &ContentRef, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        self.read_within(content, range, Budget::new())
    }

    /// The same, sharing the memory for what was fetched and not handed out yet with other reads.
    pub(crate) fn read_within(
        &self,
        content: &ContentRef,
        range: Range<u64>,
        budget: Budget,
    ) -> BoxStream<'static, Result<Bytes>> {
        let range = range.start.min(content.size)..range.end.min(content.size);
        let (store, content) = (self.clone(), content.clone());
        if range.is_empty() {
            return futures::stream::empty().boxed();
        }
        if let Some(at) = index_of(&content.at) {
            return store.read_indexed(content, at, range, budget);
        }
        try_stream! {
            let _held = budget.take(weight_of_whole(&content.at)).await;
            let whole = store.read_whole(&content).await?;
            let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            yield whole.slice(cut(range.start)..cut(range.end));
        }
        .boxed()
    }

    /// A content whole, if it has at most `max` bytes.
    pub async fn read_all(&self, content: &ContentRef, max: u64) -> Result<Bytes> {
        if content.size > max {
            return Err(Error::TooLarge { what: format!("content {}", content.id), size: content.size, max });
        }
        if index_of(&content.at).is_none() {
            return self.read_whole(content).await;
        }
        let parts = self.read(content, 0..content.size);
        let all = parts.try_fold(BytesMut::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        });
        Ok(all.await?.freeze())
    }

    async fn read_whole(&self, content: &ContentRef) -> Result<Bytes> {
        let wrong = |why: &str| Error::corrupt(format!("content {}", content.id), why);
        let size = usize::try_from(content.size).map_err(|_| wrong("it is too large"))?;
        let bytes = match &content.at {
            Location::Inline(bytes) => bytes.clone(),
            Location::Pack(at) => {
                if content.size > MAX_WHOLE_BYTES {
                    return Err(wrong("it is larger than a single chunk may be"));
                }
                let frames = self.read_shared(at).await?;
                let skip = at.skip as usize;
                let end = skip.saturating_add(size);
                if frames.len() < end {
                    return Err(wrong("its frames hold fewer bytes than it has"));
                }
                frames.slice(skip..end)
            }
            Location::Erased => return Err(Error::Erased { id: content.id }),
            Location::Outside(_) => return Err(Error::Outside { id: content.id }),
            Location::Embedded(_) => return Err(wrong("its location is not that of a content")),
        };
        if bytes.len() != size || Hash::of_content(&bytes) != content.id {
            return Err(wrong("its bytes do not have this hash"));
        }
        Ok(bytes)
    }

    /// The plain bytes of frames that several contents may share.
    async fn read_shared(&self, at: &PackLocation) -> Result<Bytes> {
        if at.stored > CACHED_FRAME_BYTES {
            return self.read_frames(at, MAX_WHOLE_BYTES).await;
        }
        // The frames are the same wherever in them a content begins.
        let key = self.cache_key(&PackLocation { skip: 0, ..*at });
        let fetch = self.read_frames(at, MAX_WHOLE_BYTES);
        self.caches().frames.try_get_with(key, fetch).await.map_err(|error: Arc<Error>| error.as_ref().clone())
    }

    pub(crate) async fn read_index(&self, content: &ContentRef, at: &PackLocation) -> Result<Arc<BlobIndex>> {
        let fetch = async {
            let bytes = self.read_frames(at, MAX_INDEX_BYTES).await?;
            BlobIndex::decode(&bytes, &content.id, content.size).map(Arc::new)
        };
        let index = self.caches().indexes.try_get_with(self.cache_key(at), fetch).await;
        let index = index.map_err(|error: Arc<Error>| error.as_ref().clone())?;
        // Decoding checked it against the content that asked first.
        if (index.id, index.size) != (content.id, content.size) {
            return Err(Error::corrupt(
                format!("content {}", content.id),
                "the index at its place is another content's",
            ));
        }
        Ok(index)
    }

    fn read_indexed(
        self,
        content: ContentRef,
        at: PackLocation,
        range: Range<u64>,
        budget: Budget,
    ) -> BoxStream<'static, Result<Bytes>> {
        try_stream! {
            let index = self.read_index(&content, &at).await?;
            // Verification goes by whole groups.
            let first_group = range.start / GROUP_BYTES;
            let aligned = first_group * GROUP_BYTES..range.end.next_multiple_of(GROUP_BYTES).min(content.size);
            let store = self.clone();
            let wanted = runs(&index.chunks[index.touched(&aligned)]);
            let mut fetched = futures::stream::iter(wanted)
                // One after the other: a run never waits for memory that a later one of the same content holds.
                .then(move |run| {
                    let budget = budget.clone();
                    async move { (budget.take(weight_of_run(&run)).await, run) }
                })
                .map(move |(held, run)| {
                    let store = store.clone();
                    async move { Ok::<_, Error>((held, store.read_run(run).await?)) }
                })
                .buffered(FETCHES_IN_FLIGHT)
                .boxed();
            let mut group = Group::new(&content, index.clone(), first_group);
            while let Some((_held, (start, bytes))) = fetched.try_next().await? {
                let skip = usize::try_from(aligned.start.saturating_sub(start)).unwrap_or(usize::MAX);
                let mut rest = bytes.slice(skip.min(bytes.len())..);
                while !rest.is_empty() {
                    let Some((at, verified)) = group.take(&mut rest)? else { continue };
                    let end = at + verified.len() as u64;
                    let from = range.start.clamp(at, end) - at;
                    let to = range.end.clamp(at, end) - at;
                    if from < to {
                        let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                        yield verified.slice(cut(from)..cut(to));
                    }
                    if end >= aligned.end {
                        return;
                    }
                }
            }
            Err(Error::corrupt(format!("content {}", content.id), "its chunks end too early"))?;
        }
        .boxed()
    }

    /// The plain bytes of neighbouring chunks, and the offset in the content where they begin.
    async fn read_run(&self, run: Vec<IndexChunk>) -> Result<(u64, Bytes)> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok((0, Bytes::new())) };
        let range = first.at.offset..last.at.offset + last.at.stored;
        if range.end - range.start > FETCH_BYTES.max(MAX_CHUNK_BYTES * 2) {
            let what = format!("chunk at {} of pack {}", first.at.offset, first.at.pack);
            return Err(Error::TooLarge { what, size: range.end - range.start, max: MAX_CHUNK_BYTES });
        }
        let stored = self.objects().get_range(&pack::key(first.at.area, first.at.pack), range.clone()).await?;
        let mut plain = BytesMut::new();
        for chunk in &run {
            let from = usize::try_from(chunk.at.offset - range.start).unwrap_or(usize::MAX);
            let to = from + usize::try_from(chunk.at.stored).unwrap_or(usize::MAX);
            let part = stored.slice(from..to);
            let bytes = frames::decompress(chunk.at.pack, chunk.at.offset, &part, chunk.at.frames, MAX_CHUNK_BYTES)?;
            let skip = chunk.at.skip as usize;
            let Some(bytes) = bytes.get(skip..skip + chunk.plain as usize) else {
                let what = format!("chunk at {} of pack {}", chunk.at.offset, chunk.at.pack);
                return Err(Error::corrupt(what, "it has not the length that the index says"));
            };
            plain.extend_from_slice(bytes);
        }
        Ok((first.start, plain.freeze()))
    }
}

/// Where the index of a content of several chunks lies; none for any other content.
fn index_of(at: &Location) -> Option<PackLocation> {
    match at {
        Location::Pack(at) if at.form == Form::Index => Some(*at),
        _ => None,
    }
}

/// Bytes that a run of chunks takes: as stored, and unpacked.
fn weight_of_run(run: &[IndexChunk]) -> u64 {
    run.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.at.stored).saturating_add(chunk.plain.into()))
}

/// Bytes that a content of one chunk takes at most: what its frames may unpack to counts, not what it says.
fn weight_of_whole(at: &Location) -> u64 {
    match at {
        Location::Pack(at) => at.stored.saturating_add((MAX_FRAME as u64).saturating_mul(at.frames.into())),
        _ => 0,
    }
}

/// Groups chunks that follow each other in a pack, up to the size of a fetch.
fn runs(chunks: &[IndexChunk]) -> Vec<Vec<IndexChunk>> {
    let mut runs: Vec<Vec<IndexChunk>> = Vec::new();
    for chunk in chunks {
        let joins = runs.last().and_then(|run| Some((run.first()?, run.last()?))).is_some_and(|(first, last)| {
            (last.at.area, last.at.pack) == (chunk.at.area, chunk.at.pack)
                && last.at.offset + last.at.stored == chunk.at.offset
                && chunk.start + u64::from(chunk.plain) - first.start <= FETCH_BYTES
                && chunk.at.offset + chunk.at.stored - first.at.offset <= FETCH_BYTES
        });
        match runs.last_mut() {
            Some(run) if joins => run.push(*chunk),
            _ => runs.push(vec![*chunk]),
        }
    }
    runs
}

/// Gathers the bytes of one group after the other and verifies each.
struct Group {
    content: Hash,
    size: u64,
    hashes: Arc<BlobIndex>,
    index: u64,
    bytes: BytesMut,
}

impl Group {
    fn new(content: &ContentRef, hashes: Arc<BlobIndex>, first: u64) -> Self {
        Self { content: content.id, size: content.size, hashes, index: first, bytes: BytesMut::new() }
    }

    /// Takes bytes; once a group is complete, its offset and its verified bytes.
    fn take(&mut self, rest: &mut Bytes) -> Result<Option<(u64, Bytes)>> {
        let start = self.index * GROUP_BYTES;
        let wanted = usize::try_from(GROUP_BYTES.min(self.size - start)).unwrap_or(usize::MAX);
        let now = rest.split_to(rest.len().min(wanted - self.bytes.len()));
        self.bytes.extend_from_slice(&now);
        if self.bytes.len() < wanted {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.bytes).freeze();
        let is_right = if self.size <= GROUP_BYTES {
            Hash::of_content(&bytes) == self.content
        } else {
            let value = usize::try_from(self.index).ok().and_then(|index| self.hashes.groups.get(index));
            value == Some(&group_value(self.index, &bytes))
        };
        if !is_right {
            let why = format!("the bytes from {start} on do not have the hash that its id stands for");
            return Err(Error::corrupt(format!("content {}", self.content), why));
        }
        self.index += 1;
        Ok(Some((start, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use varve_format::Area;

    use super::*;

    #[test]
    fn a_run_is_bounded_by_what_it_unpacks_to() {
        let chunk = |n: u64| IndexChunk {
            start: n << 20,
            plain: 1 << 20,
            hash: Hash::ZERO,
            at: PackLocation {
                area: Area::Data,
                pack: Uuid::nil(),
                offset: 32 + n * 100,
                frames: 1,
                stored: 100,
                skip: 0,
                form: Form::Plain,
            },
        };
        let chunks: Vec<IndexChunk> = (0..40).map(chunk).collect();
        let runs = runs(&chunks);
        assert!(runs.iter().all(|run| weight_of_run(run) <= FETCH_BYTES + 400));
        assert_eq!(runs.concat(), chunks);
        assert_eq!(runs.len(), 10, "and not smaller than it may be");
    }
}
