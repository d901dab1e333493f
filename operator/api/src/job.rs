//! A Job: one run of one Pipeline over fixed input Commits, ending in one output Commit.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{FrameRef, InputCommit};
use crate::pipeline::{PipelineSpec, ResolvedImage};
use crate::schema;

/// The most failures that a Job's status lists.
pub const MAX_FIRST_FAILURES: usize = 10;
/// The most characters of printed lines that a failure in a Job's status holds: ten of them, with the rest of
/// the status, stay under 8 KiB.
pub const MAX_LAST_LINES: usize = 320;
/// The most characters of a datum's name that a failure in a Job's status holds.
pub const MAX_DATUM_NAME: usize = 160;

/// What this Job runs. The operator makes Jobs; only `suspend` and `cancel` can be changed.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "varve.dev",
    version = "v1alpha1",
    kind = "Job",
    namespaced,
    status = "JobStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "vjob",
    category = "varve",
    doc = "A Job is one run of one Pipeline over fixed Commits of its inputs. It computes what was never computed before, and ends in one Commit of the Pipeline's output.",
    printcolumn(
        name = "Pipeline",
        type_ = "string",
        json_path = ".spec.pipeline",
        description = "The Pipeline that it runs."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True when it is done and its output committed."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."
    ),
    printcolumn(
        name = "Datums",
        type_ = "integer",
        json_path = ".status.datums.total",
        description = "Datums in all."
    ),
    printcolumn(
        name = "Skipped",
        type_ = "integer",
        json_path = ".status.datums.skipped",
        description = "Datums whose result was there already."
    ),
    printcolumn(
        name = "Processed",
        type_ = "integer",
        json_path = ".status.datums.processed",
        description = "Datums computed by this Job."
    ),
    printcolumn(
        name = "Failed",
        type_ = "integer",
        json_path = ".status.datums.failed",
        description = "Datums that failed."
    ),
    printcolumn(
        name = "Shards",
        type_ = "integer",
        json_path = ".status.shards.total",
        description = "The parts that its pods work on, or worked on."
    ),
    printcolumn(
        name = "Took",
        type_ = "string",
        json_path = ".status.took",
        description = "Time from its start to its end."
    ),
    printcolumn(
        name = "Run",
        type_ = "string",
        priority = 1,
        json_path = ".status.run",
        description = "The uid of the source Commit that set it off."
    ),
    printcolumn(
        name = "Output",
        type_ = "string",
        priority = 1,
        json_path = ".status.outputCommit",
        description = "The uid of the output Commit."
    ),
    printcolumn(
        name = "Explanation",
        type_ = "string",
        priority = 1,
        json_path = ".status.explanation",
        description = "What is wrong, and what to do."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.pipeline"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self.pipeline == oldSelf.pipeline", "pipeline can't be changed: of a Job only suspend and cancel can be"),
    ("self.inputs == oldSelf.inputs", "inputs can't be changed: of a Job only suspend and cancel can be"),
    ("self.snapshot == oldSelf.snapshot", "snapshot can't be changed: of a Job only suspend and cancel can be"),
    ("self.cancel || !oldSelf.cancel", "cancel can't be taken back: a new Commit, or a change of the Pipeline, makes a new Job"),
])))]
pub struct JobSpec {
    /// The Pipeline that is run.
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::pipeline_name("pipeline")))]
    pub pipeline: String,

    /// The Commits that are read.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<InputCommit>,

    /// The Pipeline as it was when this Job was made, with the image that its reference stood for.
    pub snapshot: Snapshot,

    /// Stops the Job's pods. Datums that are done stay done, and it goes on from there.
    #[serde(default)]
    pub suspend: bool,

    /// Ends the Job without an output. Datums that are done are remembered.
    #[serde(default)]
    pub cancel: bool,
}

/// A Pipeline as it was when a Job was made.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The Pipeline object's uid.
    #[schemars(length(max = 36))]
    pub uid: String,
    /// The Pipeline's generation.
    pub generation: i64,
    /// The Pipeline's spec.
    pub spec: PipelineSpec,
    /// What its image reference stood for.
    pub image: ResolvedImage,
}

/// What is seen of this Job.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciling` and `Stalled`, as kstatus defines them, and `Succeeded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The uid of the source Commit that set this Job off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub run: Option<String>,

    /// Its datums, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datums: Option<DatumCounts>,

    /// Its shards, counted. A shard is the datums that one pod handles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardCounts>,

    /// The uid of the Commit in which it ended. The Commit object has the Job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub output_commit: Option<String>,

    /// What is going on, what is wrong and what to do about it, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub explanation: Option<String>,

    /// The first datums that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub first_failures: Vec<Failure>,

    /// What exactly ran, on what and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,

    /// The time from its start to its end, as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub took: Option<String>,
}

/// Datums, counted. `total` is `skipped`, `processed` and `failed` together once the Job has ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatumCounts {
    /// All datums of the inputs.
    pub total: u64,
    /// Those whose result was there already.
    pub skipped: u64,
    /// Those that this Job has computed.
    pub processed: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Shards, counted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardCounts {
    /// All shards.
    pub total: u32,
    /// Those whose pod is at work.
    pub active: u32,
    /// Those that are done.
    pub succeeded: u32,
    /// Those that can't be done.
    pub failed: u32,
}

/// A datum that failed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which datum: the inputs' names and the paths in them.
    #[schemars(length(max = 160))]
    pub datum: String,
    /// The datum's hash, which the code sees as `VARVE_DATUM_ID`.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Why it failed, in a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The exit code of the last try, if the code exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the last try, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How often it was tried.
    pub tries: u32,
    /// The last lines that the code printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub last_lines: Option<String>,
}

/// What exactly ran, on what and where.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The Commits that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<InputCommit>,
    /// The image that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 700))]
    pub image: Option<String>,
    /// The digest of that image's configuration: its identity, whatever its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub image_digest: Option<String>,
    /// The hash of everything that decides a datum's result, but its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub spec_digest: Option<String>,
    /// Nodes on which datums were computed; the first 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub nodes: Vec<String>,
    /// Devices that computed them; the first 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub devices: Vec<String>,
    /// When the Job began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub start_time: Option<String>,
    /// When its output was committed, or it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub completion_time: Option<String>,
    /// Where the full record lies in the store: every datum with its tries, node, times and log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<FrameRef>,
}
