//! One open pack at a time, owned by one task: frames come in over a channel, whole packs go up behind it.
//!
//! Memory is bounded by what is in flight: a data pack is handed on in parts of 8 MiB as it grows, a metadata pack is
//! one PUT. Nothing is reported durable before its pack, footer and all, is complete; the first failure ends the sink.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::MultipartUpload;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;
use varve_format::pack::{Footer, FooterChunk, Frame, Header, Trailer};
use varve_format::{Area, Form, Hash, PackLocation};

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::pack;
use crate::pack::frames::Payload;
use crate::pack::pending::{Pending, Watch};

/// A data pack is closed after the chunk that reaches this.
const DATA_PACK_BYTES: u64 = 64 << 20;
/// A metadata pack is closed after the chunk that reaches this.
const META_PACK_BYTES: u64 = 16 << 20;
/// Or, what a session wrote being kept plain until it is durable, this: text may be a twentieth as stored.
const META_PLAIN_BYTES: usize = 32 << 20;
/// All parts but the last have exactly this size, as some backends demand; S3's least is 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Bytes handed to the backend and not yet taken by it: parts × 8 MiB per sink.
const PARTS_IN_FLIGHT: usize = 4;
/// Chunks that wait for the sink's task; at most 1 MiB each but for files beyond 256 GiB.
const QUEUE: usize = 4;

/// The sending side, shared by a session's writers. A session that is dropped gives up what it has not flushed: the
/// task sees that nobody sends any more, tells the backend to forget the upload under way, and ends.
#[derive(Debug)]
pub(crate) struct Sink {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Append { chunk: Chunk, reply: oneshot::Sender<Result<PackLocation>> },
    Tail { reply: oneshot::Sender<Option<(Uuid, u64)>> },
    Flush { reply: oneshot::Sender<Result<()>> },
}

/// Consecutive frames that belong together, and what is in them: one content, or several that share a frame.
pub(crate) struct Chunk {
    pub(crate) payloads: Vec<Payload>,
    /// BLAKE3 of each content, for the footer.
    pub(crate) hashes: Vec<Hash>,
    /// Plain bytes to serve until the pack is durable: metadata only.
    pub(crate) pending: Option<Bytes>,
}

impl Sink {
    pub(crate) fn start(area: Area, objects: Objects, environment: Arc<dyn Environment>, pending: Pending) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let permits = Arc::new(Semaphore::new(PARTS_IN_FLIGHT));
        let writer =
            Writer { area, objects, environment, pending, permits, open: None, closing: JoinSet::new(), failed: None };
        tokio::spawn(writer.run(queue));
        Self { commands }
    }

    /// Gives frames their place. Waits while too much is in flight.
    pub(crate) async fn append(&self, chunk: Chunk) -> Result<PackLocation> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Append { chunk, reply }).await.map_err(|_| Error::SessionEnded)?;
        answer.await.map_err(|_| Error::SessionEnded)?
    }

    /// The open pack and the offset that its next frame will have.
    pub(crate) async fn tail(&self) -> Result<Option<(Uuid, u64)>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Tail { reply }).await.map_err(|_| Error::SessionEnded)?;
        answer.await.map_err(|_| Error::SessionEnded)
    }

    /// Closes the open pack and returns when everything appended so far is durable.
    pub(crate) async fn flush(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Flush { reply }).await.map_err(|_| Error::SessionEnded)?;
        answer.await.map_err(|_| Error::SessionEnded)?
    }
}

struct Writer {
    area: Area,
    objects: Objects,
    environment: Arc<dyn Environment>,
    pending: Pending,
    permits: Arc<Semaphore>,
    open: Option<OpenPack>,
    closing: JoinSet<Result<()>>,
    failed: Option<Error>,
}

