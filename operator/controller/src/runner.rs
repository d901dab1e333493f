//! Runs one kind's reconciler over a cache and its triggers: kube's `applier`, with a backoff per object
//! and the metrics that all kinds share. How many are at work at once, and whose, is decided by [`Turns`].
//!
//! A failure is told in the object's status, which is a change of the object: after a failure such changes are passed
//! over, or a message that is another each time would be tried again at once, for ever. What its owner changes (spec,
//! labels, annotations, deletion) and what the triggers name is looked at without delay all the same.
//!
//! Runs only while this replica leads. On stop it takes no new work and ends when what is in flight has.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use kube::{
    Resource, ResourceExt,
    api::ObjectMeta,
    runtime::{
        applier,
        controller::{Action, Config, Error as ApplierError},
        reflector::ObjectRef,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    cache::{Cache, everything},
    cx::Cx,
    error::{Error, Result, Retry},
    turns::Turns,
};

/// First wait after a failure that may pass by itself, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_mins(1));
/// First wait and longest where something must change first. What changes in the cluster triggers by
/// itself; what changes elsewhere (a bucket, credentials, a registry) is found by looking again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// Runs `reconcile` for every object of `cache`: all of them at first, then those that change and those
/// that `triggers` name, until `stop`.
pub async fn run<K, F, Fut>(
    cx: Arc<Cx>,
    cache: Cache<K>,
    triggers: Vec<BoxStream<'static, ObjectRef<K>>>,
    stop: CancellationToken,
    reconcile: F,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
    F: Fn(Arc<K>, Arc<Cx>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action>> + Send + 'static,
{
    let kind = K::kind(&()).into_owned();
    let failures = Arc::new(Failures::default());
    let own = {
        let (failures, there) = (failures.clone(), cache.store());
        cache.triggers(cache.store(), move |object: &K| {
            let reference = ObjectRef::from_obj(object);
            if there.get(&reference).is_none() {
                failures.forget(&object.uid().unwrap_or_default());
            }
            (!failures.waits_unchanged(object.meta())).then_some(reference)
        })
    };
    let all = cache.store();
    let first = stream::once(async move { stream::iter(everything(&all)) }).flatten().boxed();
    let queue = stream::select_all(triggers.into_iter().chain([own, first]))
        .take_until(stop.clone().cancelled_owned())
        .map(Ok::<_, Error>);
    let turns = Turns::new(cx.settings.concurrency.into());
    let reconcile = Arc::new(reconcile);
    let reconciler = {
        let (failures, kind, there) = (failures.clone(), kind.clone(), cache.store());
        move |object: Arc<K>, cx: Arc<Cx>| {
            let (failures, kind, there) = (failures.clone(), kind.clone(), there.clone());
            let (reconcile, turns, stop) = (reconcile.clone(), turns.clone(), stop.clone());
            async move {
                let asked = Instant::now();
                let namespace = object.namespace().unwrap_or_default();
                let _turn = tokio::select! {
                    biased; // so that a simulated life is the same each time
                    () = stop.cancelled() => return Ok(Action::await_change()),
                    turn = turns.take(&namespace) => turn,
                };
                let begun = Instant::now();
                cx.metrics.waited(&kind, begun.duration_since(asked));
                // As it is by now, not as it was when its turn was asked for.
                let Some(object) = there.get(&ObjectRef::from_obj(object.as_ref())) else {
                    return Ok(Action::await_change());
                };
                let uid = object.uid().unwrap_or_default();
                let work = AbortOnDropHandle::new(tokio::spawn(reconcile(object, cx.clone())));
                let done = match work.await {
                    Ok(done) => done,
                    Err(panicked) => Err(Error::Bug(format!("the reconciler ended early: {panicked}"))),
                };
                let outcome = match &done {
                    Ok(_) => "ok",
                    Err(error) if error.retry() == Retry::WhenChanged => "stalled",
                    Err(_) => "error",
                };
                cx.metrics.reconcile(&kind, outcome, begun.elapsed());
                if done.is_ok() {
                    failures.forget(&uid);
                }
                done
            }
            .boxed()
        }
    };
    let policy = {
        let (failures, kind) = (failures.clone(), kind.clone());
        move |object: Arc<K>, error: &Error, _: Arc<Cx>| {
            let wait = failures.next_wait(object.meta(), error.retry());
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            match error {
                Error::NotLeading => {}
                Error::Told { message, .. } => {
                    tracing::info!(kind, namespace, name, message, "cannot go on");
                }
                error => {
                    let error = chain(error);
                    tracing::warn!(kind, namespace, name, error, ?wait, "failed, will try again");
                }
            }
            Action::requeue(wait)
        }
    };
    applier(reconciler, policy, cx, cache.store(), queue, Config::default())
        .for_each(|done| async {
            if let Err(ApplierError::RunnerError(error)) = done {
                tracing::error!(%error, "controller ended");
            }
        })
        .await;
    tracing::debug!(kind, "controller ended");
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// How often each object has failed in a row, by its uid, and how it stood at the last time.
#[derive(Default)]
struct Failures(Mutex<HashMap<String, Failed>>);

#[derive(Default)]
struct Failed {
    count: u32,
    version: u64,
}

/// What an object's owner decides, in a number: everything but its status.
fn version(object: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    let ObjectMeta { generation, deletion_timestamp, labels, annotations, finalizers, .. } = object;
    (generation, deletion_timestamp.is_some(), labels, annotations, finalizers).hash(&mut hasher);
    hasher.finish()
}

impl Failures {
    fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Whether the object waits to be tried again and nothing but its status has changed since it failed.
    fn waits_unchanged(&self, object: &ObjectMeta) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = object.uid.as_ref().and_then(|uid| failures.get(uid));
        failed.is_some_and(|failed| failed.version == version(object))
    }

    /// How long to wait after one more failure of an object that stood so.
    fn next_wait(&self, object: &ObjectMeta, retry: Retry) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.entry(object.uid.clone().unwrap_or_default()).or_default();
        failed.version = version(object);
        let (first, longest) = match retry {
            Retry::Backoff => BACKOFF,
            Retry::WhenChanged => LOOK_AGAIN,
        };
        let wait = first.saturating_mul(1 << failed.count.min(16)).min(longest);
        failed.count = failed.count.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_starts_anew_after_a_success() {
        let failures = Failures::default();
        let a = object(1);
        let waits: Vec<_> = (0..3).map(|_| failures.next_wait(&a, Retry::Backoff).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000]);
        for _ in 0..20 {
            failures.next_wait(&a, Retry::Backoff);
        }
        assert_eq!(failures.next_wait(&a, Retry::Backoff), BACKOFF.1);
        failures.forget("a");
        assert_eq!(failures.next_wait(&a, Retry::Backoff), BACKOFF.0);
    }

    #[test]
    fn after_a_failure_a_change_of_status_alone_is_passed_over() {
        let failures = Failures::default();
        let written =
            |resource_version: &str| ObjectMeta { resource_version: Some(resource_version.into()), ..object(1) };
        assert!(!failures.waits_unchanged(&written("7")), "nothing has failed");
        failures.next_wait(&written("7"), Retry::Backoff);
        assert!(failures.waits_unchanged(&written("8")), "its status was written");
        assert!(!failures.waits_unchanged(&object(2)), "its spec was changed");
        let annotations = Some([("varve.dev/resolve-image".to_owned(), "again".to_owned())].into());
        assert!(!failures.waits_unchanged(&ObjectMeta { annotations, ..object(1) }));
        failures.forget("a");
        assert!(!failures.waits_unchanged(&written("8")), "it has succeeded");
    }

    fn object(generation: i64) -> ObjectMeta {
        ObjectMeta { uid: Some("a".into()), generation: Some(generation), ..ObjectMeta::default() }
    }
}
