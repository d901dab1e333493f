//! Connections to object stores, one for each Secret and each of its versions.
//!
//! A Secret counts as a store's only when it carries the label `varve.dev/store`: so nobody can make the
//! operator read another. The first use of a connection claims the prefix for this cluster and namespace.
//! What goes wrong is told in the store's own words with the remedy, remembered for a moment so that a
//! thousand waiting objects ask once, and heals by itself: a changed Secret is a new version, and a store
//! that was unreachable is asked again. All connections share one budget of memory, and one that nobody has
//! used for a while is dropped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use uuid::Uuid;
use varve_api::{conditions::Reason, labels, repo::DEFAULT_STORE};
use varve_store::{
    Adopt, Error as E, Options, Owner, Store,
    backend::{self, ADOPT, Allowed},
};

use crate::{
    cache::Caches,
    cx::{Outside, World},
    error::{Error, Result, Retry},
    metered::Metered,
    metrics::Metrics,
    runner::chain,
};

/// How long a failure stands before the store is asked again.
const FAILURE_STANDS: Duration = Duration::from_secs(2);
/// How long a store counts as ours before its owner is read again: who was relieved of it must stop.
const CLAIM_STANDS: Duration = Duration::from_secs(30);

/// How long a connection stays that nobody uses. Opening it again takes three requests.
const IDLE: Duration = Duration::from_mins(10);

/// An open, claimed store.
#[derive(Clone)]
pub struct Connection {
    /// The store.
    pub store: Store,
    /// The Secret it came from.
    pub secret: String,
}

/// Where connections come from.
pub struct Stores {
    client: Client,
    caches: Caches,
    cluster: Uuid,
    allowed: Allowed,
    metrics: Arc<Metrics>,
    memory: varve_store::Caches,
    outside: Outside,
    known: Mutex<HashMap<(String, String), Slot>>,
}

/// The place of one Secret's store: whoever wants it waits here for the same answer.
struct Slot {
    used: Instant,
    known: Arc<tokio::sync::Mutex<Option<Known>>>,
}

/// What is known of one Secret's store.
struct Known {
    /// uid and resource version of the Secret, uid of its namespace.
    version: [String; 3],
    outcome: Outcome,
}

enum Outcome {
    Open { connection: Connection, claimed: Instant },
    Failed { reason: Reason, message: String, retry: Retry, since: Instant },
}

impl Stores {
    /// No connections yet.
    pub fn new(client: Client, caches: Caches, allowed: Allowed, world: &World) -> Self {
        Self {
            client,
            caches,
            cluster: world.cluster,
            allowed,
            metrics: world.metrics.clone(),
            memory: world.memory.clone(),
            outside: world.outside.clone(),
            known: Mutex::default(),
        }
    }

    /// The store that the Secret `store_ref` (by default `varve-store`) of `namespace` describes.
    pub async fn open(&self, namespace: &str, store_ref: Option<&str>) -> Result<Connection> {
        let name = store_ref.unwrap_or(DEFAULT_STORE);
        let Some(secret) = self.caches.store_secrets.get(namespace, name) else {
            return Err(self.missing(namespace, name).await?);
        };
        let owner = self.namespace_uid(namespace)?;
        let version =
            [secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default(), owner.to_string()];
        let slot = self.slot(namespace, name, Instant::now());
        // Held over the connecting: whoever else wants this store waits for the same answer.
        let mut slot = slot.lock().await;
        if let Some(known) = slot.as_ref().filter(|known| known.version == version) {
            match &known.outcome {
                Outcome::Open { connection, claimed } if claimed.elapsed() < CLAIM_STANDS => {
                    return Ok(connection.clone());
                }
                Outcome::Failed { reason, message, retry, since } if since.elapsed() < FAILURE_STANDS => {
                    return Err(Error::Told { reason: *reason, message: message.clone(), retry: *retry });
                }
                Outcome::Open { .. } | Outcome::Failed { .. } => {}
            }
        }
        let owner = Owner { cluster: self.cluster, namespace: owner };
        let opened = match slot.take().filter(|known| known.version == version).map(|known| known.outcome) {
            // Looked at again, not taken: whoever took the store from us was told to by a person, too.
            Some(Outcome::Open { connection, .. }) => match connection.store.claim(owner, None).await {
                Ok(()) => Ok(connection),
                Err(error) => Err(about(name, &error)),
            },
            _ => self.connect(namespace, name, owner).await,
        };
        *slot = match &opened {
            Ok(connection) => {
                let outcome = Outcome::Open { connection: connection.clone(), claimed: Instant::now() };
                Some(Known { version, outcome })
            }
            Err(Error::Told { reason, message, retry }) => Some(Known {
                version,
                outcome: Outcome::Failed {
                    reason: *reason,
                    message: message.clone(),
                    retry: *retry,
                    since: Instant::now(),
                },
            }),
            Err(_) => None,
        };
        opened
    }

