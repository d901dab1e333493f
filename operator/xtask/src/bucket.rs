//! The cluster's S3 server, seen from outside Varve: where the example's photographs come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use crate::cluster::Access;

/// The settings with which the server is reached, named as `object_store` names them.
pub(crate) fn settings(access: &Access) -> BTreeMap<String, String> {
    let settings = access.environment.iter().filter(|(key, _)| key.starts_with("AWS_"));
    settings.map(|(key, value)| (key.to_lowercase(), value.clone())).collect()
}

/// A Secret from which Commits may import.
pub(crate) fn import_secret(access: &Access, name: &str) -> Result<String> {
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { varve_api::labels::IMPORT: "true" } },
        "stringData": settings(access),
    });
    serde_json::to_string(&secret).context("write a Secret")
}

/// Puts objects into a bucket.
pub(crate) fn upload(access: &Access, bucket: &str, objects: BTreeMap<String, Vec<u8>>) -> Result<()> {
    let url = Url::parse(&format!("s3://{bucket}")).context("name the bucket")?;
    let (store, _) = object_store::parse_url_opts(&url, settings(access)).context("connect to the bucket")?;
    let store: Arc<dyn ObjectStore> = store.into();
    runtime()?.block_on(async {
        for (key, bytes) in objects {
            store.put(&Path::parse(&key)?, bytes.into()).await.with_context(|| format!("put object {key}"))?;
        }
        Ok(())
    })
}

/// One thread for the few places that speak to a store or a cluster themselves.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}