struct OpenPack {
    id: Uuid,
    key: String,
    /// Bytes not yet handed on; they begin at `handed_on` of the object.
    buffer: BytesMut,
    handed_on: u64,
    footer: Footer,
    parts: Option<Parts>,
    /// Bytes that are kept plain until the pack is durable.
    pending_bytes: usize,
    _watch: Watch,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    running: JoinSet<Result<(), object_store::Error>>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.recv().await {
            match command {
                Command::Append { chunk, reply } => {
                    let placed = self.append(chunk).await;
                    // A writer that went away no longer needs to know.
                    let _ = reply.send(placed);
                }
                Command::Tail { reply } => {
                    let _ = reply.send(self.open.as_ref().map(|pack| (pack.id, pack.end())));
                }
                Command::Flush { reply } => {
                    let _ = reply.send(self.flush().await);
                }
            }
        }
        self.give_up();
        // Packs that were closed are complete in a moment: garbage, but whole.
        while self.closing.join_next().await.is_some() {}
    }

    /// Forgets the open pack; the backend is told while the writer already hears of its failure.
    fn give_up(&mut self) {
        if let Some(pack) = self.open.take() {
            self.abandon(pack);
        }
    }

    fn abandon(&mut self, pack: OpenPack) {
        self.closing.spawn(async move {
            abort(pack).await;
            Ok(())
        });
    }

    async fn append(&mut self, chunk: Chunk) -> Result<PackLocation> {
        while let Some(closed) = self.closing.try_join_next() {
            self.note(closed.unwrap_or(Err(Error::SessionEnded)));
        }
        self.check()?;
        let placed = self.place(chunk).await;
        if let Err(error) = &placed {
            self.failed = Some(error.clone());
            self.give_up();
        }
        placed
    }

    async fn place(&mut self, chunk: Chunk) -> Result<PackLocation> {
        let pack =
            self.open.get_or_insert_with(|| OpenPack::begin(self.area, self.environment.new_id(), &self.pending));
        let at = pack.push(self.area, &chunk);
        if let Some(plain) = chunk.pending {
            pack.pending_bytes += plain.len();
            self.pending.insert(at.pack, at.offset, plain);
        }
        let limit = match self.area {
            Area::Data => DATA_PACK_BYTES,
            Area::Meta => META_PACK_BYTES,
        };
        if pack.end() >= limit || pack.pending_bytes >= META_PLAIN_BYTES {
            self.close().await?;
        } else if self.area == Area::Data {
            hand_on(pack, &self.objects, &self.permits).await?;
        }
        Ok(at)
    }

    /// Ends the open pack; its last bytes go up in a task of their own.
    async fn close(&mut self) -> Result<()> {
        let Some(mut pack) = self.open.take() else { return Ok(()) };
        pack.finish();
        if self.area == Area::Data
            && let Err(error) = hand_on(&mut pack, &self.objects, &self.permits).await
        {
            self.abandon(pack);
            return Err(error);
        }
        let weight = pack.buffer.len().max(pack.pending_bytes).div_ceil(PART_BYTES).clamp(1, PARTS_IN_FLIGHT);
        let weight = u32::try_from(weight).expect("a handful of parts");
        let permit = self.permits.clone().acquire_many_owned(weight).await.map_err(|_| Error::SessionEnded)?;
        let objects = self.objects.clone();
        self.closing.spawn(async move {
            let uploaded = complete(pack, &objects).await;
            drop(permit);
            uploaded
        });
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.check()?;
        if let Err(error) = self.close().await {
            self.note(Err(error));
        }
        while let Some(closed) = self.closing.join_next().await {
            self.note(closed.unwrap_or(Err(Error::SessionEnded)));
        }
        self.check()
    }

    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert(error);
        }
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl OpenPack {
    fn begin(area: Area, id: Uuid, pending: &Pending) -> Self {
        let mut buffer = BytesMut::new();
        buffer.extend_from_slice(&Header::plain(id).encode());
        Self {
            id,
            key: pack::key(area, id),
            buffer,
            handed_on: 0,
            footer: Footer::default(),
            parts: None,
            pending_bytes: 0,
            _watch: pending.watch(id),
        }
    }

    /// Offset of the next byte in the object.
    fn end(&self) -> u64 {
        self.handed_on + self.buffer.len() as u64
    }

    fn push(&mut self, area: Area, chunk: &Chunk) -> PackLocation {
        let offset = self.end();
        let first_frame = u32::try_from(self.footer.frames.len()).unwrap_or(u32::MAX);
        let mut encoded = Vec::new();
        for payload in &chunk.payloads {
            encoded.clear();
            let frame = Frame { codec: payload.codec, plain_bytes: payload.plain_bytes, stored: &payload.stored };
            frame.encode_into(&mut encoded, self.id, self.end());
            self.footer.push_frame(&frame);
            self.buffer.extend_from_slice(&encoded);
        }
        let frames = u32::try_from(chunk.payloads.len()).unwrap_or(u32::MAX);
        let listed = chunk.hashes.iter().map(|hash| FooterChunk { hash: *hash, first_frame, frames });
        self.footer.chunks.extend(listed);
        PackLocation { area, pack: self.id, offset, frames, stored: self.end() - offset, skip: 0, form: Form::Plain }
    }

    fn finish(&mut self) {
        let footer = self.footer.encode();
        let trailer = Trailer::of(&footer).encode();
        self.buffer.extend_from_slice(&footer);
        self.buffer.extend_from_slice(&trailer);
    }
}

