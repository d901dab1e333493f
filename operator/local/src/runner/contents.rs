//! What Secrets and `ConfigMap`s hold, read from the API server when a pod needs it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::env::{Contents, Source};

/// The keys of each that is there.
pub(crate) async fn read(client: &Client, namespace: &str, sources: BTreeSet<Source>) -> kube::Result<Contents> {
    let mut contents = Contents::new();
    for source in sources {
        let keys: Option<BTreeMap<String, Vec<u8>>> = match &source {
            Source::Secret(name) => {
                let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
                secret.map(|secret| secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect())
            }
            Source::ConfigMap(name) => {
                let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
                map.map(|map| {
                    let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
                    text.chain(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0))).collect()
                })
            }
        };
        if let Some(keys) = keys {
            contents.insert(source, keys);
        }
    }
    Ok(contents)
}
