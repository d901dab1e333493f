//! A bucket as buckets are: slow, throttled, broken before or after a request took effect, with lists that lack what
//! was put a moment ago.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::time::Instant;

use crate::wire::{Fate, Wire};

/// How long a list may lack what was put.
const STALE: Duration = Duration::from_secs(30);

/// What lies in the bucket, and when it came. Clones share it.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) inner: Arc<dyn ObjectStore>,
    came: Arc<Mutex<BTreeMap<Path, Instant>>>,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(InMemory::new()), came: Arc::default() }
    }

    fn comes(&self, location: &Path) {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).insert(location.clone(), Instant::now());
    }

    fn is_new(&self, location: &Path) -> bool {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner).get(location).copied();
        came.is_some_and(|came| came.elapsed() < STALE)
    }
}

/// The bucket, as one process reaches it.
#[derive(Clone)]
pub(crate) struct Bucket {
    objects: Objects,
    wire: Wire,
}

impl Bucket {
    pub(crate) fn new(objects: Objects, wire: Wire) -> Self {
        Self { objects, wire }
    }

    /// Whether a list that is made now lacks what is new.
    fn is_stale(&self) -> bool {
        !self.wire.is_calm() && self.wire.chance.once_in(self.wire.weather.stale_lists)
    }

    async fn ask<T>(&self, what: String, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.wire.fate(&what).await {
            Fate::Well => call.await,
            Fate::FailsBefore => Err(broken("the connection broke")),
            Fate::Refused => Err(broken("503 Slow Down")), // what is left of it after the client's own tries
            Fate::FailsAfter => {
                let _ = call.await;
                Err(broken("the connection broke"))
            }
            Fate::DiesAfter => {
                let _ = call.await;
                self.wire.die_here().await
            }
        }
    }
}

fn broken(how: &'static str) -> Error {
    Error::Generic { store: "simulated", source: how.into() }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated bucket")
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = async {
            let put = self.objects.inner.put_opts(location, payload, options).await?;
            self.objects.comes(location);
            Ok(put)
        };
        self.ask(format!("PUT {location}"), put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload =
            self.ask(format!("POST {location}"), self.objects.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(Upload { inner: upload, bucket: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(format!("GET {location}"), self.objects.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.ask(format!("GET {location}"), self.objects.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            let listed = bucket.objects.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let what = format!("LIST {}", prefix.clone().unwrap_or_default());
            let mut listed = bucket.ask(what, listed).await?;
            if bucket.is_stale() {
                listed.retain(|object| !bucket.objects.is_new(&object.location));
            }
            Ok::<_, Error>(stream::iter(listed).map(Ok))
        };
        stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let what = format!("LIST {}", prefix.cloned().unwrap_or_default());
        let mut listed = self.ask(what, self.objects.inner.list_with_delimiter(prefix)).await?;
        if self.is_stale() {
            listed.objects.retain(|object| !self.objects.is_new(&object.location));
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask(format!("COPY {from}"), self.objects.inner.copy_opts(from, to, options)).await
    }
}

/// An upload in parts, each of which may fail.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    bucket: Bucket,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, bucket) = (self.inner.put_part(data), self.bucket.clone());
        let what = format!("PUT part of {}", self.location);
        Box::pin(async move { bucket.ask(what, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (bucket, what) = (self.bucket.clone(), format!("POST end of {}", self.location));
        let complete = async {
            let put = self.inner.complete().await?;
            bucket.objects.comes(&self.location);
            Ok(put)
        };
        bucket.ask(what, complete).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
