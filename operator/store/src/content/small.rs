//! Small contents that share frames of about 128 KiB: who reads one has read its neighbours, and text compresses better
//! together.

use std::collections::HashMap;

use bytes::Bytes;
use varve_format::{Hash, Location};

use crate::content::write::INLINE_BYTES;
use crate::error::Result;
use crate::session::Session;
use crate::types::ContentRef;

/// Contents up to this size share frames.
pub const SHARED_CONTENT_BYTES: u64 = 32 << 10;
/// A shared frame is written once it has this much.
const SHARED_FRAME_BYTES: usize = 128 << 10;

/// Contents that wait for the frame that they will share, each with what its writer knows it by. Files of one folder
/// belong together: they are read together.
#[derive(Debug)]
pub struct SmallContents<T> {
    session: Session,
    waiting: Vec<(T, Hash, Bytes)>,
    bytes: usize,
}

impl Session {
    /// Begins to gather small contents.
    pub fn small_contents<T>(&self) -> SmallContents<T> {
        SmallContents { session: self.clone(), waiting: Vec::new(), bytes: 0 }
    }
}

impl<T> SmallContents<T> {
    /// Takes a content; returns those that have their place now, in the order in which they came. One that shares no
    /// frame, for its size or because it was written before, overtakes those that wait.
    pub async fn add(&mut self, what: T, bytes: Bytes) -> Result<Vec<(T, ContentRef)>> {
        let id = Hash::of_content(&bytes);
        let is_alone = bytes.len() <= INLINE_BYTES || bytes.len() as u64 > SHARED_CONTENT_BYTES;
        if is_alone || self.session.known_chunk(&id).is_some() {
            return Ok(vec![(what, self.session.write_bytes(bytes).await?)]);
        }
        self.bytes += bytes.len();
        self.waiting.push((what, id, bytes));
        if self.bytes >= SHARED_FRAME_BYTES { self.place().await } else { Ok(Vec::new()) }
    }

    /// Writes the last frame; returns those in it.
    pub async fn finish(mut self) -> Result<Vec<(T, ContentRef)>> {
        self.place().await
    }

    async fn place(&mut self) -> Result<Vec<(T, ContentRef)>> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let mut index_of = HashMap::new();
        let mut contents: Vec<(Hash, Bytes)> = Vec::new();
        for (_, id, bytes) in &waiting {
            index_of.entry(*id).or_insert_with(|| {
                contents.push((*id, bytes.clone()));
                contents.len() - 1
            });
        }
        let places = if contents.is_empty() { Vec::new() } else { self.session.append_shared(&contents).await? };
        let content = |id: Hash, bytes: &Bytes| ContentRef {
            id,
            size: bytes.len() as u64,
            at: Location::Pack(places[index_of[&id]]),
        };
        Ok(waiting.into_iter().map(|(what, id, bytes)| (what, content(id, &bytes))).collect())
    }
}
