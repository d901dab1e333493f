//! The one way by which a status is written: compared first, then one server-side apply per concern.
//!
//! A concern is a field manager and the top-level fields of `status` that are its own. Fields of others
//! (a Repo's heads above all) are neither compared nor sent. Since a cache lags behind our own writes,
//! what was last sent is remembered, and not sent again while the cache has not caught up.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use varve_api::conditions;

use crate::{
    act::Act,
    error::{Error, Result},
    events::Events,
    memory::Memory,
};

/// Sent statuses remembered at most. An entry lives from a write until the cache shows it; to lose one costs at most a
/// superfluous write.
const REMEMBERED: usize = 10_000;

/// Who writes which part of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concern {
    /// The field manager.
    pub manager: &'static str,
    /// Its top-level fields; `None`: all of them.
    pub fields: Option<&'static [&'static str]>,
}

impl Concern {
    /// Everything in a status but what others own: the usual case of one writer.
    pub const fn whole(manager: &'static str) -> Self {
        Self { manager, fields: None }
    }
}

#[derive(Clone)]
struct Sent {
    status: Value,
    /// Of the object as it was written; where the answer was lost, the least that it can have.
    version: Option<u64>,
    /// Whether there was an answer. Without, it may or may not stand there.
    is_answered: bool,
}

/// Compares, then writes.
pub struct StatusWriter {
    act: Act,
    events: Events,
    sent: Memory<(String, &'static str), Sent, REMEMBERED>,
}

impl StatusWriter {
    /// A writer that writes by `act`, and tells changes of standing by `events`.
    pub(crate) fn new(act: Act, events: Events) -> Self {
        Self { act, events, sent: Memory::default() }
    }

    /// Makes the fields of `concern` in the status of `object` be `status`. Answers with the object as
    /// the server then holds it, or `None` where nothing had to be written.
    pub async fn write<K>(&self, concern: Concern, object: &K, status: &impl Serialize) -> Result<Option<K>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let mut wanted = fields(status, concern)?;
        let version = version(object);
        let key = (object.uid().unwrap_or_default(), concern.manager);
        // Once the cache has caught up it is the truth again.
        let last = self.sent.get_unless(&key, |last| last.version <= version);
        let before = match &last {
            Some(last) => {
                keep_times(&mut wanted, &last.status)?; // it was computed from what the cache shows
                last.status.clone()
            }
            None => fields(&current(object)?, concern)?,
        };
        if before == wanted && last.as_ref().is_none_or(|last| last.is_answered) {
            return Ok(None);
        }
        if last.is_some() && has_succeeded(&before) && !has_succeeded(&wanted) {
            return Ok(None); // it was told to have ended well: somebody looks at what the cache shows of an earlier day
        }
        match self.act.apply_status(concern.manager, object, &wanted).await {
            Ok(written) => {
                self.events.tell(object, &before, &wanted);
                self.sent.insert(key, Sent { status: wanted, version: self::version(&written), is_answered: true });
                Ok(Some(written))
            }
            Err(error) => {
                if error.is_ambiguous() {
                    let version = version.map(|version| version + 1);
                    self.sent.insert(key, Sent { status: wanted, version, is_answered: false });
                }
                Err(error)
            }
        }
    }
}

/// Whether a status says that what was asked for is done.
fn has_succeeded(status: &Value) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Succeeded" && condition["status"] == "True")
}

/// The resource version as the number that it is (Kubernetes declares them comparable).
pub(crate) fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// Gives conditions the times of those sent before whose status is the same.
fn keep_times(wanted: &mut Value, sent: &Value) -> Result<()> {
    let bug = |error: serde_json::Error| Error::Bug(error.to_string());
    let (Some(new), Some(old)) = (wanted.get_mut("conditions"), sent.get("conditions")) else { return Ok(()) };
    let mut conditions: Vec<Condition> = serde_json::from_value(new.take()).map_err(bug)?;
    conditions::keep_times(&mut conditions, &Vec::deserialize(old).map_err(bug)?);
    *new = serde_json::to_value(conditions).map_err(bug)?;
    Ok(())
}

fn current<K: Serialize>(object: &K) -> Result<Value> {
    let mut whole = serde_json::to_value(object).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(whole.get_mut("status").map_or(Value::Object(Map::new()), Value::take))
}

/// The part of `status` that is `concern`'s, without nulls (apply would own them).
fn fields(status: &impl Serialize, concern: Concern) -> Result<Value> {
    let mut status = serde_json::to_value(status).map_err(|error| Error::Bug(error.to_string()))?;
    if let (Value::Object(map), Some(own)) = (&mut status, concern.fields) {
        map.retain(|key, _| own.contains(&key.as_str()));
    }
    drop_nulls(&mut status);
    Ok(status)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_sent_before_keeps_its_times_though_the_cache_does_not_show_it() {
        let at = |second: i64, message: &str| {
            let now = jiff::Timestamp::from_second(second).unwrap();
            let standing =
                conditions::standing(conditions::State::Reconciling, conditions::Reason::Running, message, 1, now);
            json!({ "conditions": standing, "shards": 1 })
        };
        let mut wanted = at(2, "at work");
        keep_times(&mut wanted, &at(1, "at work")).unwrap();
        assert_eq!(wanted, at(1, "at work"));
    }

    #[test]
    fn only_the_fields_of_a_concern_are_compared_and_sent() {
        let conditions = Concern { manager: "varve-repo", fields: Some(&["conditions", "uid"]) };
        let status = json!({"conditions": [{"type": "Ready", "x": null}], "uid": "u", "branches": []});
        assert_eq!(fields(&status, conditions).unwrap(), json!({"conditions": [{"type": "Ready"}], "uid": "u"}));
    }
}
