//! A session: everything that one writer adds to a store, and the promise that it is durable when `flush` returns.
//!
//! Contents go into data packs, nodes, values and records into metadata packs; both fill and go up at the same time.
//! Nodes can be read back at once, contents once they are flushed. A failed upload ends the session: every later call
//! fails with its error, and the writer begins a new one. Dropped without `flush`, it leaves at most garbage.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use uuid::Uuid;
use varve_format::{Area, Form, Hash, PackLocation};

use crate::error::Result;
use crate::pack::frames::{Payload, compress};
use crate::pack::sink::{Chunk, Sink};
use crate::store::Store;
use crate::types::ContentRef;

/// Chunks that a session remembers in order to store each once: about 20 MiB of memory, and 64 GiB of data at 256 KiB.
const REMEMBERED_CHUNKS: usize = 1 << 18;
/// Whole contents remembered likewise.
const REMEMBERED_CONTENTS: usize = 1 << 16;
/// Up to this many bytes are compressed on the caller's thread; more would hold up its other tasks.
const COMPRESS_IN_PLACE: usize = 64 << 10;

/// A chunk ready to be appended.
pub(crate) struct Prepared {
    hash: Hash,
    content: Packed,
}

enum Packed {
    /// This session wrote it already, here.
    Known(PackLocation),
    New(Vec<Payload>),
}

impl Prepared {
    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }
}

/// A writer. Cheap to clone; clones share packs and memory of what is written.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    data: Sink,
    meta: Sink,
    chunks: Mutex<HashMap<Hash, PackLocation>>,
    contents: Mutex<HashMap<Hash, ContentRef>>,
    /// Stored bytes by pack since the last commit.
    used: Mutex<BTreeMap<Uuid, u64>>,
}

impl Store {
    /// Opens a session. Must be called within a tokio runtime, on which its two uploading tasks run.
    pub fn session(&self) -> Session {
        let sink = |area| Sink::start(area, self.objects().clone(), self.environment().clone(), self.pending().clone());
        Session {
            inner: Arc::new(Inner {
                store: self.clone(),
                data: sink(Area::Data),
                meta: sink(Area::Meta),
                chunks: Mutex::default(),
                contents: Mutex::default(),
                used: Mutex::default(),
            }),
        }
    }
}

impl Session {
    /// The store that is written to.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Makes everything written so far durable. The session goes on afterwards.
    ///
    /// Features are read again beside the uploads: a store that a later version has changed meanwhile refuses.
    pub async fn flush(&self) -> Result<()> {
        let inner = &self.inner;
        futures::try_join!(inner.data.flush(), inner.meta.flush(), inner.store.check_features(true)).map(|_| ())
    }

    /// Writes a chunk of content, unless this session did already.
    pub(crate) async fn append_chunk(&self, hash: Hash, plain: Bytes) -> Result<PackLocation> {
        let chunk = self.prepare(hash, plain).await;
        self.append_prepared(chunk).await
    }

    /// Does the work that a chunk needs before it gets its place; several at once, while they are appended in order.
    pub(crate) async fn prepare_chunk(&self, plain: Bytes) -> Prepared {
        self.prepare(Hash::of_content(&plain), plain).await
    }

    async fn prepare(&self, hash: Hash, plain: Bytes) -> Prepared {
        let content = match self.known_chunk(&hash) {
            Some(known) => Packed::Known(known),
            None => Packed::New(compress_off_thread(plain).await),
        };
        Prepared { hash, content }
    }

    /// Gives a chunk its place: that of the same chunk, if this session wrote it already.
    pub(crate) async fn append_prepared(&self, chunk: Prepared) -> Result<PackLocation> {
        let Prepared { hash, content } = chunk;
        let payloads = match (content, self.known_chunk(&hash)) {
            // One of those prepared beside it may have been the same.
            (Packed::Known(known), _) | (Packed::New(_), Some(known)) => return Ok(known),
            (Packed::New(payloads), None) => payloads,
        };
        let at = self.append_to(Area::Data, Chunk { payloads, hashes: vec![hash], pending: None }).await?;
        remember(&self.inner.chunks, hash, at, REMEMBERED_CHUNKS);
        Ok(at)
    }

