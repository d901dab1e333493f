//! The reasons of conditions: one closed set, each with what it means and what to do.
//!
//! `docs/reference/conditions.md` is written from here. A condition's message says the same of the case at hand, with
//! its names; the remedy here is the general one.

use std::fmt;

macro_rules! reasons {
    ($($group:literal { $($(#[doc = $doc:literal])+ $name:ident $(=> $remedy:literal)?,)+ })+) => {
        /// Why a condition is as it is: the one closed set, for conditions, Events and logs alike.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($($(#[doc = $doc])+ $name,)+)+ }

        impl Reason {
            /// Every reason, by what it is about.
            pub const GROUPS: &'static [(&'static str, &'static [Self])] = &[$(($group, &[$(Self::$name,)+]),)+];

            /// Every reason.
            pub fn all() -> impl Iterator<Item = Self> {
                Self::GROUPS.iter().flat_map(|(_, reasons)| reasons.iter().copied())
            }

            /// As it stands in `status.conditions[].reason`.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)+)+ }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$name => concat!($($doc,)+).trim_ascii(),)+)+ }
            }

            /// What to do, where there is something to do.
            pub fn remedy(self) -> Option<&'static str> {
                match self { $($(Self::$name => [$($remedy)?].first().copied(),)+)+ }
            }
        }
    };
}

reasons! {
    "Any kind" {
        /// All is as wanted.
        Ready,
        /// Work is going on.
        Progressing,
        /// The Kubernetes API refused or failed a call; it is tried again.
        ApiError => "Nothing, if it passes. If it stays: the message has the API server's own words.",
        /// A fault in Varve itself.
        InternalError => "Report it, with the operator's log.",
    }
    "The store of a Repo" {
        /// The store's Secret is not there.
        StoreSecretMissing => "Create it, with the key `url`, the store's credentials and the label `varve.dev/store`.",
        /// The store's Secret lacks the label `varve.dev/store`.
        StoreSecretNotLabelled => "If it is meant for a store, label it: `kubectl label secret NAME varve.dev/store=true`.",
        /// The store's Secret says something that can't be right.
        StoreConfigInvalid => "Correct the key of the Secret that the message names.",
        /// The store refuses the credentials in its Secret.
        StoreUnauthorized => "Correct the credentials in the Secret, or what they may do with the bucket.",
        /// The bucket is not there.
        StoreBucketMissing => "Make the bucket, or correct `url` in the Secret.",
        /// The store does not answer, or fails; it is tried again.
        StoreUnreachable => "Nothing, if it passes. If it stays: check `url` and the network between cluster and store.",
        /// The store asks for fewer requests than come; what was refused is tried again, later and later.
        StoreThrottled => "Nothing, if it passes. If it stays: have the store's limit raised, or run less at once (a Pipeline's `parallelism`).",
        /// The store has no room left, or what its owner grants is used up; what was refused is tried again.
        StoreFull => "Make room in the store, or have its quota raised. What is recorded stays, and work goes on by itself.",
        /// The store refuses requests because its clock and ours differ too much.
        StoreClockSkewed => "Set the clocks right, of the cluster's nodes and of the store's machine (NTP). It heals by itself then.",
        /// The store belongs to another cluster or namespace.
        StoreOwnedElsewhere => "Use another prefix; or, if the owner is gone for good, paste the id that the message names as `adopt` into the Secret.",
        /// An object in the store is damaged or lacks.
        StoreCorrupt => "Restore the object that the message names from a backup of the bucket.",
        /// The store was written by a version of Varve with features that this one doesn't know.
        StoreTooNew => "Run the version of Varve that wrote it, or a newer one.",
        /// The Repos of one Pipeline or copy lie in different stores.
        StoresDiffer => "Read and write Repos of one store, or copy by way of a bucket: `put.objectStore`.",
    }
    "Repos, and references to them and to Commits" {
        /// The store holds another history of the branch than `status`.
        HeadDiverged => "Nothing is changed until a person has decided: the message says what differs. Restore the right one from a backup.",
        /// The objects of a branch's head are not in the store.
        HeadMissing => "Restore the objects from a backup of the bucket, or pin the branch to an earlier Commit.",
        /// What a pinned head names is not there.
        PinNotFound => "Correct `spec.branches[].head`. It heals by itself when the Commit appears.",
        /// The Repo is not there.
        RepoNotFound => "Create the Repo, or correct its name. It heals by itself when the Repo appears.",
        /// The Repo is there but not ready.
        RepoNotReady => "See the Repo's own conditions.",
        /// The Commit is not there.
        CommitNotFound => "Correct the reference. It heals by itself when the Commit appears.",
        /// The Commit that is referred to is not ready yet.
        CommitNotReady => "Wait for it.",
        /// The Commit that is referred to has failed.
        CommitFailed => "See that Commit's own conditions.",
    }
    "Commits" {
        /// The Commit is on its branch.
        Committed,
        /// A pod is fetching what the Commit puts.
        Importing,
        /// The store knows another Commit by this name, with another spec.
        NameTaken => "Give the Commit another name.",
        /// The branch is a Pipeline's output: only its Jobs may commit to it.
        OutputBranch => "Commit to another branch.",
        /// The branch is pinned by its Repo's spec.
        BranchPinned => "Take the branch's entry out of the Repo's `spec.branches`, or commit to another branch.",
        /// The Repo has as many branches as a Repo may have, and this would be one more.
        TooManyBranches => "Commit to a branch that is there, or to another Repo.",
        /// The Commit named as parent is not at the head of the branch.
        ParentNotHead => "Look at what is there now, and make a Commit with that as its parent.",
        /// The Commit named as parent is not there.
        ParentNotFound => "Make a Commit whose parent is there.",
        /// A path that is to be copied or deleted is not there.
        PathNotFound => "Make a Commit with a path that is there.",
        /// A path breaks the rules for paths.
        InvalidPath => "Make a Commit with another path; the message says what is wrong with this one.",
        /// A glob can't be understood.
        GlobInvalid => "Correct the glob; the message says what is wrong with it.",
        /// What is to be committed is larger than may be.
        TooLarge => "Commit it in smaller parts.",
        /// One path would be a file and a directory.
        FileAndDirectory => "Delete what is in the way first, or choose another path.",
        /// The ConfigMap is not there.
        ConfigMapNotFound => "Create the ConfigMap. It heals by itself when it appears.",
        /// The ConfigMap has no such key.
        ConfigMapKeyNotFound => "Put the key into the ConfigMap, or name another. It heals by itself.",
        /// The Secret to import with is not there.
        ImportSecretMissing => "Create the Secret. It heals by itself when it appears.",
        /// The Secret to import with lacks the label `varve.dev/import: "true"`.
        ImportSecretNotLabelled => "If Commits may import with it, label it: `kubectl label secret NAME varve.dev/import=true`.",
        /// What was to be fetched could not be.
        ImportFailed => "See what the message says of the source, and make another Commit.",
        /// The uploaded tree is not what it says, or breaks the format.
        TreeInvalid => "Upload the tree again.",
    }
    "Images of Pipelines" {
        /// The image is known by the digest of its configuration.
        Resolved,
        /// The registry has no such image.
        ImageNotFound => "Correct the reference, or push the image.",
        /// The registry wants credentials, or other ones.
        ImageUnauthorized => "Name a pull secret in `pod.imagePullSecrets`, or on the pods' ServiceAccount.",
        /// `varve dev` runs commands on its machine, with what is installed there, and no image.
        ImageNotUsed => "Nothing; or choose another `--runner`, which needs a container engine.",
        /// The registry does not answer; it is tried again.
        ImageUnreachable => "Nothing, if it passes. If it stays: check the registry's name and the network to it.",
        /// The reference can't be understood, or the image breaks the format of images.
        ImageInvalid => "Correct the reference, or push a valid image.",
        /// The image has no variant for the cluster's platform.
        ImagePlatformMissing => "Push the image for that platform too.",
        /// Nothing says what to run: the image's configuration can't be read, or has no entrypoint, and there is no command.
        ImageEntrypointUnknown => "Set `container.command`.",
    }
    "Pipelines" {
        /// The output stands for the newest inputs.
        UpToDate,
        /// There is nothing to run before an input has a Commit, or a new one.
        WaitingForInput => "Commit something to that input.",
        /// A Job is running.
        JobRunning,
        /// The newest Job has failed.
        JobFailed => "See the Job: `kubectl describe vjob NAME`.",
        /// `suspend` is set.
        Suspended => "Set `suspend` to false when it shall go on.",
        /// `suspend` is not set.
        NotSuspended,
        /// The inputs combine each other in a circle, or Pipelines feed each other in one.
        InputCycle => "Correct `cross` and `union` of the inputs that the message names, or let one of the Pipelines read something else.",
        /// The inputs can't be combined like that.
        InputInvalid => "Correct the inputs; the message says what is wrong with them.",
        /// An input is the Pipeline's own output, or comes from it.
        InputIsOutput => "Write to another Repo or branch, or read another.",
        /// Another, older Pipeline writes to the output branch.
        OutputTaken => "Write to another Repo or branch, or delete the older Pipeline.",
        /// Two inputs of one datum are seen in the same folder.
        MountTaken => "Give one of the inputs another `as`.",
        /// A Secret that the Pipeline names is not there.
        SecretNotFound => "Create the Secret. It heals by itself when it appears.",
        /// A Secret that the Pipeline names is a store's.
        SecretForbidden => "Use another Secret: no Pipeline may see a store's credentials.",
        /// The pod as the Pipeline wants it may not be.
        PodForbidden => "Correct the field that the message names.",
        /// `pod.overlay` says something that it may not.
        OverlayForbidden => "Take out what the message names; docs/reference/overlay.md lists what may be there.",
    }
    "Jobs" {
        /// Pods are at work.
        Running,
        /// The Job has ended well.
        Succeeded,
        /// The Job has ended well; an input's glob matches nothing, so the output is empty.
        GlobMatchesNothing => "If that is not meant, correct the input's `glob`.",
        /// Datums have failed.
        DatumsFailed => "See `status.firstFailures`; correct the code or the input. What is done is not done again.",
        /// A datum's key is longer than 8,127 bytes.
        DatumKeyTooLong => "Use shorter paths, or fewer inputs in one cross.",
        /// There are more datums than `datum.limit`.
        TooManyDatums => "Correct the cross, or raise `datum.limit`.",
        /// Two datums write one path.
        OutputConflict => "Let each datum write to paths of its own.",
        /// The Job took longer than `timeoutSeconds`.
        TimedOut => "Raise `timeoutSeconds`, or find out what takes so long. What is done is not done again.",
        /// `cancel` was set.
        Canceled,
        /// Pods find no node.
        Unschedulable => "See what the message says of the nodes: ask for less, tolerate more, or add a node.",
        /// Pods can't get their image.
        ImagePullFailed => "See the message; correct the reference or the pull secrets.",
        /// Pods can't be made, or can't start.
        PodsCannotStart => "See the message: it names what refuses the pods, and who can change it.",
        /// Pods of a Job ran another image than the Pipeline's, under one reference.
        ImageMismatch => "Use a registry that the operator can ask, or a name under which all nodes have the same; then delete the Job.",
        /// A shard can't go on.
        ShardFailed => "See the message; if it is no fault of the Pipeline, report it with the keeper's log.",
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words_that_the_schema_allows_and_explained_in_sentences() {
        for reason in Reason::GROUPS.iter().flat_map(|(_, reasons)| *reasons) {
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
            assert!(reason.meaning().ends_with('.'), "{reason}");
            assert!(reason.remedy().is_none_or(|text| text.ends_with(['.', '`'])), "{reason}");
        }
    }
}
