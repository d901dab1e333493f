//! Uploads whose end goes wrong: answers that are lost, sessions that are dropped, rivals that are not done yet.

mod support;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use support::{Counting, Place, noise};
use uuid::Uuid;
use varve_format::records::ShardResults;
use varve_store::{ResultKey, Session};

/// How the end of an upload in parts goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Fine,
    /// It is applied, and the answer is that there is no such upload.
    AnswerLost,
    /// It is not applied, and the answer is the same.
    UploadLost,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    end: End,
    aborts: Arc<AtomicU64>,
    /// Create-only writes that are refused although nothing stands there.
    refusals: AtomicU64,
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    end: End,
    aborts: Arc<AtomicU64>,
}

fn no_such_upload() -> Error {
    Error::NotFound { path: "the upload".to_owned(), source: "NoSuchUpload".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.end {
            End::Fine => self.inner.complete().await,
            End::AnswerLost => self.inner.complete().await.and(Err(no_such_upload())),
            End::UploadLost => Err(no_such_upload()),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.aborts.fetch_add(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_results = location.as_ref().contains("/jobs/");
        let take = |left: u64| left.checked_sub(1);
        if options.mode == PutMode::Create
            && is_results
            && self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
        {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "409 Conflict".into() });
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { inner, end: self.end, aborts: self.aborts.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A store whose uploads end so, and how many of them were aborted.
fn place(end: End, refusals: u64) -> (Place, Arc<AtomicU64>) {
    let (place, aborts) = (Place::memory(), Arc::new(AtomicU64::new(0)));
    let refusals = AtomicU64::new(refusals);
    let backend = Faulty { inner: place.backend.clone(), end, aborts: aborts.clone(), refusals };
    (Place { backend: Arc::new(backend), ..place }, aborts)
}

/// Enough for an upload in parts.
async fn write_some(session: &Session) -> varve_store::ContentRef {
    session.write_content(noise(1, 20 << 20).as_ref()).await.expect("nothing has gone wrong yet")
}

#[tokio::test]
async fn an_upload_that_is_there_whole_counts_however_its_end_was_answered() {
    let (place, aborts) = place(End::AnswerLost, 0);
    let session = place.open().await.session();
    let content = write_some(&session).await;
    session.flush().await.expect("the pack is there");
    let read = place.open().await.read_all(&content, u64::MAX).await.expect("and can be read");
    assert_eq!(read, noise(1, 20 << 20));
    assert_eq!(aborts.load(Ordering::SeqCst), 0);
    let plan = noise(2, 20 << 20);
    place.open().await.put_plan(Uuid::nil(), plan).await.expect("a plan is there too");
}

#[tokio::test]
async fn an_upload_that_the_server_lost_is_tried_again_by_the_next_session() {
    let (place, aborts) = place(End::UploadLost, 0);
    let session = place.open().await.session();
    write_some(&session).await;
    let failed = session.flush().await.expect_err("the pack is not there");
    assert_eq!((failed.reason(), failed.is_retryable()), ("StoreError", true), "{failed}");
    assert_eq!(aborts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_that_is_dropped_leaves_no_upload_open() {
    let (place, aborts) = place(End::Fine, 0);
    let session = place.open().await.session();
    write_some(&session).await;
    drop(session);
    let aborted = async {
        while aborts.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), aborted).await.expect("the upload is aborted");
}

#[tokio::test]
async fn a_create_refused_for_a_rival_that_is_not_done_is_tried_again() {
    let key = ResultKey { shard: 0, pod: Uuid::from_u128(3), n: 0 };
    let (held_up, _) = place(End::Fine, 2);
    let results = ShardResults::default();
    held_up.open().await.put_results(Uuid::nil(), key, &results).await.expect("the rival gave up");
    let (stuck, _) = place(End::Fine, u64::MAX);
    let failed = stuck.open().await.put_results(Uuid::nil(), key, &results).await.expect_err("it never does");
    assert_eq!((failed.reason(), failed.is_retryable()), ("StoreError", true), "{failed}");
}

#[tokio::test]
async fn metadata_goes_up_by_what_it_takes_in_memory_not_only_as_stored() {
    let place = Place::memory();
    let counting = Counting::new(place.backend.clone());
    let counts = counting.counts.clone();
    let session = Place { backend: Arc::new(counting), ..place }.open().await.session();
    counts.take();
    for n in 0..80_u8 {
        session.write_record(vec![n; 1 << 20]).await.expect("a record");
    }
    session.flush().await.expect("a flush");
    assert_eq!(counts.take().puts, 3, "80 MiB as packs of 32, of a few KiB each");
}