    /// The place of this store; those that nobody has used for long are given up.
    fn slot(&self, namespace: &str, name: &str, now: Instant) -> Arc<tokio::sync::Mutex<Option<Known>>> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, slot| now.saturating_duration_since(slot.used) < IDLE);
        let slot = all.entry((namespace.to_owned(), name.to_owned()));
        let slot = slot.or_insert_with(|| Slot { used: now, known: Arc::default() });
        slot.used = now;
        slot.known.clone()
    }

    async fn connect(&self, namespace: &str, name: &str, owner: Owner) -> Result<Connection> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = secrets.get(name).await.map_err(Error::api(format_args!("get Secret {namespace}/{name}")))?;
        if !secret.labels().contains_key(labels::STORE) {
            return Err(not_labelled(namespace, name));
        }
        let config = config(name, &secret)?;
        let adopt = match config.get(ADOPT).map(|text| text.trim()).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse::<Adopt>().map_err(|wrong| {
                Error::stalled(Reason::StoreConfigInvalid, format!("Secret {name}: key adopt is {text:?}: {wrong}"))
            })?),
        };
        let told = |error| about(name, &error);
        let (objects, prefix) = (self.outside.connect)(&config, self.allowed).map_err(told)?;
        backend::probe(&objects, &prefix).await.map_err(told)?;
        let objects = Arc::new(Metered::new(objects, self.metrics.clone()));
        let options = Options { caches: self.memory.clone(), environment: self.outside.environment.clone() };
        let store = Store::open_with(objects, prefix, options).await.map_err(told)?;
        store.claim(owner, adopt).await.map_err(told)?;
        tracing::info!(namespace, secret = name, store = %store.id(), "store opened");
        Ok(Connection { store, secret: name.to_owned() })
    }

    /// Why the cache has no such Secret: it is not there, or not labelled.
    async fn missing(&self, namespace: &str, name: &str) -> Result<Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found =
            secrets.get_metadata_opt(name).await.map_err(Error::api(format_args!("get Secret {namespace}/{name}")))?;
        Ok(match found {
            None => Error::stalled(
                Reason::StoreSecretMissing,
                format!(
                    "there is no Secret {name} in namespace {namespace}: create it with the key url \
                     (s3://bucket/prefix) and the store's credentials, labelled {}=true",
                    labels::STORE
                ),
            ),
            Some(secret) if secret.labels().contains_key(labels::STORE) => {
                // Labelled a moment ago: the cache is about to show it.
                Error::waiting(
                    Reason::Progressing,
                    format!("Secret {name} was labelled a moment ago and is being read"),
                )
            }
            Some(_) => not_labelled(namespace, name),
        })
    }

    fn namespace_uid(&self, namespace: &str) -> Result<Uuid> {
        let uid = self.caches.namespaces.get_cluster(namespace).and_then(|found| found.uid());
        uid.and_then(|uid| uid.parse().ok())
            .ok_or_else(|| Error::waiting(Reason::Progressing, format!("namespace {namespace} is not known yet")))
    }
}

fn not_labelled(namespace: &str, name: &str) -> Error {
    Error::stalled(
        Reason::StoreSecretNotLabelled,
        format!(
            "Secret {name} is not labelled as a store's: if it is meant to be one, \
             kubectl -n {namespace} label secret {name} {}=true",
            labels::STORE
        ),
    )
}

/// The Secret's keys as text.
fn config(name: &str, secret: &Secret) -> Result<BTreeMap<String, String>> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| match String::from_utf8(value.0.clone()) {
        Ok(text) => Ok((key.clone(), text)),
        Err(_) => Err(Error::stalled(
            Reason::StoreConfigInvalid,
            format!("Secret {name}: the value of key {key} must be UTF-8 text"),
        )),
    })
    .collect()
}

/// What the store's error means for whoever uses the Secret, with the remedy.
pub fn about(secret: &str, error: &varve_store::Error) -> Error {
    let words = told(&chain(error), error);
    let retry = if error.is_retryable() { Retry::Backoff } else { Retry::WhenChanged };
    let message = format!("store of Secret {secret}: {words}{}", remedy(error));
    Error::Told { reason: reason(error), message, retry }
}

