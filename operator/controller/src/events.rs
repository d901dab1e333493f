//! Events: what `kubectl describe` and `kubectl events` tell of an object's life, one for each change of its standing.
//!
//! They are for people. Nobody waits for one, nothing fails for one, and one that cannot be written is logged and gone.

use std::{sync::Arc, time::Duration};

use kube::{
    Client, Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::Value;
use tokio::sync::Semaphore;

/// Who tells, as `kubectl describe` shows it.
const CONTROLLER: &str = "varve";
/// Events under way at a time; beyond it they are dropped.
const AT_ONCE: usize = 16;
/// The API server's limit on a note.
const MAX_NOTE_BYTES: usize = 1024;
/// Longest that one may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes Events.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
    room: Arc<Semaphore>,
}

/// What an object's conditions come to, in the words of one of them.
#[derive(Debug, PartialEq, Eq)]
struct Standing<'a> {
    is_stalled: bool,
    reason: &'a str,
    message: &'a str,
}

impl Events {
    /// Writes by `client`, under the name of this replica.
    pub(crate) fn new(client: Client) -> Self {
        let instance = std::env::var("HOSTNAME").ok();
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Tells that the status of `object` went from `before` to `after`, where that changes its standing.
    pub(crate) fn tell<K>(&self, object: &K, before: &Value, after: &Value)
    where
        K: Resource<DynamicType = ()>,
    {
        let Some(now) = standing(after) else { return };
        if standing(before).is_some_and(|old| (old.is_stalled, old.reason) == (now.is_stalled, now.reason)) {
            return;
        }
        let Ok(permit) = self.room.clone().try_acquire_owned() else { return };
        let event = Event {
            type_: if now.is_stalled { EventType::Warning } else { EventType::Normal },
            reason: now.reason.to_owned(),
            note: Some(cut(now.message).to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let (recorder, regarding) = (self.recorder.clone(), object.object_ref(&()));
        let name = object.name_any();
        tokio::spawn(async move {
            match tokio::time::timeout(TIMEOUT, recorder.publish(&event, &regarding)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(name, %error, "an Event could not be written"),
                Err(_) => tracing::debug!(name, "an Event took too long"),
            }
            drop(permit);
        });
    }
}

fn standing(status: &Value) -> Option<Standing<'_>> {
    let conditions = status["conditions"].as_array()?;
    let of = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    let stalled = of("Stalled").filter(|condition| condition["status"] == "True");
    let told = stalled.or_else(|| of("Ready"))?;
    let text = |key: &str| told[key].as_str().unwrap_or_default();
    Some(Standing { is_stalled: stalled.is_some(), reason: text("reason"), message: text("message") })
}

/// As much of a message as a note may hold.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_NOTE_BYTES)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_keeps_an_object_from_going_on_is_told_before_that_it_is_not_ready() {
        let condition =
            |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason});
        let status = json!({"conditions": [
            condition("Ready", "False", "Waiting"), condition("Stalled", "True", "RepoNotFound"),
        ]});
        let told = standing(&status).unwrap();
        assert_eq!((told.is_stalled, told.reason), (true, "RepoNotFound"));
        let status = json!({"conditions": [
            condition("Ready", "True", "Succeeded"), condition("Stalled", "False", "Succeeded"),
        ]});
        assert_eq!(standing(&status).map(|told| (told.is_stalled, told.reason)), Some((false, "Succeeded")));
        assert_eq!(standing(&json!({})), None);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = format!("{}é", "a".repeat(MAX_NOTE_BYTES - 1));
        assert_eq!(cut(&message).len(), MAX_NOTE_BYTES - 1);
    }
}
