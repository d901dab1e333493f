//! Applies what the files say, by server-side apply: kinds that others need first.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt, discovery};
use serde_json::Value;

use super::files::{Document, Given};
use super::folder::Folders;
use super::looks::Looks;
use super::show::Screen;
use super::state::State;
use super::{Error, namespaces};

/// The field manager.
const MANAGER: &str = "varve-dev";
/// Kinds in the order in which others need them; all others come last.
const ORDER: [&str; 7] = ["Namespace", "Secret", "ConfigMap", "ServiceAccount", "Repo", "Commit", "Pipeline"];

/// The kinds before that one are what a namespace gets its store by.
const STORES_BEFORE: &str = "Repo";

/// Where objects are applied, and whom that is told.
pub(super) struct Apply<'a> {
    pub(super) client: &'a Client,
    pub(super) state: &'a State,
    /// The namespace of objects that name none.
    pub(super) namespace: &'a str,
    pub(super) looks: &'a Looks,
    pub(super) screen: &'a Screen,
}

impl Apply<'_> {
    /// Applies what the files say. True where any of it was refused, or there is nothing; which and why, is on the
    /// screen.
    pub(super) async fn all(&self, given: &Given, folders: &mut Folders) -> Result<bool, Error> {
        let mut documents = given.read()?;
        documents.sort_by_key(rank);
        if documents.is_empty() {
            self.screen.refuse(&format!(
                "nothing to apply: no file of {} that ends in .yaml, .yml or .json has an object in it",
                given.shown()
            ));
        }
        let needs_no_store = documents.partition_point(|document| rank(document) < rank_of(Some(STORES_BEFORE)));
        let others = documents.split_off(needs_no_store);
        let mut is_refused = documents.is_empty() && others.is_empty();
        is_refused |= self.each(documents, folders).await;
        namespaces::give_stores(self.client, self.state).await?;
        is_refused |= self.each(others, folders).await;
        Ok(is_refused)
    }

    async fn each(&self, documents: Vec<Document>, folders: &mut Folders) -> bool {
        let Self { client, namespace, looks, screen, .. } = self;
        let mut is_refused = false;
        for document in documents {
            match one(client, namespace, &document).await {
                Ok(applied) => {
                    let (kind, generation) =
                        (applied.types.as_ref().map_or("", |types| &types.kind), applied.metadata.generation);
                    let (namespace, name) = (applied.namespace().unwrap_or_default(), applied.name_any());
                    looks.until_seen(kind, &namespace, &name, generation.unwrap_or_default()).await;
                    if kind == "Repo" {
                        folders.take(&applied, &document.file);
                    }
                }
                Err(why) => {
                    is_refused = true;
                    screen.refuse(&format!("{}: {why}", document.place));
                }
            }
        }
        is_refused
    }
}

/// When a document is applied, by its kind.
fn rank(document: &Document) -> usize {
    rank_of(document.object.as_ref().ok().and_then(|object| object["kind"].as_str()))
}

fn rank_of(kind: Option<&str>) -> usize {
    ORDER.iter().position(|known| Some(*known) == kind).unwrap_or(ORDER.len())
}

async fn one(client: &Client, namespace: &str, document: &Document) -> Result<DynamicObject, String> {
    let object = document.object.as_ref().map_err(Clone::clone)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    if version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err("an object must have apiVersion, kind and metadata.name".to_owned());
    }
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, scope) = match discovery::pinned_kind(client, &gvk).await {
        Ok((resource, capabilities)) => (resource, capabilities.scope),
        Err(_) => {
            return Err(format!(
                "{kind} of {} is not served by varve dev, which is no cluster: leave it out here, and apply it on one",
                gvk.api_version()
            ));
        }
    };
    let mut object = object.clone();
    let api: Api<DynamicObject> = match scope {
        discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
        discovery::Scope::Namespaced => {
            let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
            object["metadata"]["namespace"] = own.as_str().into(); // as kubectl sends it
            Api::namespaced_with(client.clone(), &own, &resource)
        }
    };
    let params =
        PatchParams { field_validation: Some(kube::api::ValidationDirective::Strict), ..PatchParams::apply(MANAGER) };
    match api.patch(&name, &params.force(), &Patch::Apply(&object)).await {
        Ok(applied) => Ok(applied),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => Err(error.to_string()),
    }
}
