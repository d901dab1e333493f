//! Conditions: their types, the closed set of their reasons, and how they are put together.
//!
//! Every kind has `Ready`, `Reconciling` and `Stalled` as [kstatus] defines them, so that `kubectl wait`, Flux
//! and Argo CD understand it. All three are always written, so that a status reads the same from any of them.
//!
//! [kstatus]: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

mod reason;

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use reason::Reason;

/// The types of condition that Varve writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// It is as wanted.
    Ready,
    /// The operator is bringing it there.
    Reconciling,
    /// The operator can't bring it there without a change from outside.
    Stalled,
    /// Commit and Job: it has ended well (`True`) or badly (`False`).
    Succeeded,
    /// Pipeline: no new Jobs are made.
    Suspended,
    /// Pipeline: the image is known by its content.
    ImagePinned,
}

impl Type {
    /// As it stands in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Succeeded => "Succeeded",
            Self::Suspended => "Suspended",
            Self::ImagePinned => "ImagePinned",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an object stands, in kstatus's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `Ready=True`: as wanted.
    Ready,
    /// `Reconciling=True`: on the way, or waiting for something that is expected to come.
    Reconciling,
    /// `Stalled=True`: not without a change from outside.
    Stalled,
}

/// The three conditions of kstatus for an object that stands so.
pub fn standing(state: State, reason: Reason, message: &str, generation: i64, now: Timestamp) -> Vec<Condition> {
    [(Type::Ready, State::Ready), (Type::Reconciling, State::Reconciling), (Type::Stalled, State::Stalled)]
        .into_iter()
        .map(|(r#type, when)| condition(r#type, state == when, reason, message, generation, now))
        .collect()
}

/// One condition.
pub fn condition(
    r#type: Type,
    holds: bool,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: r#type.as_str().into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: reason.as_str().into(),
        message: message.into(),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    }
}

/// Gives each new condition the old one's transition time where its status is the same, so that an unchanged
/// state compares equal and is not written again.
pub fn keep_times(new: &mut [Condition], old: &[Condition]) {
    for condition in new {
        if let Some(before) = find(old, &condition.type_).filter(|b| b.status == condition.status) {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}

/// An object whose status has conditions.
pub trait HasConditions {
    /// Its conditions; none before the operator has seen it.
    fn conditions(&self) -> &[Condition];
}

macro_rules! has_conditions {
    ($($kind:ty),*) => {
        $(impl HasConditions for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        })*
    };
}

has_conditions!(crate::Repo, crate::Commit, crate::Pipeline, crate::Job);

/// The condition of this type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == r#type)
}

/// Whether the condition of this type is there and holds.
pub fn holds(conditions: &[Condition], r#type: Type) -> bool {
    find(conditions, r#type.as_str()).is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds")
    }

    #[test]
    fn exactly_one_of_the_three_conditions_holds() {
        for state in [State::Ready, State::Reconciling, State::Stalled] {
            let all = standing(state, Reason::Progressing, "message", 3, at(1));
            assert_eq!(all.iter().filter(|c| c.status == "True").count(), 1, "{state:?}");
        }
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let old = standing(State::Reconciling, Reason::Progressing, "at work", 1, at(1));
        let mut same = standing(State::Reconciling, Reason::Running, "still at work", 1, at(2));
        keep_times(&mut same, &old);
        assert!(same.iter().all(|condition| condition.last_transition_time.0 == at(1)));
        let mut done = standing(State::Ready, Reason::Succeeded, "done", 1, at(3));
        done.push(condition(Type::Succeeded, true, Reason::Succeeded, "done", 1, at(3)));
        keep_times(&mut done, &same);
        let times: Vec<_> = done.iter().map(|c| (c.type_.as_str(), c.last_transition_time.0)).collect();
        assert_eq!(times, [("Ready", at(3)), ("Reconciling", at(3)), ("Stalled", at(1)), ("Succeeded", at(3))]);
    }
}
