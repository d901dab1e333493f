//! The program of a Commit's import pod: fetches what the Commit names from outside, and leaves it
//! in the store for the operator to commit.
//!
//! Runs in the Commit's own namespace, so that the operator never opens a connection that a user
//! named. Streams: memory is bounded by what is in flight. A result is one record of all files, so
//! an import is there whole or not at all.

mod fetch;
mod objects;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncRead;
use uuid::Uuid;
use varve_api::commit::Put;
use varve_api::{exit_codes, pod};
use varve_format::records::{ContentRef, ImportEdit, ImportResults};
use varve_format::{Hash, Kind, RepoPath};
use varve_store::{Error as StoreError, Session, Store};

use self::fetch::Fetcher;
use crate::pod::config::{ConfigError, allowed, parsed, path, read_secret};
use crate::pod::renewing::Renewing;
use crate::pod::{ENV_IMPORT_SECRETS, ENV_STORE};
use crate::termination::Termination;

/// Files fetched at once: hides the latency of many small ones.
const FETCHES_AT_ONCE: usize = 4;
/// Tries for each file in this pod; the operator starts another pod after that.
const TRIES: u32 = 3;
/// Most files of one import: its result is one record, of about 150 bytes a file.
const MAX_FILES: usize = 100_000;

/// Why an import failed, as the Commit will show it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ImportError {
    reason: &'static str,
    message: String,
    /// No further try of the same spec can succeed.
    is_final: bool,
}

impl ImportError {
    pub(crate) fn never(reason: &'static str, message: String) -> Self {
        Self { reason, message, is_final: true }
    }

    pub(crate) fn retryable(reason: &'static str, message: String) -> Self {
        Self { reason, message, is_final: false }
    }

    /// A failure of our own store, or of a store that is fetched from, while `doing` something.
    pub(crate) fn store(doing: &str, error: &StoreError) -> Self {
        let is_final = !(error.is_retryable() || error.is_about_the_store());
        Self { reason: error.reason(), message: format!("{doing}: {error}"), is_final }
    }

    fn exit_code(&self) -> i32 {
        if self.is_final { exit_codes::JOB_CANNOT_PROCEED } else { exit_codes::STOPPED }
    }
}

impl From<ConfigError> for ImportError {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Variable { .. } => Self::never("ImportInvalid", error.to_string()),
            ConfigError::Secret { .. } => Self::retryable("StoreSecretMissing", error.to_string()),
        }
    }
}

/// Where one file comes from.
#[derive(Debug, Clone)]
enum Source {
    Url(String),
    Object(objects::Object),
}

/// One file to fetch.
#[derive(Debug, Clone)]
struct Fetch {
    to: RepoPath,
    from: Source,
}

/// The program, on a tokio runtime: returns the container's exit code.
pub async fn main() -> ExitCode {
    let (code, said) = match run().await {
        Ok(files) => (0, Termination::new("Imported", format!("{files} files imported"))),
        Err(error) => (error.exit_code(), Termination::new(error.reason, error.message)),
    };
    if code == 0 {
        tracing::info!("{}", said.message);
    } else {
        tracing::error!(code, reason = said.reason, "{}", said.message);
    }
    said.write();
    crate::exit_status(code)
}

async fn run() -> Result<usize, ImportError> {
    let job_uid: Uuid = parsed(pod::ENV_JOB_UID, "the uid of the Commit")?;
    let pod_uid: Uuid = parsed(pod::ENV_POD_UID, "the uid of the pod")?;
    let secrets = path(ENV_IMPORT_SECRETS, pod::IMPORT_PATH);
    let to_store = |error: StoreError| ImportError::store("write to the store", &error);
    let folder = path(ENV_STORE, pod::STORE_PATH);
    let config = read_secret(&folder)?;
    let (objects, prefix) = Renewing::connect(folder, &config, allowed()).map_err(to_store)?;
    let store = Store::open(objects, prefix).await.map_err(to_store)?;
    let fetches = plan(&read_list(&store, job_uid).await?, &secrets).await?;
    let session = store.session();
    let client = Fetcher::new()?;
    let edits = stream::iter(&fetches).map(|fetch| import(&session, &client, fetch)).buffered(FETCHES_AT_ONCE);
    let edits: Vec<ImportEdit> = edits.try_collect().await?;
    session.flush().await.map_err(to_store)?;
    let files = edits.len();
    record(&store, job_uid, pod_uid, ImportResults { format: 1, edits }).await?;
    Ok(files)
}

