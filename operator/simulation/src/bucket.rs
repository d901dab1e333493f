//! A bucket as buckets are: slow, throttled, broken before or after a request took effect, with lists that lack what
//! was put a moment ago.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::network::{Fate, Wire};

/// The bucket, as one process reaches it.
#[derive(Clone)]
pub(crate) struct Bucket {
    inner: Arc<dyn ObjectStore>,
    wire: Wire,
}

impl Bucket {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, wire: Wire) -> Self {
        Self { inner, wire }
    }

    async fn ask<T>(&self, what: String, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.wire.fate(&what).await {
            Fate::Well => call.await,
            Fate::FailsBefore => Err(broken()),
            Fate::FailsAfter => {
                let _ = call.await;
                Err(broken())
            }
            Fate::DiesAfter => {
                let _ = call.await;
                self.wire.die_here().await
            }
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "simulated", source: "the connection broke".into() }
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
        self.ask(format!("PUT {location}"), self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.ask(format!("POST {location}"), self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(Upload { inner: upload, bucket: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(format!("GET {location}"), self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.ask(format!("GET {location}"), self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            let listed = bucket.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let what = format!("LIST {}", prefix.clone().unwrap_or_default());
            Ok::<_, Error>(stream::iter(bucket.ask(what, listed).await?).map(Ok))
        };
        stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let what = format!("LIST {}", prefix.cloned().unwrap_or_default());
        self.ask(what, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask(format!("COPY {from}"), self.inner.copy_opts(from, to, options)).await
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
        bucket.ask(what, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
