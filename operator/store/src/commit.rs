//! Commits: the record that seals what a commit is, and says where its maps lie.
//!
//! The record is the last thing in its metadata pack and the roots of the maps lie just before it, so that one ranged
//! read brings both.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use uuid::Uuid;
use varve_format::commit::{MapRoot, PackUse, Placement, RootPlacement};
use varve_format::pack::{FrameHead, HEADER_BYTES};
use varve_format::{Area, CommitIdentity, CommitRecord, Hash, Location, MapKind, RecordAt};

use crate::error::{Error, Result};
use crate::map::node::{MAX_NODE_BYTES, Node};
use crate::pack::{self, frames};
use crate::session::Session;
use crate::store::Store;
use crate::types::{ContentRef, NodeRef};

/// Bytes before a record that are read with it: the roots of three maps, compressed, with room to spare.
const TAIL_BYTES: u64 = 96 << 10;
/// The largest record: provenance with a closure of some ten thousand commits.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// A commit that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRef {
    /// Its uid.
    pub uid: Uuid,
    /// Its seal.
    pub seal: Hash,
    /// Where its record lies.
    pub record: RecordAt,
}

/// A commit, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// What it is: sealed.
    pub identity: CommitIdentity,
    /// Its uid.
    pub uid: Uuid,
    /// Its seal.
    pub seal: Hash,
    /// Where its record lies.
    pub record: RecordAt,
    /// Its maps, sorted by kind.
    pub maps: Vec<(MapKind, NodeRef)>,
    /// The full record of the Job that made it.
    pub job_record: Option<ContentRef>,
}

impl Commit {
    /// The root of its map of a kind.
    pub fn map(&self, kind: &MapKind) -> Option<&NodeRef> {
        self.maps.iter().find(|(other, _)| other == kind).map(|(_, root)| root)
    }

    /// The root of its tree; the empty tree if it has none.
    pub fn tree(&self) -> NodeRef {
        self.map(&MapKind::TREE).cloned().unwrap_or_else(|| NodeRef::empty(&MapKind::TREE))
    }
}

impl Session {
    /// Writes a commit's record. The identity's list of maps is filled in from `maps`. Nothing is durable before the
    /// next flush, and no head names the commit before somebody moves it.
    pub async fn write_commit(
        &self,
        identity: CommitIdentity,
        maps: Vec<(MapKind, NodeRef)>,
        job_record: Option<&ContentRef>,
    ) -> Result<CommitRef> {
        let mut maps = maps;
        maps.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        let loads = futures::stream::iter(&maps).then(|(kind, root)| self.store().load_root(kind, root));
        let nodes: Vec<Arc<Node>> = loads.try_collect().await?;
        self.move_roots_to_tail(&mut maps, &nodes).await?;

        let mut identity = identity;
        let roots = maps.iter().zip(&nodes);
        identity.maps = roots.map(|((kind, root), node)| map_root(kind, root, node.level)).collect();
        let wrong = Error::decode("the commit to write");
        identity.check().map_err(wrong)?;
        let uid = identity.uid().map_err(Error::decode("the commit to write"))?;

        let place = |(kind, root): &(MapKind, NodeRef)| RootPlacement { kind: kind.to_string(), at: root.at.to_vec() };
        let used = self.take_pack_use();
        let pack_use = |(pack, bytes): (Uuid, u64)| PackUse { pack: pack.into_bytes().to_vec(), bytes };
        let placement = Placement {
            roots: maps.iter().map(place).collect(),
            job_record: job_record.map(Into::into),
            packs: used.into_iter().map(pack_use).collect(),
        };
        let record = CommitRecord::new(identity.encode_to_vec(), placement);
        let seal = record.seal();
        let record = record.encode_to_vec();
        if record.len() as u64 > MAX_RECORD_BYTES {
            let (what, size) = (format!("the record of commit {uid}"), record.len() as u64);
            return Err(Error::TooLarge { what, size, max: MAX_RECORD_BYTES });
        }
        let at = self.append_meta(record.into()).await?;
        Ok(CommitRef { uid, seal, record: RecordAt { pack: at.pack, offset: at.offset, length: at.stored } })
    }

    /// Writes the roots once more where they do not lie right before the record to come: some ten KiB, which save each
    /// reader of the commit a trip.
    async fn move_roots_to_tail(&self, maps: &mut [(MapKind, NodeRef)], nodes: &[Arc<Node>]) -> Result<()> {
        let tail = self.meta_tail().await?;
        let is_near = |root: &NodeRef| match (&root.at, tail) {
            (Location::Pack(at), Some((pack, end))) => at.pack == pack && end - at.offset <= TAIL_BYTES,
            (Location::Pack(_), None) => false,
            _ => true,
        };
        if maps.iter().all(|(_, root)| is_near(root)) {
            return Ok(());
        }
        for ((kind, root), node) in maps.iter_mut().zip(nodes) {
            if matches!(root.at, Location::Pack(_)) {
                let encoded = Node::encode(kind, node.level, &node.slots);
                root.at = Location::Pack(self.append_meta(encoded).await?);
            }
        }
        Ok(())
    }

