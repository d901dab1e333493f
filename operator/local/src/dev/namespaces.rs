//! A store for each namespace: the Secret that Repos look for, with a folder on this machine's disk.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use url::Url;
use varve_api::labels;

use super::{Error, state::State};

/// The name of the Secret that Repos look for.
const NAME: &str = "varve-store";

/// Makes the namespace that was asked for, if it isn't there: here nobody else could have made it before.
pub(super) async fn make(client: &Client, name: &str) -> Result<(), Error> {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match Api::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop).map_err(Error::api(format!("make namespace {name}"))),
    }
}

/// Gives every namespace that has none the Secret of a store in the state folder. One that is there stays: it may name
/// a bucket.
pub(super) async fn give_stores(client: &Client, state: &State) -> Result<(), Error> {
    let all: Api<Namespace> = Api::all(client.clone());
    let namespaces = all.list(&ListParams::default()).await.map_err(Error::api("list namespaces"))?;
    for namespace in namespaces.items.iter().filter(|found| found.metadata.deletion_timestamp.is_none()) {
        let namespace = namespace.name_any();
        if namespace.starts_with("kube-") {
            continue;
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let there = secrets.get_opt(NAME).await.map_err(Error::api(format!("get Secret {NAME} of {namespace}")))?;
        if there.is_some() {
            continue;
        }
        let folder = state.store().join(&namespace);
        std::fs::create_dir_all(&folder).map_err(Error::file("make folder", &folder))?;
        let url = Url::from_directory_path(&folder).map(|url| url.to_string()).unwrap_or_default();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some(BTreeMap::from([(labels::STORE.to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([("url".to_owned(), url)])),
            ..Secret::default()
        };
        match secrets.create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made.map_err(Error::api(format!("make Secret {NAME} of {namespace}")))?),
        }
    }
    Ok(())
}
