//! Ground for this crate's tests: stores on each backend, and a backend that counts what is asked of it.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use varve_store::backend::{self, Allowed};
use varve_store::{CountingEnvironment, Options, Store};

/// Begin of the clock in tests.
pub const START_MS: u64 = 1_700_000_000_000;

/// A backend and the prefix of a store on it, which nobody else uses.
#[derive(Debug, Clone)]
pub struct Place {
    pub backend: Arc<dyn ObjectStore>,
    pub prefix: Path,
}

impl Place {
    /// In memory.
    pub fn memory() -> Self {
        Self { backend: Arc::new(InMemory::new()), prefix: Path::from("some/prefix") }
    }

    /// In a folder; it lives as long as the guard.
    pub fn folder() -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = backend::local(folder.path()).expect("a folder can be a store");
        (Self { backend, prefix: Path::default() }, folder)
    }

    /// Where `VARVE_TEST_STORE_URL` says, each call below a prefix of its own; none where it says nothing.
    pub fn from_environment() -> Option<Self> {
        let url = std::env::var("VARVE_TEST_STORE_URL").ok()?;
        let option = |(key, value): (String, String)| {
            let key = key.strip_prefix("VARVE_TEST_STORE_")?.to_ascii_lowercase();
            (key != "url").then_some((key, value))
        };
        let mut config: BTreeMap<String, String> = std::env::vars().filter_map(option).collect();
        config.insert(backend::URL.to_owned(), format!("{}/{}", url.trim_end_matches('/'), uuid::Uuid::now_v7()));
        let (backend, prefix) = backend::connect(&config, Allowed { local_stores: true, ..Allowed::default() })
            .expect("VARVE_TEST_STORE_URL works");
        Some(Self { backend, prefix })
    }

    /// The store here, opened by somebody new: nothing cached.
    pub async fn open(&self) -> Store {
        Store::open(self.backend.clone(), self.prefix.clone()).await.expect("the store opens")
    }

    /// The same with a clock and ids that repeat.
    pub async fn open_counting(&self) -> Store {
        let environment = Arc::new(CountingEnvironment::new(START_MS));
        let options = Options { environment, ..Options::default() };
        Store::open_with(self.backend.clone(), self.prefix.clone(), options).await.expect("the store opens")
    }
}

/// Requests that a backend got.
#[derive(Debug, Default)]
pub struct Counts {
    gets: AtomicU64,
    puts: AtomicU64,
    lists: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    pub gets: u64,
    pub puts: u64,
    pub lists: u64,
}

impl Counts {
    /// What was counted since the last time.
    pub fn take(&self) -> Requests {
        Requests {
            gets: self.gets.swap(0, Ordering::SeqCst),
            puts: self.puts.swap(0, Ordering::SeqCst),
            lists: self.lists.swap(0, Ordering::SeqCst),
        }
    }
}

/// A backend that counts.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn ObjectStore>,
    pub counts: Arc<Counts>,
}

impl Counting {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, counts: Arc::default() }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.counts.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.counts.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.counts.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.counts.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counts.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A backend that lacks what some S3-like servers lack, or fails as a dying one does.
#[derive(Debug)]
pub struct Weak {
    inner: Arc<dyn ObjectStore>,
    /// Whether it refuses conditional writes.
    pub refuses_conditions: bool,
    /// Writes that succeed before all later ones fail.
    pub writes_left: AtomicU64,
}

impl Weak {
    pub fn without_conditions(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, refuses_conditions: true, writes_left: AtomicU64::new(u64::MAX) }
    }

    pub fn failing_after(inner: Arc<dyn ObjectStore>, writes: u64) -> Self {
        Self { inner, refuses_conditions: false, writes_left: AtomicU64::new(writes) }
    }

    fn write(&self) -> Result<()> {
        let take = |left: u64| left.checked_sub(1);
        let taken = self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let failed = |_| object_store::Error::Generic { store: "weak", source: "the disk is gone".into() };
        taken.map(|_| ()).map_err(failed)
    }
}

impl fmt::Display for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weak({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Weak {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write()?;
        if self.refuses_conditions && options.mode != PutMode::Overwrite {
            let (operation, implementer) = ("conditional put".to_owned(), "weak".to_owned());
            return Err(object_store::Error::NotImplemented { operation, implementer });
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write()?;
        self.inner.put_multipart_opts(location, options).await
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

/// Bytes that no codec makes shorter, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out.into()
}