async fn read_list(store: &Store, commit: Uuid) -> Result<Vec<Put>, ImportError> {
    let list: Hash = parsed(pod::ENV_IMPORT, "the hash of a list of what to fetch, 64 hexadecimal digits")?;
    let bytes = store.get_fetch_list(commit, &list).await;
    let bytes = bytes.map_err(|error| ImportError::store("read what to fetch", &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ImportError::never("ImportInvalid", format!("read what to fetch, list {list}: {error}")))
}

/// Every single file to fetch, prefixes listed.
async fn plan(puts: &[Put], secrets: &std::path::Path) -> Result<Vec<Fetch>, ImportError> {
    let mut fetches = Vec::new();
    for put in puts {
        let to = RepoPath::parse_absolute(&put.path)
            .map_err(|error| ImportError::never("InvalidPath", error.to_string()))?;
        match (&put.url, &put.object_store) {
            (Some(url), None) => fetches.push(Fetch { to, from: Source::Url(url.clone()) }),
            (None, Some(objects)) => {
                let secret: Option<PathBuf> = objects.secret_name.as_ref().map(|name| secrets.join(name));
                for (to, object) in objects::find(&objects.url, secret.as_deref(), &to, MAX_FILES).await? {
                    fetches.push(Fetch { to, from: Source::Object(object) });
                }
            }
            _ => {
                let message = format!("{}: exactly one of url and objectStore must be set", put.path);
                return Err(ImportError::never("ImportInvalid", message));
            }
        }
        if fetches.len() > MAX_FILES {
            return Err(ImportError::never(
                "TooManyFiles",
                format!("one Commit may import at most {MAX_FILES} files: split it"),
            ));
        }
    }
    Ok(fetches)
}

async fn import(session: &Session, client: &Fetcher, fetch: &Fetch) -> Result<ImportEdit, ImportError> {
    let mut tries = 1;
    loop {
        let error = match import_once(session, client, fetch).await {
            Ok(edit) => return Ok(edit),
            Err(error) => error,
        };
        if error.is_final || tries >= TRIES {
            return Err(error);
        }
        tracing::warn!(tries, %error, "fetching failed, will try again");
        tokio::time::sleep(Duration::from_secs(1 << tries)).await;
        tries += 1;
    }
}

async fn import_once(session: &Session, client: &Fetcher, fetch: &Fetch) -> Result<ImportEdit, ImportError> {
    let content = match &fetch.from {
        Source::Url(url) => write(session, url, client.open(url).await?).await?,
        Source::Object(object) => write(session, &object.shown, object.open().await?).await?,
    };
    tracing::debug!(path = %fetch.to, bytes = content.size, "fetched");
    Ok(ImportEdit {
        path: fetch.to.as_str().to_owned(),
        kind: u32::from(u8::from(Kind::File)),
        content: Some(ContentRef::from(&content)),
    })
}

async fn write(
    session: &Session,
    from: &str,
    body: impl AsyncRead + Send + Unpin,
) -> Result<varve_store::ContentRef, ImportError> {
    session.write_content(body).await.map_err(|error| match &error {
        // What is read fails in words of its own.
        StoreError::Io { source, .. } => {
            let told = source.get_ref().and_then(|inner| inner.downcast_ref::<ImportError>());
            told.cloned().unwrap_or_else(|| ImportError::store(&format!("fetch {from}"), &error))
        }
        _ => ImportError::store(&format!("fetch {from}"), &error),
    })
}

/// Records the result under the first free number: a restarted container has written before.
async fn record(store: &Store, job_uid: Uuid, pod_uid: Uuid, results: ImportResults) -> Result<(), ImportError> {
    let mut number = 0;
    loop {
        match store.put_import(job_uid, pod_uid, number, &results).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Conflict { .. }) => number += 1,
            Err(error) => return Err(ImportError::store("record the import", &error)),
        }
    }
}
