//! Conditions: their types, the closed set of their reasons, and how they are put together.
//!
//! Every kind has `Ready`, `Reconciling` and `Stalled` as [kstatus] defines them, so that `kubectl wait`, Flux
//! and Argo CD understand it. All three are always written, so that a status reads the same from any of them.
//!
//! [kstatus]: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

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

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition is as it is: the one closed set, for conditions, Events, logs and metrics alike.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it stands in `status.conditions[].reason`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, for the reference page.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    // All kinds
    /// All is as wanted.
    Ready,
    /// Work is going on.
    Progressing,
    /// The object is being deleted.
    Deleting,
    /// The Kubernetes API refused or failed a call; it is tried again.
    ApiError,
    /// A fault in Varve itself.
    InternalError,

    // Stores
    /// The store's Secret is not there.
    StoreSecretMissing,
    /// The store's Secret lacks the label `varve.dev/store`.
    StoreSecretNotLabelled,
    /// The store's Secret says something that can't be right.
    StoreConfigInvalid,
    /// The store refuses the credentials in its Secret.
    StoreUnauthorized,
    /// The bucket is not there.
    StoreBucketMissing,
    /// The store does not answer, or fails; it is tried again.
    StoreUnreachable,
    /// The store belongs to another cluster or namespace.
    StoreOwnedElsewhere,
    /// An object in the store is damaged or lacks.
    StoreCorrupt,
    /// The store was written by a version of Varve with features that this one doesn't know.
    StoreTooNew,
    /// The Repos of one Pipeline or copy lie in different stores.
    StoresDiffer,

    // Repos and references
    /// The store holds another history of the branch than `status`.
    HeadDiverged,
    /// The objects of a branch's head are not in the store.
    HeadMissing,
    /// What a pinned head names is not there.
    PinNotFound,
    /// The Repo is not there.
    RepoNotFound,
    /// The Repo is there but not ready.
    RepoNotReady,
    /// The branch is not there.
    BranchNotFound,
    /// The Commit is not there.
    CommitNotFound,
    /// The Commit that is referred to is not ready yet.
    CommitNotReady,
    /// The Commit that is referred to has failed.
    CommitFailed,
    /// Something of the Repo can't be told yet: the retention or history is being worked off.
    Pruning,

    // Commits
    /// The Commit is on its branch.
    Committed,
    /// A pod is fetching what the Commit puts.
    Importing,
    /// The Commit waits for the one before it on its branch.
    Waiting,
    /// The store knows another Commit by this name, with another spec.
    NameTaken,
    /// The branch is a Pipeline's output: only its Jobs may commit to it.
    OutputBranch,
    /// The branch is pinned by its Repo's spec.
    BranchPinned,
    /// The Repo has as many branches as a Repo may have, and this would be one more.
    TooManyBranches,
    /// The Commit named as parent is not at the head of the branch.
    ParentNotHead,
    /// The Commit named as parent is not there.
    ParentNotFound,
    /// A path that is to be copied or deleted is not there.
    PathNotFound,
    /// A path breaks the rules for paths.
    InvalidPath,
    /// A glob can't be understood.
    GlobInvalid,
    /// What is to be committed is larger than may be.
    TooLarge,
    /// One path would be a file and a directory.
    FileAndDirectory,
    /// The ConfigMap is not there.
    ConfigMapNotFound,
    /// The ConfigMap has no such key.
    ConfigMapKeyNotFound,
    /// The Secret to import with is not there.
    ImportSecretMissing,
    /// The Secret to import with lacks the label `varve.dev/import: "true"`.
    ImportSecretNotLabelled,
    /// What was to be fetched could not be.
    ImportFailed,
    /// The uploaded tree is not what it says, or breaks the format.
    TreeInvalid,

    // Images
    /// The image is known by the digest of its configuration.
    Resolved,
    /// The registry has no such image.
    ImageNotFound,
    /// The registry wants credentials, or other ones.
    ImageUnauthorized,
    /// The registry does not answer; it is tried again.
    ImageUnreachable,
    /// The reference can't be understood, or the image breaks the format of images.
    ImageInvalid,
    /// The image has no variant for the cluster's platform.
    ImagePlatformMissing,
    /// Nothing says what to run: the image's configuration can't be read, or has no entrypoint, and there is no command.
    ImageEntrypointUnknown,

    // Pipelines
    /// The output stands for the newest inputs.
    UpToDate,
    /// There is nothing to run before an input has a Commit, or a new one.
    WaitingForInput,
    /// A Job is running.
    JobRunning,
    /// The newest Job has failed.
    JobFailed,
    /// `suspend` is set.
    Suspended,
    /// `suspend` is not set.
    NotSuspended,
    /// The inputs combine each other in a circle, or Pipelines feed each other in one.
    InputCycle,
    /// The inputs can't be combined like that.
    InputInvalid,
    /// An input is the Pipeline's own output, or comes from it.
    InputIsOutput,
    /// Another, older Pipeline writes to the output branch.
    OutputTaken,
    /// Two inputs of one datum are seen in the same folder.
    MountTaken,
    /// A Secret that the Pipeline names is not there.
    SecretNotFound,
    /// A Secret that the Pipeline names is a store's.
    SecretForbidden,
    /// The pod as the Pipeline wants it may not be.
    PodForbidden,

    // Jobs
    /// The Job waits for another of its Pipeline.
    Queued,
    /// The inputs are compared with those of the last result.
    Planning,
    /// Pods are at work.
    Running,
    /// The datums' outputs are put together.
    Merging,
    /// The output Commit is being made.
    Publishing,
    /// The Job has ended well.
    Succeeded,
    /// The Job has ended well; an input's glob matches nothing, so the output is empty.
    GlobMatchesNothing,
    /// Datums have failed.
    DatumsFailed,
    /// A datum's key is longer than 8,127 bytes.
    DatumKeyTooLong,
    /// There are more datums than `datum.limit`.
    TooManyDatums,
    /// Two datums write one path.
    OutputConflict,
    /// The Job took longer than `timeoutSeconds`.
    TimedOut,
    /// `cancel` was set.
    Canceled,
    /// Pods find no node.
    Unschedulable,
    /// Pods can't get their image.
    ImagePullFailed,
    /// Pods can't be made, or can't start.
    PodsCannotStart,
    /// Pods of one Job ran different images under one reference.
    ImageMismatch,
    /// A shard can't go on.
    ShardFailed,
    /// The Pipeline was deleted, or its inputs were.
    Orphaned,
}

impl fmt::Display for Reason {
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

/// Puts a condition in place of the one of its type, keeping the transition time where its status is the same.
pub fn set(conditions: &mut Vec<Condition>, mut condition: Condition) {
    keep_times(std::slice::from_mut(&mut condition), conditions);
    match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

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
        let mut conditions = vec![condition(Type::Ready, false, Reason::Planning, "planning", 1, at(1))];
        set(&mut conditions, condition(Type::Ready, false, Reason::Running, "running", 1, at(2)));
        set(&mut conditions, condition(Type::Ready, true, Reason::Succeeded, "done", 1, at(3)));
        set(&mut conditions, condition(Type::Succeeded, true, Reason::Succeeded, "done", 1, at(4)));
        let times: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.last_transition_time.0)).collect();
        assert_eq!(times, [("Ready", at(3)), ("Succeeded", at(4))]);
    }

    #[test]
    fn reasons_are_words_that_the_schema_allows() {
        for reason in Reason::ALL {
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
            assert!(reason.meaning().ends_with('.'), "{reason}");
        }
    }
}
