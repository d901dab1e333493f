//! Connections to the stores of Repos, for what `varve dev` itself puts in and shows.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;
use varve_api::Repo;
use varve_api::conditions::{self, HasConditions as _, Type};
use varve_controller::heads;
use varve_format::BranchName;
use varve_store::backend::{self, Allowed};
use varve_store::{Commit, Store};

use super::Error;
use super::looks::Looks;

/// How long a Repo may take to be ready before its files are given up for now.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What the Secrets of stores may ask for: folders of this machine, and nobody's credentials but their own.
pub(super) const ALLOWED: Allowed = Allowed { local_stores: true, machine_credentials: false };

/// The connections.
pub(super) struct Stores {
    client: Client,
    open: Mutex<HashMap<(String, String), Store>>,
}

impl Stores {
    pub(super) fn new(client: Client) -> Self {
        Self { client, open: Mutex::default() }
    }

    /// The store of a Repo, once the Repo is ready.
    pub(super) async fn of(&self, looks: &Looks, namespace: &str, repo: &str) -> Result<Store, Error> {
        let found = ready(looks, namespace, repo).await?;
        let secret = found.spec.store_ref.name.clone();
        let key = (namespace.to_owned(), secret.clone());
        let mut open = self.open.lock().await;
        if let Some(store) = open.get(&key) {
            return Ok(store.clone());
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = secrets.get(&secret).await.map_err(Error::api(format!("get Secret {secret}")))?.data;
        let config: BTreeMap<String, String> = data
            .into_iter()
            .flatten()
            .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
            .collect();
        let told = || Error::store(format!("open the store of Repo {repo}"));
        let (objects, prefix) = backend::connect(&config, ALLOWED).map_err(told())?;
        let store = Store::open(objects, prefix).await.map_err(told())?;
        open.insert(key, store.clone());
        Ok(store)
    }
}

/// What stands at the head of a branch.
pub(super) async fn head(store: &Store, repo: &Repo, branch: &str) -> Result<Option<Commit>, Error> {
    let head = BranchName::parse(branch).ok().and_then(|branch| heads::read(repo, &branch).ok().flatten());
    let Some(head) = head else { return Ok(None) };
    let told = format!("read branch {branch} of Repo {}", repo.name_any());
    store.read_head(&head).await.map(Some).map_err(Error::store(told))
}

/// The Repo as it stands, once it is ready.
pub(super) async fn ready(looks: &Looks, namespace: &str, repo: &str) -> Result<std::sync::Arc<Repo>, Error> {
    let reference = ObjectRef::<Repo>::new(repo).within(namespace);
    let look = || looks.repos.get(&reference).filter(|repo| conditions::holds(repo.conditions(), Type::Ready));
    tokio::time::timeout(READY_WITHIN, looks.until(look)).await.map_err(|_| Error::NotReady { repo: repo.to_owned() })
}
