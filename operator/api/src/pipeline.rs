//! A Pipeline: a container to run over inputs, and where its output goes.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

mod inputs;
pub mod overlay;
mod pod;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use inputs::Input;
pub use pod::{Container, ContainerSecurity, Pod, PodSecurity};
pub use status::{JobCounts, LastJob, OutputHead, PipelineStatus, ResolvedImage};

use crate::schema;

/// How often a datum is tried in all, where nothing else is said.
pub const DEFAULT_TRIES: u32 = 3;

/// The most datums a Job may have, where nothing else is said: stops a cross made by mistake.
pub const DEFAULT_DATUM_LIMIT: u64 = 10_000_000;

/// The most words of a command, in a spec or an image.
pub const MAX_COMMAND_WORDS: usize = 64;
/// The most arguments.
pub const MAX_ARGS: usize = 256;
/// The most characters of one word of either.
pub const MAX_WORD: usize = 32_768;
/// How many ended Jobs stay in the API, where nothing else is said.
pub const DEFAULT_JOB_HISTORY_LIMIT: u32 = 20;

/// What to run, over what, and where the output goes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "varve.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "vpipe",
    category = "varve",
    doc = "A Pipeline runs a container over the files of its inputs whenever they change, and commits what it writes to an output Repo. What it has computed once it never computes again.",
    scale(
        spec_replicas_path = ".spec.parallelism",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True when the output is up to date with the inputs, or a Job is bringing it there."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."
    ),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.lastJob.name", description = "The newest Job."),
    printcolumn(
        name = "Result",
        type_ = "string",
        json_path = ".status.lastJob.result",
        description = "How that Job stands."
    ),
    printcolumn(
        name = "Datums",
        type_ = "integer",
        json_path = ".status.lastJob.datums",
        description = "Datums in that Job."
    ),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.replicas", description = "Pods at work."),
    printcolumn(
        name = "Updated",
        type_ = "date",
        json_path = ".status.lastJob.time",
        description = "When that Job last changed its state."
    ),
    printcolumn(
        name = "Output",
        type_ = "string",
        priority = 1,
        json_path = ".status.output.repo",
        description = "The Repo that it writes to."
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        priority = 1,
        json_path = ".spec.container.image",
        description = "The image that it runs."
    ),
    printcolumn(
        name = "Parallelism",
        type_ = "integer",
        priority = 1,
        json_path = ".spec.parallelism",
        description = "Pods that may run at a time."
    ),
    printcolumn(
        name = "Explanation",
        type_ = "string",
        priority = 1,
        json_path = ".status.explanation",
        description = "What is wrong, and what to do."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.container.image"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "self.inputs.all(i, (!has(i.cross) || !(i.name in i.cross)) && (!has(i.union) || !(i.name in i.union)))",
        "an entry of inputs may not name itself in cross or union",
    ),
    (
        "self.inputs.all(i, !has(i.cross) || i.cross.all(m, self.inputs.exists(j, j.name == m)))",
        "each name in cross must be the name of another entry of inputs",
    ),
    (
        "self.inputs.all(i, !has(i.union) || i.union.all(m, self.inputs.exists(j, j.name == m)))",
        "each name in union must be the name of another entry of inputs",
    ),
    (
        "self.inputs.all(i, self.inputs.map(j, (has(j.cross) && i.name in j.cross ? 1 : 0) + (has(j.union) && i.name in j.union ? 1 : 0)).sum() <= 1)",
        "an entry of inputs may be a member of one cross or union only: to read it twice, list it twice under two names",
    ),
    (
        "!has(self.input) || self.inputs.exists(i, i.name == self.input)",
        "input must be the name of an entry of inputs",
    ),
])))]
pub struct PipelineSpec {
    /// What is read: a flat list, in which an entry may combine others by their names.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<Input>,

    /// The entry of `inputs` that is the whole. Without it, all entries that no other one uses are crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub input: Option<String>,

    /// The container that is run for each datum: a part of a core/v1 Container.
    pub container: Container,

    /// How its pods are scheduled and set up: a part of a core/v1 PodSpec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,

    /// How many pods may work on a Job at a time. `kubectl scale` sets it too.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,

    /// How each datum is run.
    #[serde(default)]
    pub datum: DatumOptions,

    /// The most seconds that a Job may take, from its start to its last datum. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub timeout_seconds: Option<u32>,

    /// Where the output goes. Without it: to the branch `main` of the Repo of the Pipeline's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,

    /// Stops new Jobs from being made, and takes the running one's pods away. Datums that are done stay done: set
    /// back to false, the Job goes on with what is left.
    #[serde(default)]
    pub suspend: bool,

    /// How many ended Jobs stay in the Kubernetes API. Their records stay in the store.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub history_limit: u32,
}

fn default_parallelism() -> u32 {
    1
}

fn default_history_limit() -> u32 {
    DEFAULT_JOB_HISTORY_LIMIT
}

impl PipelineSpec {
    /// The Repo that a Pipeline of this name writes to.
    pub fn output_repo<'a>(&'a self, pipeline: &'a str) -> &'a str {
        self.output.as_ref().and_then(|o| o.repo.as_deref()).unwrap_or(pipeline)
    }
    /// The branch that it writes to.
    pub fn output_branch(&self) -> &str {
        self.output.as_ref().and_then(|o| o.branch.as_deref()).unwrap_or(crate::repo::DEFAULT_BRANCH)
    }
}

/// How each datum is run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatumOptions {
    /// How often a datum is tried in all before it has failed.
    #[serde(default = "default_tries")]
    #[schemars(range(min = 1, max = 100))]
    pub tries: u32,

    /// The most seconds that one try of one datum may take. Only the code's own time counts. Without it
    /// there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub timeout_seconds: Option<u32>,

    /// Exit codes, besides 0, that mean success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 1, max = 255)), extend("x-kubernetes-list-type" = "set"))]
    pub accept_exit_codes: Vec<i32>,

    /// The most datums that a Job may have: stops a cross made by mistake.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1_000_000_000_u64))]
    pub limit: u64,
}

fn default_tries() -> u32 {
    DEFAULT_TRIES
}

fn default_limit() -> u64 {
    DEFAULT_DATUM_LIMIT
}

impl Default for DatumOptions {
    fn default() -> Self {
        Self { tries: DEFAULT_TRIES, timeout_seconds: None, accept_exit_codes: Vec::new(), limit: DEFAULT_DATUM_LIMIT }
    }
}

/// Where the output goes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The Repo to write to; without it, the one of the Pipeline's own name. It is made if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: Option<String>,
    /// The branch to write to; without it, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("branch")))]
    pub branch: Option<String>,
}
