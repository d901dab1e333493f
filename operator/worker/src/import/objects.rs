//! Objects of somebody's bucket: one, or all below a prefix.

use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use varve_format::{RepoPath, escape};
use varve_store::backend;
use varve_store::backend::guard::find_refusal;

use super::ImportError;
use crate::pod::config::{allowed, read_secret};

/// One object to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    store: Arc<dyn ObjectStore>,
    key: Path,
    /// Its address, for messages.
    pub shown: String,
}

impl Object {
    /// A stream of its bytes; the client checks the announced length.
    pub(crate) async fn open(&self) -> Result<impl AsyncRead + Send + Unpin + use<>, ImportError> {
        let found = self.store.get(&self.key).await.map_err(|error| self.failure(&error))?;
        let object = self.clone();
        let body = found.into_stream().map_err(move |error| io::Error::other(object.failure(&error)));
        Ok(StreamReader::new(body))
    }

    fn failure(&self, error: &object_store::Error) -> ImportError {
        let message = format!("fetch {}: {error}", self.shown);
        match error {
            error if find_refusal(error).is_some() => ImportError::never("UrlRefused", message),
            object_store::Error::NotFound { .. } => ImportError::never(
                "ObjectNotFound",
                format!("fetch {}: no such object (a key that begins or ends with `/` can't be imported)", self.shown),
            ),
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                ImportError::never("ObjectRefused", message)
            }
            _ => ImportError::retryable("ObjectUnavailable", message),
        }
    }
}

/// Finds what `url` names: itself, or with a trailing `/` every object below it. Returns each with
/// the path it goes to, in the order of keys; a key that is no legal path fails and is named.
pub(crate) async fn find(
    url: &str,
    secret: Option<&FilePath>,
    to: &RepoPath,
    max_files: usize,
) -> Result<Vec<(RepoPath, Object)>, ImportError> {
    let (store, prefix) = connect(url, secret)?;
    let object = |key: Path, shown: String| Object { store: store.clone(), key, shown };
    if !url.ends_with('/') {
        return Ok(vec![(to.clone(), object(prefix, url.to_owned()))]);
    }
    let listing = |error: object_store::Error| match &error {
        error if find_refusal(error).is_some() => ImportError::never("UrlRefused", format!("list {url}: {error}")),
        object_store::Error::InvalidPath { .. } => {
            ImportError::never("InvalidPath", format!("list {url}: a key is no legal path: {error}"))
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ImportError::never("ObjectRefused", format!("list {url}: {error}"))
        }
        object_store::Error::NotFound { .. } => ImportError::never("ObjectNotFound", format!("list {url}: {error}")),
        _ => ImportError::retryable("ObjectUnavailable", format!("list {url}: {error}")),
    };
    let mut found = Vec::new();
    let mut listed = store.list(Some(&prefix));
    while let Some(meta) = listed.try_next().await.map_err(listing)? {
        let key = meta.location.as_ref();
        let below = key.strip_prefix(prefix.as_ref()).map_or(key, |rest| rest.trim_start_matches('/'));
        let path = RepoPath::parse(below).ok().filter(|path| !path.is_root()).and_then(|path| to.join_path(&path).ok());
        let path = path.ok_or_else(|| {
            ImportError::never(
                "InvalidPath",
                format!("list {url}: the key {key:?} is no legal path: remove or rename it"),
            )
        })?;
        found.push((path, object(meta.location.clone(), format!("{url}{}", escape(below.as_bytes())))));
        if found.len() > max_files {
            return Err(ImportError::never(
                "TooManyFiles",
                format!("{url} holds more than {max_files} objects: import parts of it"),
            ));
        }
    }
    if found.is_empty() {
        return Err(ImportError::never("ObjectNotFound", format!("list {url}: no object has this prefix")));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn connect(url: &str, secret: Option<&FilePath>) -> Result<(Arc<dyn ObjectStore>, Path), ImportError> {
    let mut config = match secret {
        None => BTreeMap::new(),
        Some(folder) => {
            read_secret(folder).map_err(|error| ImportError::retryable("ImportSecretMissing", error.to_string()))?
        }
    };
    config.insert(backend::URL.into(), url.to_owned());
    backend::connect_to_fetch(&config, allowed())
        .map_err(|error| ImportError::never("ImportInvalid", format!("fetch {url}: {error}")))
}
