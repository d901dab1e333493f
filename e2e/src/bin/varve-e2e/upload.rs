//! Files into the cluster's S3 server, from outside Varve: where the example's photographs come from.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use url::Url;

/// Reads `KEY=FILE`.
pub(crate) fn key_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (key, file) = text.split_once('=').ok_or("must be KEY=FILE")?;
    Ok((key.to_owned(), file.into()))
}

pub(crate) async fn upload(bucket: &str, objects: &[(String, PathBuf)]) -> Result<()> {
    let url = Url::parse(&format!("s3://{bucket}")).context("name the bucket")?;
    let settings = std::env::vars().filter(|(key, _)| key.starts_with("AWS_"));
    let settings = settings.map(|(key, value)| (key.to_lowercase(), value));
    let (store, _) = object_store::parse_url_opts(&url, settings).context("connect to the bucket")?;
    let store: Arc<dyn ObjectStore> = store.into();
    for (key, file) in objects {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        store.put(&Path::parse(key)?, bytes.into()).await.with_context(|| format!("put object {key}"))?;
    }
    Ok(())
}
