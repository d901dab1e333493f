//! Labels and annotations that the operator sets or reads.

/// The Pipeline that an object belongs to.
pub const PIPELINE: &str = "varve.dev/pipeline";
/// The Job that an object belongs to.
pub const JOB: &str = "varve.dev/job";
/// The Repo that an object belongs to.
pub const REPO: &str = "varve.dev/repo";
/// The branch that an object belongs to.
pub const BRANCH: &str = "varve.dev/branch";
/// The Pipeline whose image a pod asks a node about. Not [`PIPELINE`], which counts the pods at work.
pub const PROBE: &str = "varve.dev/probe";
/// The run that an object belongs to: the uid of its source Commit.
pub const RUN: &str = "varve.dev/run";
/// The Commit that an object belongs to.
pub const COMMIT: &str = "varve.dev/commit";

/// On a Secret: it names an object store. No Pipeline may refer to such a Secret.
pub const STORE: &str = "varve.dev/store";
/// On a Secret, with the value `true`: Commits of its namespace may import with it.
pub const IMPORT: &str = "varve.dev/import";

/// The annotation on a Pipeline whose change makes its image be looked up again.
pub const RESOLVE_IMAGE: &str = "varve.dev/resolve-image";
/// The annotation on a Repo that names a folder, whose files `varve dev` commits whenever they change.
pub const FOLDER: &str = "varve.dev/folder";
/// The annotation on a batch Job's pods that names the plan in force.
pub const PLAN: &str = "varve.dev/plan";
/// The annotation on a batch Job that says which attempt of its Job it is.
pub const ATTEMPT: &str = "varve.dev/attempt";
/// The annotation on a Job's copy of a ConfigMap that names the original.
pub const COPY_OF: &str = "varve.dev/copy-of";
/// The annotation on a Job's copy of a ConfigMap that wasn't there.
pub const COPY_OF_NOTHING: &str = "varve.dev/copy-of-nothing";

/// Kubernetes' own label for who manages an object; ours is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on objects that the operator makes.
pub const MANAGER: &str = "varve";
/// Selects every batch Job and pod that the operator makes, so that one watch covers them all.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=varve";
