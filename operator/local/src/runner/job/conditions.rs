//! A Job's conditions, and how it ends: first announced while its pods stop, then settled. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Type, reason and message of a condition.
type Words<'a> = (&'a str, &'a str, &'a str);

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Every index has succeeded.
    Complete,
    /// It has failed.
    Failed {
        /// As `PodFailurePolicy`.
        reason: String,
        /// The sentence.
        message: String,
    },
}

impl End {
    pub(crate) fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self::Failed { reason: reason.to_owned(), message: message.into() }
    }

    /// The end that is announced and not settled.
    pub(crate) fn announced(status: &JobStatus) -> Option<Self> {
        if has(status, "SuccessCriteriaMet") {
            return Some(Self::Complete);
        }
        let target = find(status, "FailureTarget")?;
        Some(Self::failed(target.reason.as_deref().unwrap_or_default(), target.message.clone().unwrap_or_default()))
    }

    /// When the Job ended, if it has.
    pub(crate) fn at(status: &JobStatus) -> Option<Timestamp> {
        let settled = find(status, "Complete").or_else(|| find(status, "Failed"))?;
        settled.last_transition_time.as_ref().map(|time| time.0)
    }

    /// Says that the Job will end so once its pods have.
    pub(crate) fn announce(&self, status: &mut JobStatus, now: &Time) {
        match self {
            Self::Complete => set(status, complete("SuccessCriteriaMet"), now),
            Self::Failed { reason, message } => set(status, ("FailureTarget", reason, message), now),
        }
    }

    /// Says that it has.
    pub(crate) fn settle(&self, status: &mut JobStatus, now: &Time) {
        match self {
            Self::Complete => {
                set(status, complete("Complete"), now);
                status.completion_time.get_or_insert_with(|| now.clone());
            }
            Self::Failed { reason, message } => set(status, ("Failed", reason, message), now),
        }
    }
}

fn complete(type_: &str) -> Words<'_> {
    (type_, "CompletionsReached", "Reached expected number of succeeded pods")
}

/// Whether a condition holds.
pub(crate) fn has(status: &JobStatus, type_: &str) -> bool {
    find(status, type_).is_some()
}

fn find<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Makes a condition hold.
pub(crate) fn set(status: &mut JobStatus, words: Words<'_>, now: &Time) {
    put(status, words, "True", now);
}

/// Makes a condition hold no longer, if it ever did.
pub(crate) fn unset(status: &mut JobStatus, words: Words<'_>, now: &Time) {
    if has(status, words.0) {
        put(status, words, "False", now);
    }
}

fn put(status: &mut JobStatus, (type_, reason, message): Words<'_>, holds: &str, now: &Time) {
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == holds) {
        return;
    }
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.to_owned(),
        status: holds.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    });
}
