//! A small HTTP server on the host that pods reach: it serves files and counts who came. What the user's code
//! does is counted here, never by Varve's own counters. Code that must wait asks for a file until it is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::env;

/// How often a body without an end has another line.
const LINE_EVERY: Duration = Duration::from_millis(100);

/// The server. It stops when dropped.
pub struct Host {
    /// `http://address:port`, without a slash at its end.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Content>>,
    calls: Mutex<Vec<Call>>,
    met: Mutex<HashSet<String>>,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    Noise(Noise),
    /// These bytes, of which so many are announced.
    Announced(u64, Bytes),
    /// A line again and again, in chunks, for as long as anybody listens.
    Endless,
}

/// Bytes that no compression makes smaller and no chunk of which comes twice, made while they are sent.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// In bytes.
    pub size: u64,
    /// Another one gives other bytes.
    pub seed: u64,
}

impl Noise {
    /// The bytes in pieces, none larger than 1 MiB.
    pub fn pieces(self) -> impl Iterator<Item = Vec<u8>> {
        let mut output = blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof();
        let mut left = self.size;
        std::iter::from_fn(move || {
            let length = left.min(1 << 20);
            left -= length;
            let mut piece = vec![0; usize::try_from(length).ok()?];
            output.fill(&mut piece);
            (length > 0).then_some(piece)
        })
    }

    /// The BLAKE3 of the bytes: their content id in the store.
    pub fn id(self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces() {
            hasher.update(&piece);
        }
        hasher.finalize()
    }
}

/// A request for `/count/…`, or the end of one for a body without an end.
#[derive(Clone, Debug)]
pub struct Call {
    /// What followed `/count/`, or `left/…`.
    pub what: String,
    /// When it came.
    pub at: Instant,
}

impl Host {
    /// A server on the address at which pods reach this machine (that of the registry).
    ///
    /// - `GET /count/x` is counted and answered at once.
    /// - `GET /files/x` gives the file x, or 404.
    /// - `GET /once/x` is answered well the first time, and with 404 from then on.
    /// - `GET /huge/x` announces more bytes than a file may have, and sends none.
    /// - `/refuse/507/Code/…` is answered with that status and, as S3 says it, that code: an endpoint of a store that
    ///   refuses everything.
    pub async fn new() -> Result<Self> {
        let registry = env("VARVE_REGISTRY")?;
        let address = registry.split(':').next().context("VARVE_REGISTRY is address:port")?;
        let listener = TcpListener::bind((address, 0)).await.with_context(|| format!("listen on {address}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                let mut open = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    open.spawn(answer(stream, shared.clone()));
                    while open.try_join_next().is_some() {}
                }
            }
        });
        Ok(Self { url, shared, task })
    }

    /// Serves this file at `/files/<name>`; gives its URL.
    pub fn serve(&self, name: &str, content: impl Into<Vec<u8>>) -> String {
        lock(&self.shared.files).insert(name.to_owned(), Content::Bytes(content.into().into()));
        self.file(name)
    }

    /// Serves this file no longer.
    pub fn withdraw(&self, name: &str) {
        lock(&self.shared.files).remove(name);
    }

    /// Serves noise at `/files/<name>`; gives its URL.
    pub fn serve_noise(&self, name: &str, noise: Noise) -> String {
        lock(&self.shared.files).insert(name.to_owned(), Content::Noise(noise));
        self.file(name)
    }

    /// Serves this file at `/files/<name>` as if it had so many bytes; gives its URL.
    pub fn serve_announced(&self, name: &str, bytes: u64, content: impl Into<Vec<u8>>) -> String {
        lock(&self.shared.files).insert(name.to_owned(), Content::Announced(bytes, content.into().into()));
        self.file(name)
    }

    /// Serves a body without a length or an end at `/files/<name>`, slowly; gives its URL. Once a listener is gone,
    /// `left/<name>` is counted.
    pub fn serve_endless(&self, name: &str) -> String {
        lock(&self.shared.files).insert(name.to_owned(), Content::Endless);
        self.file(name)
    }

    /// The URL of a file, whether it is there or not.
    pub fn file(&self, name: &str) -> String {
        format!("{}/files/{name}", self.url)
    }

    /// Everything that was counted, in its order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// How often each was counted.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls() {
            *counts.entry(call.what).or_default() += 1;
        }
        counts
    }

    /// Forgets what was counted.
    pub fn forget(&self) {
        lock(&self.shared.calls).clear();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(stream: TcpStream, shared: Arc<Shared>) {
    // A caller that goes away is its own affair.
    let _ = try_answer(stream, shared).await;
}

async fn try_answer(stream: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut header = String::from("-");
    while !header.trim().is_empty() {
        header.clear();
        if stream.read_line(&mut header).await? == 0 {
            break;
        }
    }
    let path = request.split_whitespace().nth(1).unwrap_or("/");
    let text = |text: &'static str| Content::Bytes(Bytes::from_static(text.as_bytes()));
    let (status, body) = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("count", what)) => {
            lock(&shared.calls).push(Call { what: what.to_owned(), at: Instant::now() });
            ("200 OK".to_owned(), text("ok\n"))
        }
        Some(("files", name)) => match lock(&shared.files).get(name) {
            Some(content) => ("200 OK".to_owned(), content.clone()),
            None => ("404 Not Found".to_owned(), text("no such file\n")),
        },
        Some(("once", what)) if lock(&shared.met).insert(what.to_owned()) => ("200 OK".to_owned(), text("ok\n")),
        Some(("refuse", rest)) => {
            let (status, code) = rest.split_once('/').unwrap_or((rest, ""));
            let code = code.split('/').next().unwrap_or_default();
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>refused</Message></Error>");
            (format!("{status} Refused"), Content::Bytes(body.into()))
        }
        Some(("huge", _)) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n").await?;
            return Ok(());
        }
        _ => ("404 Not Found".to_owned(), text("no such page\n")),
    };
    let measure = match &body {
        Content::Bytes(bytes) => format!("Content-Length: {}", bytes.len()),
        Content::Noise(noise) => format!("Content-Length: {}", noise.size),
        Content::Announced(length, _) => format!("Content-Length: {length}"),
        Content::Endless => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\n{measure}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    if !request.starts_with("HEAD") {
        match body {
            Content::Bytes(bytes) | Content::Announced(_, bytes) => stream.write_all(&bytes).await?,
            Content::Noise(noise) => {
                for piece in noise.pieces() {
                    stream.write_all(&piece).await?;
                }
            }
            Content::Endless => {
                while stream.write_all(b"5\r\nmore\n\r\n").await.is_ok() {
                    tokio::time::sleep(LINE_EVERY).await;
                }
                let name = path.strip_prefix("/files/").unwrap_or(path);
                lock(&shared.calls).push(Call { what: format!("left/{name}"), at: Instant::now() });
                return Ok(());
            }
        }
    }
    stream.shutdown().await?;
    Ok(())
}
