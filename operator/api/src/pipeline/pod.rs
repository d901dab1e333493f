//! What a Pipeline runs and where: parts of a core/v1 Container and PodSpec, so that users know their words.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, subset};

/// The container that is run: a part of a core/v1 Container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The image to run. A tag is looked up once and then kept, until the spec changes or the annotation
    /// `varve.dev/resolve-image` does.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// The command; without it, the image's entrypoint. There is no shell, and no `$(VAR)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Option<Vec<String>>,

    /// Its arguments; without them, and without `command`, the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Option<Vec<String>>,

    /// Where the command is started; without it, the image's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('/')",
        "workingDir must begin with /",
    )])))]
    pub working_dir: Option<String>,

    /// Environment variables. The names that Varve sets itself may not be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::env")]
    pub env: Vec<EnvVar>,

    /// ConfigMaps and Secrets whose every key becomes an environment variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::env_from")]
    pub env_from: Vec<EnvFromSource>,

    /// CPU, memory and devices, such as `nvidia.com/gpu`, of each pod's container. Parts of a CPU are `500m`, or
    /// `"0.5"` in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subset::resources")]
    pub resources: Option<ResourceRequirements>,

    /// Where the volumes of `pod.volumes` are seen. `/pfs` and `/.varve` are Varve's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::volume_mounts")]
    pub volume_mounts: Vec<VolumeMount>,

    /// The user that the container runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<ContainerSecurity>,
}

/// A part of a core/v1 SecurityContext: no rights can be added.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSecurity {
    /// The numeric user; without it 65532, or one of the range that OpenShift gives the namespace. 0 is root, without any of
    /// its capabilities: it owns the image's files, and may do no more than that. The namespace must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647_i64))]
    pub run_as_user: Option<i64>,
    /// The numeric group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647_i64))]
    pub run_as_group: Option<i64>,
    /// True makes the image's own files unchangeable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
}

/// How the pods are scheduled and set up: a part of a core/v1 PodSpec.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "subset::node_selector")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Nodes and pods that the pods should be near to or far from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subset::affinity")]
    pub affinity: Option<Affinity>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// The RuntimeClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,

    /// The scheduler that places the pods; without it, the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub scheduler_name: Option<String>,

    /// The ServiceAccount of the pods. Its pull secrets are used; its token is never mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// Secrets with the credentials of image registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Volumes for `container.volumeMounts`: ConfigMaps, Secrets, empty directories and claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::volumes")]
    pub volumes: Vec<Volume>,

    /// User and groups of the whole pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurity>,

    /// The seconds that the code has, when its pod is stopped, until it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 86_400))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Further parts of the pods, in the shape of a core/v1 PodTemplateSpec: `metadata` and `spec`. What may be in it
    /// is a list of its own, docs/reference/overlay.md; all else is refused. Nothing in it makes anything be computed
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subset::overlay")]
    pub overlay: Option<serde_json::Value>,
}

/// A part of a core/v1 PodSecurityContext.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The group that owns the pod's volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub fs_group: Option<i64>,
    /// Further groups of the pod's processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 2_147_483_647_i64)), extend("x-kubernetes-list-type" = "set"))]
    pub supplemental_groups: Vec<i64>,
}