    pub(crate) fn known_chunk(&self, hash: &Hash) -> Option<PackLocation> {
        self.inner.chunks.lock().unwrap_or_else(PoisonError::into_inner).get(hash).copied()
    }

    pub(crate) fn known_content(&self, hash: &Hash) -> Option<ContentRef> {
        self.inner.contents.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    pub(crate) fn remember_content(&self, content: &ContentRef) {
        remember(&self.inner.contents, content.id, content.clone(), REMEMBERED_CONTENTS);
    }

    /// Writes bytes of one content into data packs.
    pub(crate) async fn append_data(&self, plain: Bytes) -> Result<PackLocation> {
        self.append_chunk(Hash::of_content(&plain), plain).await
    }

    /// Writes several small contents into one frame; returns the place of each.
    pub(crate) async fn append_shared(&self, contents: &[(Hash, Bytes)]) -> Result<Vec<PackLocation>> {
        let mut plain = Vec::new();
        let mut skips = Vec::with_capacity(contents.len());
        for (_, bytes) in contents {
            skips.push(u32::try_from(plain.len()).unwrap_or(u32::MAX));
            plain.extend_from_slice(bytes);
        }
        let payloads = compress_off_thread(plain.into()).await;
        let hashes = contents.iter().map(|(hash, _)| *hash).collect();
        let at = self.append_to(Area::Data, Chunk { payloads, hashes, pending: None }).await?;
        let places: Vec<PackLocation> = skips.into_iter().map(|skip| PackLocation { skip, ..at }).collect();
        for ((hash, _), at) in contents.iter().zip(&places) {
            remember(&self.inner.chunks, *hash, *at, REMEMBERED_CHUNKS);
        }
        Ok(places)
    }

    /// Writes the index of a content of several chunks, beside them.
    pub(crate) async fn append_index(&self, plain: Bytes) -> Result<PackLocation> {
        let hashes = vec![Hash::of_content(&plain)];
        let payloads = compress_off_thread(plain).await;
        let at = self.append_to(Area::Data, Chunk { payloads, hashes, pending: None }).await?;
        Ok(PackLocation { form: Form::Index, ..at })
    }

    /// Writes metadata: readable at once.
    pub(crate) async fn append_meta(&self, plain: Bytes) -> Result<PackLocation> {
        self.append_meta_as(Hash::of_content(&plain), plain).await
    }

    /// Writes metadata whose hash is known.
    pub(crate) async fn append_meta_as(&self, hash: Hash, plain: Bytes) -> Result<PackLocation> {
        let payloads = compress_off_thread(plain.clone()).await;
        self.append_to(Area::Meta, Chunk { payloads, hashes: vec![hash], pending: Some(plain) }).await
    }

    async fn append_to(&self, area: Area, chunk: Chunk) -> Result<PackLocation> {
        let sink = match area {
            Area::Data => &self.inner.data,
            Area::Meta => &self.inner.meta,
        };
        let at = sink.append(chunk).await?;
        *self.inner.used.lock().unwrap_or_else(PoisonError::into_inner).entry(at.pack).or_default() += at.stored;
        Ok(at)
    }

    /// How much of each pack was written since this was last asked: a commit's record says it.
    pub(crate) fn take_pack_use(&self) -> BTreeMap<Uuid, u64> {
        std::mem::take(&mut *self.inner.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The open metadata pack and where its next frame goes; none if no pack is open.
    pub(crate) async fn meta_tail(&self) -> Result<Option<(Uuid, u64)>> {
        self.inner.meta.tail().await
    }
}

fn remember<T>(memory: &Mutex<HashMap<Hash, T>>, hash: Hash, value: T, max: usize) {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if memory.len() >= max {
        // Best effort: what follows is compared with what follows.
        memory.clear();
    }
    memory.insert(hash, value);
}

async fn compress_off_thread(plain: Bytes) -> Vec<Payload> {
    if plain.len() <= COMPRESS_IN_PLACE {
        return compress(&plain);
    }
    let again = plain.clone();
    // The closure cannot panic; if the runtime is shutting down the work is done here.
    tokio::task::spawn_blocking(move || compress(&plain)).await.unwrap_or_else(|_| compress(&again))
}
