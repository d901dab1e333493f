//! Every write to the API server goes through here, and nothing else does.
//!
//! One place counts the calls, bounds their time, retries what the server asks to be retried, refuses
//! to write for a replica that no longer leads, and lets a test fail any call before or after it took
//! effect ([`FaultHook`]). All writes are idempotent, so a call that was cut off is simply made again.

use std::{fmt, fmt::Debug, future::Future, sync::Arc, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    metrics::Metrics,
};

/// Longest that one call may take, connection and answer together. A little above the client's read
/// time-out of 30 s, so that the client's own words are heard first.
const CALL_SECONDS: u64 = 40;
/// How often a call that the server turned away (429, 503, 504) is made again before the reconciler's
/// own backoff takes over.
const CALL_TRIES: u32 = 3;
/// Wait before the second try; doubled for the third.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// POST.
    Create,
    /// PATCH of `/status` by server-side apply.
    ApplyStatus,
    /// PATCH of `/status` by JSON patch: moving heads.
    MoveHead,
    /// PATCH of metadata.
    PatchMetadata,
    /// DELETE.
    Delete,
    /// A write to the object store.
    Store,
}

impl Verb {
    /// The word that metrics and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::ApplyStatus => "apply-status",
            Self::MoveHead => "move-head",
            Self::PatchMetadata => "patch-metadata",
            Self::Delete => "delete",
            Self::Store => "store",
        }
    }
}

/// One write, named for metrics, logs, errors and fault hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub verb: Verb,
    /// The kind it does it to; for [`Verb::Store`] the sort of object (`reflog`, `plan`, …).
    pub kind: String,
    /// `namespace/name`, or the key in the store.
    pub name: String,
}

impl Call {
    /// Names a call.
    pub fn new(verb: Verb, kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { verb, kind: kind.into(), name: name.into() }
    }

    fn on<K: Resource<DynamicType = ()>>(verb: Verb, object: &K) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        Self::new(verb, K::kind(&()), format!("{namespace}/{}", object.name_any()))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb.as_str(), self.kind, self.name)
    }
}

/// Lets a test fail any call, before it is made or after it took effect.
pub trait FaultHook: Send + Sync {
    /// True: the call is not made, and fails.
    fn fails_before(&self, call: &Call) -> bool;
    /// True: the call was made, and its answer is lost.
    fn fails_after(&self, call: &Call) -> bool;
}

/// The hook of every day: nothing fails on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFaults;

impl FaultHook for NoFaults {
    fn fails_before(&self, _call: &Call) -> bool {
        false
    }
    fn fails_after(&self, _call: &Call) -> bool {
        false
    }
}

/// Whether this replica leads; written by the lease, read before every write.
pub type Leading = watch::Receiver<bool>;

/// The hand that writes.
#[derive(Clone)]
pub struct Act {
    client: Client,
    leading: Leading,
    faults: Arc<dyn FaultHook>,
    metrics: Arc<Metrics>,
}

impl Act {
    /// A hand on `client` that writes only while `leading`.
    pub fn new(client: Client, leading: Leading, faults: Arc<dyn FaultHook>, metrics: Arc<Metrics>) -> Self {
        Self { client, leading, faults, metrics }
    }

    /// Makes one call, named, counted, bounded in time, open to the fault hook. For writes to the store
    /// use it directly; writes to the API server have functions of their own below.
    pub async fn step<T, F, Fut>(&self, call: Call, mut make: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        if !*self.leading.borrow() {
            return Err(Error::NotLeading);
        }
        if self.faults.fails_before(&call) {
            return Err(Error::Injected { point: "before", call: call.to_string() });
        }
        self.metrics.write(&call);
        tracing::debug!(verb = call.verb.as_str(), kind = %call.kind, name = %call.name, "write");
        let done = make().await;
        if done.is_ok() && self.faults.fails_after(&call) {
            return Err(Error::Injected { point: "after", call: call.to_string() });
        }
        done
    }

