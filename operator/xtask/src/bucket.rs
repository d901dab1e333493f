//! The cluster's S3 server, as those outside of Varve's own containers reach it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

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
        "metadata": { "name": name, "labels": { "varve.dev/import": "true" } },
        "stringData": settings(access),
    });
    serde_json::to_string(&secret).context("write a Secret")
}
