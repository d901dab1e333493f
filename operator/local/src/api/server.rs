//! The server: its state behind one lock, its disk, and the two ways in, [`Server::client`] and [`Server::serve`].
//!
//! The lock is never held across an await. A write is acknowledged once it is on disk, where there is one.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::chores;
use super::failure::Failure;
use super::kinds::Kinds;
use super::object::{self, Key, Object};
use super::settings::{Collection, Settings};
use super::state::disk::{Disk, Kept, OpenError};
use super::state::{Place, State};
use super::verbs::World;

/// How far versions jump at a restart: no client can hold one of a write that was never acknowledged.
const RESTART_GAP: u64 = 10_000;
/// The namespaces that every server has.
const NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// A Kubernetes API server in this process.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    state: Arc<Mutex<State>>,
    disk: Option<Disk>,
    settings: Settings,
}

impl Server {
    /// Without a disk: what is in it ends with it.
    pub fn in_memory(settings: Settings) -> Self {
        let mut state = State::new(1, false);
        make_namespaces(&mut state, &settings);
        Self::with(state, None, settings)
    }

    /// Kept in the file at `path`, which is made if it is not there. Needs no runtime.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        let (disk, kept) = Disk::open(path)?;
        let mut state = State::new(kept.version + RESTART_GAP, true);
        load(&mut state, kept, path)?;
        renew_definitions(&mut state);
        make_namespaces(&mut state, &settings);
        let world = World { now: (settings.clock)(), ids: &settings.ids };
        chores::run(&mut state, &world);
        if let Some(batch) = state.take_journal() {
            // Any later write is on disk after this one; until then nothing of it is acknowledged.
            drop(disk.write(batch));
        }
        Ok(Self::with(state, Some(disk), settings))
    }

    fn with(state: State, disk: Option<Disk>, settings: Settings) -> Self {
        Self(Arc::new(Inner { state: Arc::new(Mutex::new(state)), disk, settings }))
    }

    /// A client that talks to this server without a socket. Needs a runtime.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                Ok::<_, kube::Error>(server.call(Request::from_parts(head, body)).await)
            }
        });
        kube::Client::new(service, default_namespace)
    }

    /// Answers one request. The body of a watch, or of a log that is followed, goes on until it is dropped.
    pub async fn call(&self, request: Request<Bytes>) -> Response<Body> {
        self.call_until(request, &CancellationToken::new()).await
    }

    /// As [`Self::call`], but bodies that go on end with `stop`.
    pub(crate) async fn call_until(&self, request: Request<Bytes>, stop: &CancellationToken) -> Response<Body> {
        let path = request.uri().path().to_owned();
        answer::answer(self, request, stop).await.unwrap_or_else(|failure| {
            tracing::debug!(%path, status = %failure.status(), "refused");
            failure.response()
        })
    }

    /// Deletes what is garbage and empties namespaces that are to go, where the settings leave it to the caller.
    pub async fn collect(&self) -> Result<(), String> {
        self.write_with(true, |_, _| Ok(())).await.map_err(|failure| failure.status()["message"].to_string())
    }

    /// Waits until its file can't be written any more; gives the system's words. From then on no write is acknowledged.
    pub async fn disk_failed(&self) -> String {
        match &self.0.disk {
            Some(disk) => disk.failed().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn shared_state(&self) -> Arc<Mutex<State>> {
        self.0.state.clone()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; returns when the change is on disk.
    pub(crate) async fn write<T>(
        &self,
        change: impl FnOnce(&mut State, &World<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.write_with(self.0.settings.collection == Collection::AtOnce, change).await
    }

    async fn write_with<T>(
        &self,
        is_collecting: bool,
        change: impl FnOnce(&mut State, &World<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let settings = &self.0.settings;
        let world = World { now: (settings.clock)(), ids: &settings.ids };
        let (result, on_disk) = {
            let mut state = self.state();
            let result = change(&mut state, &world);
            if is_collecting {
                chores::run(&mut state, &world);
            }
            let batch = state.take_journal();
            // Under the lock, so that batches reach the disk in the order of their versions.
            (result, self.0.disk.as_ref().zip(batch).map(|(disk, batch)| disk.write(batch)))
        };
        if let Some(on_disk) = on_disk {
            match on_disk.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Failure::internal(format!("write the state file: {error}"))),
                Err(_) => return Err(Failure::internal("the state file can't be written any more: start anew")),
            }
        }
        result
    }
}

/// Puts in what was on disk: definitions first, since the other objects need their tables.
fn load(state: &mut State, kept: Kept, path: &Path) -> Result<(), OpenError> {
    const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
    let (definitions, others): (Vec<_>, Vec<_>) =
        kept.objects.into_iter().partition(|(table, ..)| table == DEFINITIONS);
    for (table, key, text) in definitions.into_iter().chain(others) {
        let broken = |what: String| OpenError::Broken {
            path: path.display().to_string(),
            what: format!("{table} {}/{}: {what}", key.namespace, key.name),
        };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if table == DEFINITIONS && Kinds::definitions().iter().all(|own| own.value["spec"] != value["spec"]) {
            let mut kinds = (*state.kinds).clone();
            match kinds.define(&value) {
                Ok(()) => {
                    state.kinds = Arc::new(kinds);
                    state.grow();
                }
                Err(error) => tracing::warn!(name = key.name, %error, "serve a definition"),
            }
        }
        // A table that is not known belongs to a definition that is gone; its objects stay where they are.
        let Some(table) = state.table_named(&table) else { continue };
        let place = Place { table, key };
        state.load(&place, Arc::new(Object::of(value)));
    }
    Ok(())
}

/// Varve's own definitions are those of this program, whatever an older one kept.
fn renew_definitions(state: &mut State) {
    let Some(table) = state.table_named("customresourcedefinitions.apiextensions.k8s.io") else { return };
    for own in Kinds::definitions() {
        let place = Place { table, key: Key::of(&own.value) };
        let Some(live) = state.get(&place).cloned().filter(|live| live.value["spec"] != own.value["spec"]) else {
            continue;
        };
        let mut new = live.value.clone();
        new["spec"] = own.value["spec"].clone();
        object::metadata_mut(&mut new).insert("generation".into(), (object::generation(&live.value) + 1).into());
        let mut kinds = (*state.kinds).clone();
        if kinds.define(&new).is_ok() {
            state.kinds = Arc::new(kinds);
        }
        state.put(&place, new);
    }
}

fn make_namespaces(state: &mut State, settings: &Settings) {
    let Some(table) = state.table_named("namespaces") else { return };
    for name in NAMESPACES {
        let place = Place { table, key: Key::new("", name) };
        if state.get(&place).is_some() {
            continue;
        }
        state.put(
            &place,
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "uid": settings.ids.uid(),
                    "creationTimestamp": object::seconds((settings.clock)()),
                    "labels": { "kubernetes.io/metadata.name": name },
                },
                "spec": { "finalizers": ["kubernetes"] },
                "status": { "phase": "Active" },
            }),
        );
    }
}