/// What to do about an error of the store, to stand after its words; empty where these name it themselves.
pub fn remedy(error: &varve_store::Error) -> &'static str {
    match error {
        E::Config { .. } => ": correct the store's Secret",
        E::BucketNotFound { .. } => ": create the bucket, or correct url in the store's Secret",
        E::AccessDenied { .. } => {
            ": correct the credentials in the store's Secret, or allow them to read, write and list this bucket"
        }
        E::Unreachable { what, .. } if what.contains("certificate") => {
            ": put the certificate of the authority that signed the store's own into key ca.crt of the store's Secret"
        }
        E::Unreachable { .. } => ": check endpoint and network; it is tried again by itself",
        E::Throttled { .. } => {
            ": it is tried again by itself; if it stays, have the store's limit raised, or run less at once"
        }
        E::Full { .. } => ": make room there, or have its quota raised; it is tried again by itself",
        E::ClockSkewed { .. } => {
            ": set the clocks right, of the cluster's nodes and of the store's machine; it is tried again by itself"
        }
        error if error.is_retryable() => ": it is tried again by itself",
        _ => "",
    }
}

/// A store's words without what is another each time (how long it took, the request's id) and without XML:
/// a message that stays the same is written once.
pub fn plain(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(at) = rest.find(" in ") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let taken = after[4..].split([' ', ',', ':']).next().unwrap_or_default();
        let is_duration = taken.starts_with(|c: char| c.is_ascii_digit())
            && ["ns", "µs", "ms", "s"].iter().any(|unit| taken.ends_with(unit));
        if is_duration {
            rest = &after[4 + taken.len()..];
        } else {
            out.push_str(" in ");
            rest = &after[4..];
        }
    }
    out.push_str(rest);
    if let Some(xml) = out.find("<?xml") {
        let element = |name: &str| {
            let text = &out[xml..];
            let from = text.find(&format!("<{name}>"))? + name.len() + 2;
            Some(&text[from..from + text[from..].find(&format!("</{name}>"))?])
        };
        let said = [element("Code"), element("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
        out = format!("{}{said}", &out[..xml]);
    }
    out.replace('\n', " ").trim_end_matches([' ', ':']).to_owned()
}

/// The words of a failure of the store as a condition has them. Where it may pass by itself, ids in them are left out:
/// the next try meets another pack or commit, and says the same otherwise. What is damaged keeps its name.
pub fn told(words: &str, error: &varve_store::Error) -> String {
    let words = plain(words);
    if error.is_retryable() { without_ids(&words) } else { words }
}

/// A text with each id (32 or more hex digits, hyphens among them) made `…`, and with it the folder of two digits
/// that packs lie in by their ids.
fn without_ids(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while !rest.is_empty() {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
        let (run, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let is_id = run.bytes().filter(u8::is_ascii_hexdigit).count() >= 32;
        let folder = out.len().saturating_sub(4);
        if is_id && out.get(folder..).is_some_and(|end| end.starts_with('/') && end.ends_with('/')) {
            out.truncate(folder + 1);
        }
        out.push_str(if is_id { "…" } else { run });
        let plain = after.find(is_part).unwrap_or(after.len());
        out.push_str(&after[..plain]);
        rest = &after[plain..];
    }
    out
}

/// The reason that conditions carry for an error of the store.
pub fn reason(error: &varve_store::Error) -> Reason {
    match error {
        E::Config { .. } => Reason::StoreConfigInvalid,
        E::BucketNotFound { .. } => Reason::StoreBucketMissing,
        E::AccessDenied { .. } => Reason::StoreUnauthorized,
        E::Unreachable { .. } | E::Backend { .. } | E::Io { .. } => Reason::StoreUnreachable,
        E::Throttled { .. } => Reason::StoreThrottled,
        E::Full { .. } => Reason::StoreFull,
        E::ClockSkewed { .. } => Reason::StoreClockSkewed,
        E::OwnedElsewhere { .. } => Reason::StoreOwnedElsewhere,
        E::FeatureUnknown { .. } => Reason::StoreTooNew,
        E::Corrupt { .. }
        | E::Decode { .. }
        | E::SealMismatch { .. }
        | E::ObjectMissing { .. }
        | E::Conflict { .. }
        | E::Erased { .. }
        | E::Outside { .. } => Reason::StoreCorrupt,
        E::Name(_) | E::PathTooLong { .. } | E::Edit { .. } => Reason::InvalidPath,
        E::Map(_) | E::TooLarge { .. } | E::ContentTooLarge { .. } => Reason::TooLarge,
        E::TreeRefused { .. } => Reason::TreeInvalid,
        _ => Reason::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use varve_api::conditions::State;

    use super::*;

    #[test]
    fn what_is_another_each_time_is_left_out_of_a_message() {
        assert_eq!(
            plain(
                "Error performing GET http://s3/b/x in 290.492µs - Server returned non-2xx status code: 404 Not Found: \
                 <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>No bucket.</Message>\
                 <RequestId>U42SS</RequestId></Error>"
            ),
            "Error performing GET http://s3/b/x - Server returned non-2xx status code: 404 Not Found: NoSuchBucket: No bucket."
        );
        assert_eq!(plain("what is in the bucket in 2s: : "), "what is in the bucket");
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_dropped() {
        let service = tower::service_fn(|_: axum::http::Request<kube::client::Body>| async {
            Err::<axum::http::Response<kube::client::Body>, _>(std::io::Error::other("nobody is asked"))
        });
        let client = Client::new(service, "field");
        let (caches, _never_filled) = Caches::new(&client, &crate::cache::Scope::Cluster);
        let (_, leading) = tokio::sync::watch::channel(true);
        let world = World {
            cluster: Uuid::nil(),
            restarts_in_place: false,
            leading,
            faults: Arc::new(crate::act::NoFaults),
            metrics: Arc::new(Metrics::new()),
            memory: varve_store::Caches::default(),
            outside: Outside::default(),
        };
        let stores = Stores::new(client, caches, Allowed::default(), &world);
        let begun = Instant::now();
        let slot = stores.slot("field", "varve-store", begun);
        assert!(Arc::ptr_eq(&slot, &stores.slot("field", "varve-store", begun + IDLE / 2)));
        stores.slot("lab", "varve-store", begun + IDLE);
        assert!(Arc::ptr_eq(&slot, &stores.slot("field", "varve-store", begun + IDLE)));
        stores.slot("lab", "varve-store", begun + IDLE * 3);
        assert!(!Arc::ptr_eq(&slot, &stores.slot("field", "varve-store", begun + IDLE * 3)));
    }

    #[test]
    fn ids_are_left_out_of_what_may_pass_and_kept_in_what_is_damaged() {
        let key = "v1/data/5f/0192f0c1-2345-7abc-8def-0123456789ab";
        let passing =
            varve_store::Error::Unreachable { doing: format!("write {key}"), what: "connection refused".into() };
        assert_eq!(without_ids(&format!("write {key}: connection refused")), "write v1/data/…: connection refused");
        assert!(!told(&passing.to_string(), &passing).contains("0192f0c1"));
        let damaged = varve_store::Error::ObjectMissing { key: key.to_owned() };
        assert!(told(&damaged.to_string(), &damaged).contains(key));
    }

    #[test]
    fn a_store_s_refusal_names_the_secret_and_the_remedy() {
        let error =
            varve_store::Error::AccessDenied { doing: "read v1/store.json".into(), what: "InvalidAccessKeyId".into() };
        let Error::Told { reason, message, retry } = about("bucket-a", &error) else { panic!("must be told") };
        assert_eq!((reason, retry), (Reason::StoreUnauthorized, Retry::WhenChanged));
        assert!(message.contains("Secret bucket-a") && message.contains("InvalidAccessKeyId"));
        assert!(message.contains("correct the credentials"));
    }

    #[test]
    fn each_refusal_of_a_store_has_its_reason_and_its_remedy() {
        use varve_store::Error as E;
        let (doing, what) = ("write v1/store.json".to_owned(), "507 Insufficient Storage".to_owned());
        let cases = [
            (E::Throttled { doing: doing.clone(), what: what.clone() }, Reason::StoreThrottled, "run less at once"),
            (E::Full { doing: doing.clone(), what: what.clone() }, Reason::StoreFull, "make room there"),
            (E::ClockSkewed { doing: doing.clone(), what }, Reason::StoreClockSkewed, "set the clocks right"),
            (
                E::Unreachable { doing, what: "invalid peer certificate: UnknownIssuer".into() },
                Reason::StoreUnreachable,
                "into key ca.crt",
            ),
        ];
        for (error, wanted, remedy) in cases {
            // Of a Secret that is being opened, and in the middle of work.
            let Error::Told { reason, message, retry } = about("bucket-a", &error) else { panic!("must be told") };
            assert_eq!((reason, retry), (wanted, Retry::Backoff), "{message}");
            assert!(message.contains("Secret bucket-a") && message.contains(remedy), "{message}");
            let (state, reason, message) = crate::repo::tell(&Error::store("record a commit")(error));
            assert_eq!((state, reason), (State::Reconciling, wanted), "{message}");
            assert!(message.starts_with("record a commit: write ") && message.contains(remedy), "{message}");
        }
    }
}
