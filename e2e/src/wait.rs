//! Waiting for what must come true: never by sleeping a fixed time, always with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use varve_api::conditions::{self, Type};

use crate::Space;

/// How long anything may take that needs no pod.
pub const SOON: Duration = Duration::from_secs(30);
/// How long anything may take that needs pods, on a busy machine.
pub const PODS: Duration = Duration::from_mins(3);

/// Waits until `is` says so, asking again and again: for what no watch tells.
pub async fn until(what: &str, within: Duration, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + within;
    while !is().await? {
        ensure!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Objects with conditions.
pub trait Conditioned {
    /// The conditions, if there is a status.
    fn conditions(&self) -> &[Condition];
    /// The plain words beside them.
    fn explanation(&self) -> &str;
}

macro_rules! conditioned {
    ($($kind:ty: $explanation:expr;)+) => {$(
        impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
            fn explanation(&self) -> &str {
                let explanation: fn(&Self) -> Option<&str> = $explanation;
                explanation(self).unwrap_or_default()
            }
        }
    )+};
}

conditioned! {
    varve_api::Repo: |_| None;
    varve_api::Commit: |object| object.status.as_ref()?.explanation.as_deref();
    varve_api::Pipeline: |object| object.status.as_ref()?.explanation.as_deref();
    varve_api::Job: |object| object.status.as_ref()?.explanation.as_deref();
}

/// The conditions of an object in one line each.
pub fn shown<K: Conditioned>(object: &K) -> String {
    let lines = object.conditions().iter().map(|c| format!("  {}={} {}: {}", c.type_, c.status, c.reason, c.message));
    lines.collect::<Vec<_>>().join("\n")
}

impl Space {
    /// Waits until the object of this name is as `is` says; gives it as it then is.
    pub async fn wait<K>(&self, name: &str, within: Duration, is: impl Fn(&K) -> bool) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Conditioned
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut last = None;
        let seen = async {
            let mut objects = watcher(self.api::<K>(), config).default_backoff().applied_objects().boxed();
            while let Some(object) = objects.try_next().await? {
                if is(&object) {
                    return anyhow::Ok(object);
                }
                last = Some(object);
            }
            bail!("the watch ended")
        };
        match tokio::time::timeout(within, seen).await {
            Ok(object) => object.with_context(|| format!("watch {} {name}", K::kind(&()))),
            Err(_) => bail!(
                "{} {name} did not come to be as awaited within {within:?}; it is: {}\n{}",
                K::kind(&()),
                last.map_or_else(
                    || " not there".into(),
                    |object| format!("{}\n{}", object.explanation(), shown(&object))
                ),
                self.describe(),
            ),
        }
    }

    /// Waits until the object is `Ready`.
    pub async fn ready<K>(&self, name: &str, within: Duration) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Conditioned
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        self.wait(name, within, |object: &K| {
            conditions::find(object.conditions(), Type::Ready.as_str())
                .is_some_and(|c| c.status == "True" && c.observed_generation == object.meta().generation)
        })
        .await
    }

    /// Waits until the object is `Stalled`; gives the reason and the message.
    pub async fn stalled<K>(&self, name: &str, within: Duration) -> Result<(String, String)>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Conditioned
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        let object =
            self.wait(name, within, |object: &K| conditions::holds(object.conditions(), Type::Stalled)).await?;
        let name = object.name_any();
        let condition = conditions::find(object.conditions(), Type::Stalled.as_str()).context(name)?;
        Ok((condition.reason.clone(), condition.message.clone()))
    }
}
