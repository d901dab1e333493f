//! How the lists and maps of built-in types are owned and merged.
//!
//! A table of what Kubernetes' own `OpenAPI` says by `x-kubernetes-list-type`, `-map-type` and `-patch-…` (1.37) and
//! k8s-openapi leaves out. Lists that are not here are atomic, maps granular.

use serde_json::{Map, Value, json};

use Topology::{Atomic, AtomicList, Items, Keyed, MergedSet, Retained, Set};

/// The topology of a field; each keyed list is merged by the first of its keys.
#[derive(Clone, Copy)]
enum Topology {
    /// A map that has one owner.
    Atomic,
    Set,
    /// A set that a strategic merge patch adds to.
    MergedSet,
    /// A list whose items are known by these fields.
    Items(&'static [&'static str]),
    /// The same, whose items have one kind of the many that their fields could make.
    Retained(&'static [&'static str]),
    /// The same, which a strategic merge patch replaces.
    Keyed(&'static [&'static str]),
    /// A list that has one owner and that a strategic merge patch merges by this field.
    AtomicList(&'static str),
}

const NAME: &[&str] = &["name"];
const TYPE: &[&str] = &["type"];

/// Type, field (or nothing, for the type itself), topology.
const TABLE: &[(&str, &str, Topology)] = &[
    ("ConfigMapKeySelector", "", Atomic),
    ("Container", "env", Items(NAME)),
    ("Container", "ports", Items(&["containerPort", "protocol"])),
    ("Container", "volumeDevices", Items(&["devicePath"])),
    ("Container", "volumeMounts", Items(&["mountPath"])),
    ("ContainerStatus", "allocatedResourcesStatus", Items(NAME)),
    ("ContainerStatus", "volumeMounts", Items(&["mountPath"])),
    ("CustomResourceDefinitionStatus", "conditions", Keyed(TYPE)),
    ("EphemeralContainer", "env", Items(NAME)),
    ("EphemeralContainer", "ports", Items(&["containerPort", "protocol"])),
    ("EphemeralContainer", "volumeDevices", Items(&["devicePath"])),
    ("EphemeralContainer", "volumeMounts", Items(&["mountPath"])),
    ("JSONSchemaProps", "x-kubernetes-validations", Items(&["rule"])),
    ("JobStatus", "conditions", AtomicList("type")),
    ("LabelSelector", "", Atomic),
    ("LocalObjectReference", "", Atomic),
    ("NamespaceStatus", "conditions", Items(TYPE)),
    ("NodeSelector", "", Atomic),
    ("NodeSelectorTerm", "", Atomic),
    ("NodeSpec", "podCIDRs", MergedSet),
    ("NodeStatus", "addresses", Items(TYPE)),
    ("NodeStatus", "conditions", Items(TYPE)),
    ("ObjectFieldSelector", "", Atomic),
    ("ObjectMeta", "finalizers", MergedSet),
    ("ObjectMeta", "ownerReferences", Items(&["uid"])),
    ("ObjectReference", "", Atomic),
    ("OwnerReference", "", Atomic),
    ("PodFailurePolicyOnExitCodesRequirement", "values", Set),
    ("PodSpec", "containers", Items(NAME)),
    ("PodSpec", "ephemeralContainers", Items(NAME)),
    ("PodSpec", "hostAliases", Items(&["ip"])),
    ("PodSpec", "imagePullSecrets", Items(NAME)),
    ("PodSpec", "initContainers", Items(NAME)),
    ("PodSpec", "nodeSelector", Atomic),
    ("PodSpec", "resourceClaims", Retained(NAME)),
    ("PodSpec", "schedulingGates", Items(NAME)),
    ("PodSpec", "topologySpreadConstraints", Items(&["topologyKey", "whenUnsatisfiable"])),
    ("PodSpec", "volumes", Retained(NAME)),
    ("PodStatus", "conditions", Items(TYPE)),
    ("PodStatus", "hostIPs", AtomicList("ip")),
    ("PodStatus", "podIPs", Items(&["ip"])),
    ("PodStatus", "resourceClaimStatuses", Retained(NAME)),
    ("ResourceFieldSelector", "", Atomic),
    ("ResourceRequirements", "claims", Keyed(NAME)),
    ("ResourceStatus", "resources", Keyed(&["resourceID"])),
    ("SecretKeySelector", "", Atomic),
    ("ServiceAccount", "secrets", Items(NAME)),
    ("TypedLocalObjectReference", "", Atomic),
    ("UncountedTerminatedPods", "failed", Set),
    ("UncountedTerminatedPods", "succeeded", Set),
];

/// Adds to the schema of a type what the table says of it.
pub(super) fn add(type_name: &str, schema: &mut Map<String, Value>) {
    for (_, field, topology) in TABLE.iter().filter(|(name, _, _)| *name == type_name) {
        let place = if field.is_empty() {
            Some(&mut *schema)
        } else {
            schema.get_mut("properties").and_then(|properties| properties.get_mut(field)).and_then(Value::as_object_mut)
        };
        if let Some(place) = place {
            place.extend(topology.extensions());
        }
    }
    // A part of a key, so that an entry without it has the same key as one that spells it out.
    if type_name == "ContainerPort"
        && let Some(protocol) = schema.get_mut("properties").and_then(|p| p.get_mut("protocol"))
    {
        protocol["default"] = "TCP".into();
    }
}

impl Topology {
    fn extensions(self) -> Map<String, Value> {
        let keyed = |keys: &[&str], strategy: &str| {
            json!({
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
                "x-kubernetes-patch-merge-key": keys[0], "x-kubernetes-patch-strategy": strategy,
            })
        };
        let extensions = match self {
            Atomic => json!({ "x-kubernetes-map-type": "atomic" }),
            Set => json!({ "x-kubernetes-list-type": "set" }),
            MergedSet => json!({ "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge" }),
            Items(keys) => keyed(keys, "merge"),
            Retained(keys) => keyed(keys, "merge,retainKeys"),
            Keyed(keys) => json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys }),
            AtomicList(key) => json!({
                "x-kubernetes-list-type": "atomic", "x-kubernetes-patch-merge-key": key,
                "x-kubernetes-patch-strategy": "merge",
            }),
        };
        match extensions {
            Value::Object(extensions) => extensions,
            _ => Map::new(),
        }
    }
}