    /// Writes bytes that are no file's into metadata packs: a Job's full record, for one. Readable at once.
    pub async fn write_record(&self, bytes: impl Into<Bytes>) -> Result<ContentRef> {
        let bytes = bytes.into();
        let (id, size) = (Hash::of_content(&bytes), bytes.len() as u64);
        let at = if bytes.is_empty() {
            Location::Inline(bytes)
        } else {
            Location::Pack(self.append_meta_as(id, bytes).await?)
        };
        Ok(ContentRef { id, size, at })
    }
}

fn map_root(kind: &MapKind, root: &NodeRef, level: u8) -> MapRoot {
    let (files, bytes) = (root.files, root.bytes);
    MapRoot { kind: kind.to_string(), id: root.id.to_vec(), level: level.into(), files, bytes }
}

impl Store {
    /// The commit whose record lies here, in one read; its maps' roots come with it. Whether it is the commit that
    /// somebody meant, nobody has asked: whoever has a head reads by [`Self::read_head`], by a uid
    /// [`Self::find_commit`], which compare the seal.
    pub async fn read_commit_unchecked(&self, record: &RecordAt) -> Result<Commit> {
        let RecordAt { pack, offset, length } = *record;
        let bytes = match self.pending().find(pack, offset) {
            Some(bytes) => bytes,
            None => self.read_tail(record).await?,
        };
        let what = || format!("the commit record at {offset} of pack {pack}, {length} bytes");
        let stored = CommitRecord::from_bytes(&bytes).map_err(Error::decode(what()))?;
        let identity = CommitIdentity::from_bytes(&stored.identity).map_err(Error::decode(what()))?;
        let uid = identity.uid().map_err(Error::decode(what()))?;
        let seal = stored.seal();
        let placement = stored.placement.unwrap_or_default();
        let mut maps = Vec::with_capacity(identity.maps.len());
        for root in &identity.maps {
            let placed = placement.roots.iter().find(|placed| placed.kind == root.kind);
            let placed = placed.ok_or_else(|| Error::corrupt(what(), format!("its map {} has no place", root.kind)))?;
            let at = Location::from_slice(&placed.at).map_err(Error::decode(what()))?;
            let id = root.id().map_err(Error::decode(what()))?;
            let kind = root.kind().map_err(Error::decode(what()))?;
            maps.push((kind, NodeRef { id, files: root.files, bytes: root.bytes, at }));
        }
        let job_record = placement.job_record.as_ref().map(ContentRef::try_from).transpose()?;
        Ok(Commit { identity, uid, seal, record: *record, maps, job_record })
    }

    /// The commit of a head: its record must be of the commit and carry the seal that the head names.
    pub async fn read_head(&self, head: &varve_format::Head) -> Result<Commit> {
        let commit = self.read_commit_unchecked(&head.record).await?;
        if commit.uid != head.commit || commit.seal != head.seal {
            return Err(Error::SealMismatch { uid: head.commit });
        }
        Ok(commit)
    }

    /// The record's plain bytes. The nodes that lie just before it are put into the cache.
    async fn read_tail(&self, record: &RecordAt) -> Result<Bytes> {
        let RecordAt { pack, offset, length } = *record;
        let end = offset.saturating_add(length);
        if length > MAX_RECORD_BYTES {
            return Err(Error::TooLarge {
                what: format!("the record at {offset} of pack {pack}"),
                size: length,
                max: MAX_RECORD_BYTES,
            });
        }
        let start = offset.saturating_sub(TAIL_BYTES).max(HEADER_BYTES as u64).min(offset);
        let tail = self.objects().get_range(&pack::key(Area::Meta, pack), start..end).await?;
        let split = usize::try_from(offset - start).unwrap_or(usize::MAX);
        let stored = tail.slice(split..);
        let plain = frames::decompress(pack, offset, &stored, count_frames(&stored, pack, offset)?, MAX_RECORD_BYTES)?;
        self.cache_roots(pack, start, &tail.slice(..split), &plain).await;
        Ok(plain)
    }

    /// Best effort: what cannot be read here is read, and complained of, when it is asked for.
    async fn cache_roots(&self, pack: Uuid, start: u64, before: &Bytes, record: &[u8]) {
        let placement = CommitRecord::from_bytes(record).ok().and_then(|record| record.placement).unwrap_or_default();
        for root in placement.roots {
            let Ok(Location::Pack(at)) = Location::from_slice(&root.at) else { continue };
            let Some(from) = at.offset.checked_sub(start).filter(|_| at.pack == pack) else { continue };
            let range = usize::try_from(from).ok().zip(usize::try_from(from.saturating_add(at.stored)).ok());
            let Some((from, to)) = range.filter(|(_, to)| *to <= before.len()) else { continue };
            let plain = frames::decompress(pack, at.offset, &before.slice(from..to), at.frames, MAX_NODE_BYTES);
            if let Some(node) = plain.ok().and_then(|plain| Node::decode(&plain).ok()) {
                self.caches().nodes.insert(self.cache_key(&at), Arc::new(node)).await;
            }
        }
    }
}

fn count_frames(stored: &Bytes, pack: Uuid, offset: u64) -> Result<u32> {
    let (mut count, mut rest) = (0, stored.as_ref());
    while !rest.is_empty() {
        let what = format!("the record at {offset} of pack {pack}");
        let head = FrameHead::parse(rest).map_err(Error::decode(what.clone()))?;
        rest =
            rest.get(head.frame_bytes()..).ok_or_else(|| Error::corrupt(what, "its frames do not fit its length"))?;
        count += 1;
    }
    Ok(count)
}
