//! Pods that find no node.

use serde_json::{Value, json};

use super::{Case, case};

/// A machine that is none: a node that nothing runs on, and that only pods which ask for it by this name look at.
fn node(name: &str, spec: &Value, pods: &str) -> Value {
    let amounts = json!({ "cpu": "1", "memory": "1Gi", "pods": pods });
    let labels = json!({
        "kubernetes.io/hostname": name, "e2e/name": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
    });
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "E2e", "message": "it is none" }]);
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels }, "spec": spec,
        "status": { "capacity": amounts, "allocatable": amounts, "conditions": ready },
    })
}

/// The spec of a node that is closed to new pods.
fn cordoned() -> Value {
    json!({ "unschedulable": true })
}

/// All of them.
pub(super) fn nodes() -> Vec<Case> {
    [closed(), neighbours(), disks()].into_iter().flatten().collect()
}

/// Nodes that have no room, or are not for these pods.
fn closed() -> Vec<Case> {
    let asks = |resources: Value| json!({ "container": { "resources": resources } });
    let on = |name: &str| json!({ "pod": { "nodeSelector": { "e2e/name": name } } });
    let only = json!({ "taints": [{ "key": "gpu", "value": "only", "effect": "NoSchedule" }] });
    vec![
        case(
            "too little of a resource",
            asks(json!({ "requests": { "cpu": "1000" } })),
            "Unschedulable",
            &["no node has enough cpu left", "it asks for 1000", "the emptiest node", "add nodes"],
        ),
        case(
            "a device that no node has",
            asks(json!({ "limits": { "example.org/lens": 1 } })),
            "Unschedulable",
            &["no node has enough example.org/lens left", "no node has any"],
        ),
        case(
            "labels that no node has",
            json!({ "pod": { "nodeSelector": { "disk": "quick" } } }),
            "Unschedulable",
            &["the labels that pod.nodeSelector asks for: disk=quick", "a label is a name with a value"],
        ),
        case(
            "too many pods",
            on("e2e-full"),
            "Unschedulable",
            &["a node holds as many pods as it may", "wait until other pods end"],
        )
        .with_cluster(node("e2e-full", &json!({}), "0")),
        case(
            "a taint",
            on("e2e-tainted"),
            "Unschedulable",
            &["a node has a taint that it does not tolerate", "gpu=only:NoSchedule on e2e-tainted", "pod.tolerations"],
        )
        .with_cluster(node("e2e-tainted", &only, "10")),
        case(
            "a closed node",
            on("e2e-closed"),
            "Unschedulable",
            &["a node is closed to new pods (cordoned)", "kubectl uncordon"],
        )
        .with_cluster(node("e2e-closed", &cordoned(), "10")),
    ]
}

/// Pods that want to be with others, or apart from them.
fn neighbours() -> Vec<Case> {
    let near = json!({ "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "nobody" } } }] } });
    let its_pods = json!({ "matchLabels": { "varve.dev/pipeline": "p" } });
    let many = |pod: Value| json!({ "parallelism": 4, "container": { "command": ["sleep", "100"] }, "pod": pod });
    let apart = json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": its_pods }] } } });
    let spread = json!({ "overlay": { "spec": { "topologySpreadConstraints": [{ "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": its_pods }] } } });
    vec![
        case(
            "pods that it must be with",
            json!({ "pod": { "affinity": near } }),
            "Unschedulable",
            &["the pods that its affinity wants to be with are on no node"],
        ),
        case(
            "pods that it may not be with",
            many(apart),
            "Unschedulable",
            &["the affinity rules keep it away from pods that are on the nodes already", "lower parallelism"],
        ),
        case(
            "pods that must be spread",
            many(spread),
            "Unschedulable",
            &["it would stand too near to the other pods of its kind", "topologySpreadConstraints in pod.overlay"],
        )
        .with_cluster(node("e2e-beside", &cordoned(), "10")),
    ]
}

/// Disks that are missing, or elsewhere.
fn disks() -> Vec<Case> {
    let claim = json!([{ "name": "cache", "persistentVolumeClaim": { "claimName": "nobody-made-it" } }]);
    let waiting_claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "waits" },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": { "requests": { "storage": "1Gi" } } },
    });
    let waits = json!([{ "name": "cache", "persistentVolumeClaim": { "claimName": "waits" } }]);
    let disk = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "NAMESPACE" },
        "spec": { "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" }, "local": { "path": "/elsewhere" },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"] }] }] } } },
    });
    let its_claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "its", "namespace": "NAMESPACE" },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "NAMESPACE",
            "resources": { "requests": { "storage": "1Gi" } } },
    });
    let elsewhere = json!([{ "name": "cache", "persistentVolumeClaim": { "claimName": "its" } }]);
    vec![
        case(
            "a disk that nobody asked for",
            json!({ "pod": { "volumes": claim } }),
            "Unschedulable",
            &["a PersistentVolumeClaim that pod.volumes names is not there", "nobody-made-it"],
        ),
        case(
            "a disk that is not there yet",
            json!({ "pod": { "volumes": waits } }),
            "Unschedulable",
            &["a PersistentVolumeClaim that pod.volumes names has got no disk yet"],
        )
        .with(waiting_claim),
        case(
            "a disk elsewhere",
            json!({ "pod": { "volumes": elsewhere } }),
            "Unschedulable",
            &["its disk is tied to a node, or to a zone, on which it may not run"],
        )
        .with_cluster(disk)
        .with_cluster(its_claim),
    ]
}