    async fn api<T, F, Fut>(&self, call: Call, make: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, kube::Error>>,
    {
        let said = call.to_string();
        let (said, make) = (&said, &make);
        self.step(call, || async move {
            let mut wait = FIRST_WAIT;
            for attempt in 1.. {
                let answer = tokio::time::timeout(Duration::from_secs(CALL_SECONDS), make()).await;
                match answer {
                    Err(_) => {
                        return Err(Error::Timeout { call: said.clone(), seconds: CALL_SECONDS });
                    }
                    Ok(Err(kube::Error::Api(status)))
                        if matches!(status.code, 429 | 503 | 504) && attempt < CALL_TRIES =>
                    {
                        tokio::time::sleep(wait).await;
                        wait *= 2;
                    }
                    Ok(answer) => return answer.map_err(Error::api(said)),
                }
            }
            unreachable!("the loop ends by returning")
        })
        .await
    }

    /// The API of one namespace, for writing.
    fn namespaced<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Creates `object` if nothing of its name is there; answers with what then stands there, which may
    /// be somebody else's: look at its owner.
    pub async fn create<K>(&self, object: &K) -> Result<Created<K>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        self.create_as(object, object).await
    }

    /// The same where more is `sent` than our type holds: fields that are newer than it.
    pub async fn create_as<K>(&self, object: &K, sent: &impl Serialize) -> Result<Created<K>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.namespaced(object);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let call = Call::on(Verb::Create, object);
        let body = serde_json::to_vec(sent).map_err(kube::Error::SerdeError).map_err(Error::api(&call))?;
        let create = || async {
            let request = Request::new(api.resource_url()).create(&params, body.clone());
            self.client.request::<K>(request.map_err(kube::Error::BuildRequest)?).await
        };
        match self.api(call.clone(), create).await {
            Ok(made) => Ok(Created::Made(made)),
            Err(error) if error.api_code() == Some(409) => {
                let there =
                    api.get(&object.name_any()).await.map_err(Error::api(format_args!("get {}", object.name_any())))?;
                Ok(Created::AlreadyThere(there))
            }
            Err(error) => Err(error),
        }
    }

    /// Applies `status` to the `/status` of `object` as `manager`. The uid goes along: a status meant
    /// for an object that has since been made anew is refused (409).
    pub async fn apply_status<K>(&self, manager: &str, object: &K, status: &serde_json::Value) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.namespaced(object);
        let params = PatchParams::apply(manager).force();
        let body = serde_json::json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {
                "name": object.name_any(),
                "namespace": object.namespace(),
                "uid": object.uid(),
            },
            "status": status,
        });
        let (name, patch) = (object.name_any(), Patch::Apply(&body));
        self.api(Call::on(Verb::ApplyStatus, object), || api.patch_status(&name, &params, &patch)).await
    }

    /// Patches the `/status` of `object` by JSON patch, `test`s included.
    pub async fn patch_status<K>(&self, object: &K, patch: json_patch::Patch) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.namespaced(object);
        let params = PatchParams { field_manager: Some(HEADS_MANAGER.into()), ..PatchParams::default() };
        let (name, patch) = (object.name_any(), Patch::<()>::Json(patch));
        self.api(Call::on(Verb::MoveHead, object), || api.patch_status(&name, &params, &patch)).await
    }

    /// Merges `patch` into `object` (finalizers, labels, `suspend`; no status).
    pub async fn merge<K>(&self, object: &K, patch: &serde_json::Value) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.namespaced(object);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let (name, patch) = (object.name_any(), Patch::Merge(patch));
        self.api(Call::on(Verb::PatchMetadata, object), || api.patch(&name, &params, &patch)).await
    }

    /// Deletes exactly this `object` (by uid), its children in the background. False: it was gone, or
    /// another of its name stands there.
    pub async fn delete<K>(&self, object: &K) -> Result<bool>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.namespaced(object);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let name = object.name_any();
        match self.api(Call::on(Verb::Delete, object), || api.delete(&name, &params)).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.api_code(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The field manager of what the operator creates.
pub const MANAGER: &str = "varve";
/// The field manager of branch heads, which no apply ever touches.
pub const HEADS_MANAGER: &str = "varve-heads";

/// What a create found.
#[derive(Clone, Debug)]
pub enum Created<K> {
    /// We made it.
    Made(K),
    /// Something of that name was there before.
    AlreadyThere(K),
}

impl<K> Created<K> {
    /// What stands there now, whoever made it.
    pub fn into_inner(self) -> K {
        match self {
            Self::Made(object) | Self::AlreadyThere(object) => object,
        }
    }
}
