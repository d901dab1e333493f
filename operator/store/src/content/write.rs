//! Writing contents: small ones inline, whole ones as a frame of their own, large ones in chunks with an index. One
//! pass, and memory for a few chunks, whatever the size.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::io::{AsyncRead, AsyncReadExt};
use varve_format::{Hash, Location};

use crate::content::chunker::Chunker;
use crate::content::index::{self, IndexChunk};
use crate::content::outboard::Hashing;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::types::ContentRef;

/// Contents up to this size stand in the row that refers to them.
pub(crate) const INLINE_BYTES: usize = 256;
/// Contents up to this size are one chunk: one read brings them, and most photographs are below it.
const WHOLE_BYTES: usize = 1 << 20;
/// Bytes asked of a reader at once.
const READ_BYTES: usize = 256 << 10;
/// Chunks of one content compressed and appended at once, at most 1 MiB each below 4 GiB.
const CHUNKS_IN_FLIGHT: usize = 4;

impl Session {
    /// Writes bytes as one content.
    pub async fn write_bytes(&self, bytes: impl Into<Bytes>) -> Result<ContentRef> {
        let bytes = bytes.into();
        if bytes.len() <= WHOLE_BYTES {
            self.write_whole(bytes).await
        } else {
            self.write_content(bytes.as_ref()).await
        }
    }

    /// Writes everything that a reader gives as one content. It can be read back after the next flush.
    pub async fn write_content(&self, reader: impl AsyncRead + Send + Unpin) -> Result<ContentRef> {
        let mut source = Source { reader, buffer: BytesMut::new(), is_at_end: false };
        source.fill(WHOLE_BYTES + 1).await?;
        if source.buffer.len() <= WHOLE_BYTES {
            return self.write_whole(source.buffer.freeze()).await;
        }
        self.write_chunks(source).await
    }

    async fn write_whole(&self, bytes: Bytes) -> Result<ContentRef> {
        let (id, size) = (Hash::of_content(&bytes), bytes.len() as u64);
        let at = if bytes.len() <= INLINE_BYTES {
            Location::Inline(bytes)
        } else {
            Location::Pack(self.append_chunk(id, bytes).await?)
        };
        Ok(ContentRef { id, size, at })
    }

    async fn write_chunks(&self, mut source: Source<impl AsyncRead + Send + Unpin>) -> Result<ContentRef> {
        let mut chunker = Chunker::new();
        let mut hashing = Hashing::new();
        let mut chunks: Vec<IndexChunk> = Vec::new();
        let mut preparing = FuturesOrdered::new();
        let mut start = 0;
        loop {
            source.fill(chunker.wanted()).await?;
            if !source.buffer.is_empty() {
                let length = chunker.cut(&source.buffer);
                // A copy, so that a chunk that waits does not hold on to the whole buffer.
                let bytes = Bytes::copy_from_slice(&source.buffer.split_to(length));
                hashing.update(&bytes);
                // Hashing holds the thread for about a millisecond; others get their turn between chunks.
                tokio::task::yield_now().await;
                preparing.push_back(async move { (length, self.prepare_chunk(bytes).await) });
                if preparing.len() < CHUNKS_IN_FLIGHT {
                    continue;
                }
            }
            // Appended in order, so that neighbours in the content are neighbours in the pack, and are read together.
            let Some((length, prepared)) = preparing.next().await else { break };
            let (hash, at) = (prepared.hash(), self.append_prepared(prepared).await?);
            chunks.push(IndexChunk { start, plain: u32::try_from(length).unwrap_or(u32::MAX), hash, at });
            start += length as u64;
            index::check_size(start, chunks.len())?;
        }
        let hashed = hashing.finish();
        if let Some(known) = self.known_content(&hashed.id) {
            return Ok(known);
        }
        let at = Location::Pack(self.append_index(index::encode(hashed.size, &chunks, &hashed.outboard)?).await?);
        let content = ContentRef { id: hashed.id, size: hashed.size, at };
        self.remember_content(&content);
        Ok(content)
    }
}

/// A reader and what was read ahead from it.
struct Source<R> {
    reader: R,
    buffer: BytesMut,
    is_at_end: bool,
}

impl<R: AsyncRead + Send + Unpin> Source<R> {
    /// Reads until this many bytes are at hand, or the end.
    async fn fill(&mut self, bytes: usize) -> Result<()> {
        while self.buffer.len() < bytes && !self.is_at_end {
            self.buffer.reserve(READ_BYTES);
            let read = self.reader.read_buf(&mut self.buffer).await;
            self.is_at_end = read.map_err(|error| Error::io("read the content to write", error))? == 0;
        }
        Ok(())
    }
}
