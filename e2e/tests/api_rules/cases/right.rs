//! What breaks no rule.

use serde_json::{Value, json};

use super::{UUID, job_spec, object, pipeline_spec, text};

/// The examples of the documentation, and the corners of what is allowed.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn right() -> Vec<Value> {
    vec![
        object(
            "Repo",
            "v1.2-data",
            json!({ "description": "d", "branches": [{ "name": "main", "head": "main" }, { "name": "v1.0", "head": UUID }], "historyLimit": 5, "storeRef": { "name": "s" }, "deletionPolicy": "Delete" }),
        ),
        json!({ "apiVersion": varve_api::API_VERSION, "kind": "Repo", "metadata": { "name": "bare" } }),
        object(
            "Commit",
            "v1.2",
            json!({ "repo": "r", "parent": UUID, "changes": [
            { "put": { "path": "/readme.txt", "text": "as they came\n" } },
            { "put": { "path": "/a.png", "url": "https://example.org/a.png" } },
            { "put": { "path": "/2026", "objectStore": { "url": "s3://field/2026/", "secretName": "field" } } },
            { "put": { "path": "/", "objectStore": { "url": "gs://field/" } } },
            { "put": { "path": "/c", "configMap": { "name": "c", "key": "k" } } },
            { "put": { "path": "/", "configMap": { "name": "c" } } },
            { "copy": { "path": "/old.png", "from": { "repo": "archive", "commit": "main", "path": "/x.png" } } },
            { "copy": { "path": "/old", "from": { "path": "/" } } },
            { "delete": { "path": "/scratch/**" } },
        ] }),
        ),
        object(
            "Commit",
            "texts",
            json!({ "repo": "r", "changes": [
            { "put": { "path": "/a", "text": "a".repeat(65_536) } }, { "put": { "path": "/b", "text": "b".repeat(65_536) } },
        ] }),
        ),
        object("Commit", "odd-names", json!({ "repo": "r", "changes": text("/...a/..b/c..d/ é\n\u{1}") })),
        object("Commit", "back", json!({ "repo": "r", "revertTo": "v1.2" })),
        object(
            "Commit",
            "tree",
            json!({ "repo": "r", "tree": { "id": "a".repeat(64), "session": UUID, "root": { "pack": UUID, "offset": 0, "length": 1 } } }),
        ),
        object(
            "Pipeline",
            "shell-words",
            pipeline_spec(
                &json!({ "inputs": (["if", "for", "done", "env", "ifs", "python"].map(|name| json!({ "name": name, "glob": "/" }))) }),
            ),
        ),
        object(
            "Pipeline",
            &"p".repeat(52),
            pipeline_spec(&json!({
                "inputs": [
                    { "name": "by-pair", "cross": ["a", "u"] }, { "name": "a", "repo": "r", "branch": "dev", "glob": "/*", "as": "A_1", "optional": true },
                    { "name": "u", "union": ["b", "c"] }, { "name": "b", "glob": "/" }, { "name": "c", "glob": "/**" },
                ],
                "input": "by-pair",
                "container": {
                    "image": "registry.example:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                    "command": ["python3"], "args": [], "workingDir": "/",
                    "env": [{ "name": "EMPTY" }, { "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
                    "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "c", "optional": true } }],
                    "resources": { "limits": { "nvidia.com/gpu": 1, "cpu": "1500m", "memory": "2Gi" }, "requests": { "cpu": "0.5", "memory": "1e9" } },
                    "volumeMounts": [{ "name": "v", "mountPath": "/data", "readOnly": true }],
                    "securityContext": { "runAsUser": 1000, "runAsGroup": 1000, "readOnlyRootFilesystem": true },
                },
                "pod": {
                    "nodeSelector": { "kubernetes.io/arch": "amd64" },
                    "tolerations": [{ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" }],
                    "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "z", "operator": "In", "values": ["a"] }] }] } } },
                    "priorityClassName": "batch", "serviceAccountName": "runner", "imagePullSecrets": [{ "name": "registry" }],
                    "volumes": [{ "name": "v", "configMap": { "name": "c", "items": [{ "key": "k", "path": "p" }] } }, { "name": "e", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } }],
                    "securityContext": { "fsGroup": 1000, "supplementalGroups": [44] }, "terminationGracePeriodSeconds": 60,
                },
                "parallelism": 4, "datum": { "tries": 1, "timeoutSeconds": 60, "acceptExitCodes": [3, 4], "limit": 100 },
                "timeoutSeconds": 3600, "output": { "repo": "out", "branch": "main" }, "suspend": true, "historyLimit": 3,
            })),
        ),
        object(
            "Pipeline",
            "widest",
            pipeline_spec(&json!({
                "inputs": (0..63).map(|i| json!({ "name": format!("i{i}"), "glob": "/" })).chain([json!({ "name": "all", "cross": (0..63).map(|i| format!("i{i}")).collect::<Vec<_>>() })]).collect::<Vec<_>>(),
            })),
        ),
        object("Job", "p-aaaaaaaaaa", job_spec()),
    ]
}
