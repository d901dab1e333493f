//! Objects under the store's prefix: the few ways in which the rest of the crate touches the backend, with its errors
//! sorted by cause. Counts and bytes are the caller's business; retries are the backend's, bounded there.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
};

use crate::error::{Error, Result, is_beyond_the_end};

/// Larger objects go up in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// Parts of one object under way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// The largest object that is read whole; a shard's results, or an import's, have some hundred bytes a file.
const MAX_OBJECT_BYTES: u64 = 256 << 20;
/// How long to wait before a create-only write is tried again that was refused although nothing stands there: its rival
/// was not done yet.
const CREATE_RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// The backend and the prefix that all keys stand under.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// What a create-only write found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Created {
    /// The object is there, with our bytes: written now, or by an earlier try of ours.
    Ours,
    /// The object stands with these other bytes.
    Stands(Bytes),
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    /// The backend's path of a key. `Path::parse`, since `Path::from` would encode a `%` twice.
    fn path(&self, key: &str) -> Result<Path> {
        let full = if self.prefix.as_ref().is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Path::parse(&full).map_err(|source| Error::Config { what: format!("the key {full} is not a path: {source}") })
    }

    /// A whole small object; none if it is not there.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        let found = async {
            let found = self.store.get(&path).await?;
            let size = found.meta.size;
            if size > MAX_OBJECT_BYTES { Ok(Err(size)) } else { found.bytes().await.map(Ok) }
        };
        match found.await {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(size)) => Err(Error::TooLarge { what: format!("object {key}"), size, max: MAX_OBJECT_BYTES }),
            Err(error) => match Error::backend(&format!("read {key}"), error) {
                Error::ObjectMissing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// A whole small object that must be there.
    pub(crate) async fn get(&self, key: &str) -> Result<Bytes> {
        self.find(key).await?.ok_or_else(|| Error::ObjectMissing { key: key.to_owned() })
    }

    /// Exactly these bytes of an object, at least one. Where it ends before, whoever named them is wrong, not the store.
    pub(crate) async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(key)?;
        if range.is_empty() {
            return Err(Error::corrupt(format!("object {key}"), format!("no byte of it is named, at {}", range.start)));
        }
        let options = GetOptions::new().with_range(Some(range.clone()));
        let read = async { self.store.get_opts(&path, options).await?.bytes().await }.await;
        let bytes = read.map_err(|error| match Error::backend(&format!("read {key}"), error) {
            Error::ObjectMissing { .. } => Error::ObjectMissing { key: key.to_owned() },
            Error::Backend { source, .. } if is_beyond_the_end(&source) => {
                Error::corrupt(format!("object {key}"), format!("it ends before byte {}", range.start))
            }
            error => error,
        })?;
        if bytes.len() as u64 != range.end - range.start {
            let why = format!(
                "{} bytes at {}..{}, asked for {}",
                bytes.len(),
                range.start,
                range.end,
                range.end - range.start
            );
            return Err(Error::corrupt(format!("object {key}"), why));
        }
        Ok(bytes)
    }

    /// The object's size, and its first bytes: at most `max` of them.
    pub(crate) async fn get_start(&self, key: &str, max: u64) -> Result<(u64, Bytes)> {
        let path = self.path(key)?;
        let options = GetOptions::new().with_range(Some(0..max));
        let read = async {
            let result = self.store.get_opts(&path, options).await?;
            let size = result.meta.size;
            Ok((size, result.bytes().await?))
        }
        .await;
        read.map_err(|error| match Error::backend(&format!("read {key}"), error) {
            Error::ObjectMissing { .. } => Error::ObjectMissing { key: key.to_owned() },
            error => error,
        })
    }

    /// Writes an object whose key nobody else writes.
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<PutPayload>) -> Result<()> {
        let path = self.path(key)?;
        self.store.put(&path, bytes.into()).await.map_err(|error| Error::write(&format!("write {key}"), error))?;
        Ok(())
    }

    /// The size of an object; none if it is not there.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&self.path(key)?).await {
            Ok(object) => Ok(Some(object.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::backend(&format!("look at {key}"), error)),
        }
    }

    /// What the end of an upload in parts came to. Where the answer to it is lost it is asked for again, and many a
    /// server then no longer knows the upload that it has completed: so a failure counts only if the object is not there
    /// whole. Its key is nobody else's.
    pub(crate) async fn completed(&self, key: &str, size: u64, outcome: object_store::Result<()>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        match self.size(key).await {
            Ok(Some(found)) if found == size => Ok(()),
            _ => Err(Error::write(&format!("complete {key}"), error)),
        }
    }

    /// Writes an object of any size, in parts if it is large, whose key nobody else writes.
    pub(crate) async fn put_large(&self, key: &str, bytes: Bytes) -> Result<()> {
        if bytes.len() <= PART_BYTES {
            return self.put(key, bytes).await;
        }
        let failed = |error| Error::write(&format!("write {key}"), error);
        let size = bytes.len() as u64;
        let mut writer = WriteMultipart::new_with_chunk_size(self.multipart(key).await?, PART_BYTES);
        let mut rest = bytes;
        while !rest.is_empty() {
            writer.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(failed)?;
            writer.put(rest.split_to(rest.len().min(PART_BYTES)));
        }
        let finished = writer.finish().await.map(|_| ());
        self.completed(key, size, finished).await
    }

    /// Writes an object only if it is not there. Where the backend has no conditional write, it looks first: the
    /// callers are right without the condition, only less sure to hear of a race.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created> {
        let path = self.path(key)?;
        let mut waits = CREATE_RETRIES.iter();
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let Err(refused) = self.store.put_opts(&path, bytes.clone().into(), options).await else {
                return Ok(Created::Ours);
            };
            let is_taken =
                matches!(refused, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. });
            if !is_taken && !lacks_conditions(&refused) {
                return Err(Error::write(&format!("write {key}"), refused));
            }
            match self.find(key).await? {
                Some(stands) if stands == bytes => return Ok(Created::Ours),
                Some(stands) => return Ok(Created::Stands(stands)),
                None if !is_taken => return self.put(key, bytes).await.map(|()| Created::Ours),
                // A rival that the server is still busy with, and that may yet fail.
                None => match waits.next() {
                    Some(wait) => tokio::time::sleep(*wait).await,
                    None => return Err(Error::write(&format!("write {key}"), refused)),
                },
            }
        }
    }

    /// Begins an upload in parts.
    pub(crate) async fn multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>> {
        let path = self.path(key)?;
        self.store.put_multipart(&path).await.map_err(|error| Error::write(&format!("begin {key}"), error))
    }

    /// Keys below a folder, without the prefix, in no promised order; with `after`, only keys greater than it.
    pub(crate) fn list(&self, folder: &str, after: Option<&str>) -> Result<BoxStream<'static, Result<String>>> {
        let path = self.path(folder)?;
        let listed = match after {
            None => self.store.list(Some(&path)),
            Some(after) => self.store.list_with_offset(Some(&path), &self.path(after)?),
        };
        let skip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let doing = format!("list {folder}");
        let keys = listed
            .map_ok(move |object| object.location.as_ref()[skip..].to_owned())
            .map_err(move |error| Error::backend(&doing, error));
        // Not every server knows from where on it is asked to list: Azure's emulator lists from the start.
        let after = after.map(str::to_owned);
        Ok(keys.try_filter(move |key| std::future::ready(Some(key) > after.as_ref())).boxed())
    }

    /// Removes an object; it need not be there.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::backend(&format!("delete {key}"), error)),
        }
    }

    /// The objects of a dense series, read until one is not there. No LIST: a few keys, and the answer is exact.
    pub(crate) async fn series(&self, key: impl Fn(u64) -> String) -> Result<Vec<Bytes>> {
        let mut found = Vec::new();
        while let Some(bytes) = self.find(&key(found.len() as u64)).await? {
            found.push(bytes);
        }
        Ok(found)
    }
}

/// The answers of backends that have no conditional write.
fn lacks_conditions(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
        || error.to_string().contains("NotImplemented")
}
