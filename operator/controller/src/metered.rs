//! An object store that counts and times what is asked of it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Decorates a store with metrics.
pub(crate) struct Metered {
    inner: Arc<dyn ObjectStore>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl std::fmt::Display for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Metered {
    /// Counts what is asked of `inner` in `metrics`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    /// Counts a stream of answers as one request, timed until its first answer (or its end): what comes
    /// after is at the pace of whoever takes it. An error counts once more, as what it is.
    fn count_stream<T>(
        &self,
        operation: &'static str,
        answers: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>>
    where
        T: Send + 'static,
    {
        let (metrics, begun, is_first) = (self.metrics.clone(), Instant::now(), Arc::new(AtomicBool::new(true)));
        let (at_end, first_at_end) = (metrics.clone(), is_first.clone());
        let end = stream::poll_fn(move |_| {
            if first_at_end.swap(false, Ordering::Relaxed) {
                at_end.store_request(operation, outcome(None), begun.elapsed());
            }
            Poll::Ready(None)
        });
        answers
            .inspect(move |answer| {
                let error = answer.as_ref().err();
                if is_first.swap(false, Ordering::Relaxed) || error.is_some() {
                    metrics.store_request(operation, outcome(error), begun.elapsed());
                }
            })
            .chain(end)
            .boxed()
    }

    async fn count<T>(&self, operation: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let begun = Instant::now();
        let done = call.await;
        self.metrics.store_request(operation, outcome(done.as_ref().err()), begun.elapsed());
        done
    }
}

fn outcome(error: Option<&object_store::Error>) -> &'static str {
    match error {
        None => "ok",
        Some(object_store::Error::NotFound { .. }) => "not-found",
        Some(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => "exists",
        Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => "refused",
        Some(_) => "error",
    }
}

#[async_trait::async_trait]
impl ObjectStore for Metered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.count("put", self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.count("put-multipart", self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.count(if options.head { "head" } else { "get" }, self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.count("get", self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.count_stream("delete", self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_stream("list", self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_stream("list", self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count("list", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count("copy", self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.count("rename", self.inner.rename_opts(from, to, options)).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    /// A store that can't be listed.
    fn closed() -> BoxStream<'static, Result<ObjectMeta>> {
        let source = "the key has run out".into();
        let error = object_store::Error::PermissionDenied { path: "x".into(), source };
        stream::iter([Err(error)]).boxed()
    }

    #[tokio::test]
    async fn a_list_is_one_request_with_its_time_and_its_outcome() {
        let metrics = Arc::new(Metrics::new());
        let store = Metered::new(Arc::new(InMemory::new()), metrics.clone());
        for name in ["a", "b", "c"] {
            store.put(&Path::from(name), PutPayload::from_static(b"x")).await.unwrap();
        }
        assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 3);
        assert!(store.list(Some(&Path::from("none"))).try_collect::<Vec<_>>().await.unwrap().is_empty());
        assert!(store.count_stream("list", closed()).try_collect::<Vec<_>>().await.is_err());
        store.delete(&Path::from("a")).await.unwrap();
        let text = metrics.text();
        for line in [
            r#"varve_store_requests_total{operation="list",outcome="ok"} 2"#,
            r#"varve_store_requests_total{operation="list",outcome="refused"} 1"#,
            r#"varve_store_requests_total{operation="delete",outcome="ok"} 1"#,
            r#"varve_store_request_seconds_count{operation="list"} 3"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let sum = text.lines().find(|line| line.starts_with(r#"varve_store_request_seconds_sum{operation="list"}"#));
        assert!(sum.is_some_and(|line| !line.ends_with(" 0")), "{sum:?}");
    }
}