/// Hands whole parts to the backend, waiting while as many as allowed are in flight.
async fn hand_on(pack: &mut OpenPack, objects: &Objects, permits: &Arc<Semaphore>) -> Result<()> {
    while pack.buffer.len() > PART_BYTES {
        let permit = permits.clone().acquire_owned().await.map_err(|_| Error::SessionEnded)?;
        if pack.parts.is_none() {
            pack.parts = Some(Parts { upload: objects.multipart(&pack.key).await?, running: JoinSet::new() });
        }
        let Some(parts) = &mut pack.parts else { continue };
        let part = pack.buffer.split_to(PART_BYTES).freeze();
        pack.handed_on += PART_BYTES as u64;
        let sent = parts.upload.put_part(part.into());
        parts.running.spawn(async move {
            let outcome = sent.await;
            drop(permit);
            outcome
        });
        while let Some(done) = parts.running.try_join_next() {
            part_outcome(done, &pack.key)?;
        }
    }
    Ok(())
}

async fn complete(mut pack: OpenPack, objects: &Objects) -> Result<()> {
    let size = pack.end();
    let rest = std::mem::take(&mut pack.buffer).freeze();
    let Some(parts) = &mut pack.parts else { return objects.put(&pack.key, rest).await };
    let uploaded = async {
        let last = parts.upload.put_part(rest.into()).await;
        last.map_err(|error| Error::write(&format!("write {}", pack.key), error))?;
        while let Some(done) = parts.running.join_next().await {
            part_outcome(done, &pack.key)?;
        }
        let completed = parts.upload.complete().await.map(|_| ());
        objects.completed(&pack.key, size, completed).await
    }
    .await;
    if uploaded.is_err() {
        abort(pack).await;
    }
    uploaded
}

/// Tells the backend to forget what was uploaded. Parts of an upload that is never completed cost their owner money; a
/// failure here leaves them to the bucket's own rules.
async fn abort(pack: OpenPack) {
    if let Some(mut parts) = pack.parts {
        parts.running.shutdown().await;
        let _ = parts.upload.abort().await;
    }
}

fn part_outcome(done: Result<Result<(), object_store::Error>, tokio::task::JoinError>, key: &str) -> Result<()> {
    match done {
        Ok(outcome) => outcome.map_err(|error| Error::write(&format!("write {key}"), error)),
        Err(_) => Err(Error::SessionEnded),
    }
}
