//! A store whose Secret may change while it is used: the credentials of a session end, and whoever renews them writes
//! the new ones into the Secret, where kubelet shows them to us as files.
//!
//! Before a request, at most every [`LOOK_AGAIN`], the files are read again; where they differ, requests go out with
//! what they say from then on. The address stays: another one would be another store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use varve_store::backend::{self, Allowed};

use super::config::read_secret;

/// How long what was read stands. The shortest sessions that clouds give out last fifteen minutes, and kubelet takes a
/// minute or two to show a changed Secret.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Renewing {
    folder: PathBuf,
    allowed: Allowed,
    look_again: Duration,
    current: Mutex<Current>,
}

struct Current {
    config: BTreeMap<String, String>,
    store: Arc<dyn ObjectStore>,
    looked: Instant,
}

impl Renewing {
    /// Connects to the store that `config` describes, which was read from `folder`. Touches no network.
    pub(crate) fn connect(
        folder: PathBuf,
        config: &BTreeMap<String, String>,
        allowed: Allowed,
    ) -> Result<(Arc<dyn ObjectStore>, Path), varve_store::Error> {
        let (renewing, prefix) = Self::looking_every(LOOK_AGAIN, folder, config, allowed)?;
        Ok((Arc::new(renewing), prefix))
    }

    fn looking_every(
        look_again: Duration,
        folder: PathBuf,
        config: &BTreeMap<String, String>,
        allowed: Allowed,
    ) -> Result<(Self, Path), varve_store::Error> {
        let (store, prefix) = backend::connect(config, allowed)?;
        let current = Current { config: config.clone(), store, looked: Instant::now() };
        Ok((Self { folder, allowed, look_again, current: Mutex::new(current) }, prefix))
    }

    /// The store with the credentials of now.
    fn now(&self) -> Arc<dyn ObjectStore> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= self.look_again {
            current.looked = Instant::now();
            if let Some((config, store)) = self.renewed(&current.config) {
                tracing::info!("the store's Secret has changed: what it says is used from now on");
                (current.config, current.store) = (config, store);
            }
        }
        current.store.clone()
    }

    /// What the Secret says if that is something else than `known`, and can be used.
    fn renewed(&self, known: &BTreeMap<String, String>) -> Option<(BTreeMap<String, String>, Arc<dyn ObjectStore>)> {
        let config = read_secret(&self.folder);
        let config =
            config.inspect_err(|error| tracing::warn!(%error, "can't look at the store's Secret again")).ok()?;
        if config == *known {
            return None;
        }
        if config.get(backend::URL) != known.get(backend::URL) {
            tracing::warn!("the store's Secret names another address: this pod stays with the one that it began with");
            return None;
        }
        let connected = backend::connect(&config, self.allowed);
        let (store, _) = connected.inspect_err(|error| tracing::warn!(%error, "can't use the store's Secret")).ok()?;
        Some((config, store))
    }
}

impl fmt::Debug for Renewing {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl fmt::Display for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.now())
    }
}

#[async_trait]
impl ObjectStore for Renewing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.now().put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.now().put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.now().get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.now().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.now().list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.now().list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.now().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.now().copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    use object_store::ObjectStoreExt;

    use super::*;

    /// Knows no object, and hands on each request's session token.
    fn server() -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (tokens, seen) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.extend(byte);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let token = head.lines().find_map(|line| line.strip_prefix("x-amz-security-token: "));
                let _ = tokens.send(token.unwrap_or_default().to_owned());
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            }
        });
        (address, seen)
    }

    #[tokio::test]
    async fn a_renewed_token_is_used_and_another_address_is_not() {
        let (address, tokens) = server();
        let (another, never) = server();
        let folder = tempfile::tempdir().unwrap();
        let write = |key: &str, value: &str| fs::write(folder.path().join(key), value).unwrap();
        for (key, value) in [
            ("url", "s3://bucket/p"),
            ("aws_endpoint", address.as_str()),
            ("allow_http", "true"),
            ("aws_access_key_id", "id"),
            ("aws_secret_access_key", "key"),
            ("aws_session_token", "first"),
        ] {
            write(key, value);
        }
        let config = read_secret(folder.path()).unwrap();
        let at = folder.path().to_owned();
        let (store, _) = Renewing::looking_every(Duration::ZERO, at, &config, Allowed::default()).unwrap();
        let ask = async || store.get(&Path::from("p/v1/store.json")).await.unwrap_err();

        ask().await;
        assert_eq!(tokens.try_recv().unwrap(), "first");
        write("aws_session_token", "second");
        ask().await;
        assert_eq!(tokens.try_recv().unwrap(), "second");
        write("url", "s3://elsewhere/p");
        write("aws_endpoint", &another);
        write("aws_session_token", "third");
        ask().await;
        assert_eq!(tokens.try_recv().unwrap(), "second");
        assert!(never.try_recv().is_err());
    }
}
