//! Pods that are not made.

use serde_json::{Value, json};

use super::{Case, On, case};

fn quota(hard: Value) -> Value {
    let mut quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "team" }, "spec": {} });
    quota["spec"]["hard"] = hard;
    quota
}

/// All of them.
pub(super) fn refused() -> Vec<Case> {
    let slow = json!({ "parallelism": 4, "container": { "command": ["sleep", "100"] } });
    let large = json!({ "container": { "resources": { "limits": { "memory": "2Gi" } } } });
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "small" },
        "spec": { "limits": [{ "type": "Container", "max": { "memory": "1Gi" } }] },
    });
    let rule = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }]);
    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": "NAMESPACE" } });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "NAMESPACE" },
        "spec": {
            "matchConstraints": { "resourceRules": rule },
            "validations": [{ "expression": "false", "message": "the moon is not right" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "NAMESPACE" },
        "spec": { "policyName": "NAMESPACE", "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": here } },
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "NAMESPACE" },
        "webhooks": [{
            "name": "silent.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": "https://127.0.0.1:9/" }, "failurePolicy": "Fail", "timeoutSeconds": 2,
            "namespaceSelector": here, "rules": rule,
        }],
    });
    vec![
        case("a quota", json!({}), "PodsCannotStart", &["no pod can be made", "the quota team", "raise the quota"])
            .with(quota(json!({ "pods": "0" }))),
        case(
            "a quota for some of them",
            slow,
            "PodsCannotStart",
            &["2 more pods can't be made, 2 at work", "the quota team"],
        )
        .with(quota(json!({ "pods": "2" }))),
        case(
            "a quota that wants a limit",
            json!({}),
            "PodsCannotStart",
            &["the quota team wants every container to say limits.cpu", "set it in container.resources"],
        )
        .with(quota(json!({ "limits.cpu": "64" }))),
        case("a quota for an import", json!({}), "PodsCannotStart", &["no pod can be made", "the quota team"])
            .on(On::Commit)
            .with(quota(json!({ "pods": "0" }))),
        case(
            "a limit range",
            large,
            "PodsCannotStart",
            &["than a LimitRange of the namespace allows", "container.resources"],
        )
        .with(range),
        case(
            "an admission policy",
            json!({}),
            "PodsCannotStart",
            &["the admission policy e2e-", "refuses them", "the moon is not right"],
        )
        .with_cluster(policy)
        .with_cluster(binding),
        case(
            "an admission webhook that does not answer",
            json!({}),
            "PodsCannotStart",
            &["the admission webhook silent.example.org, which must agree, does not answer"],
        )
        .with_cluster(webhook),
        case(
            "no ServiceAccount",
            json!({ "pod": { "serviceAccountName": "nobody" } }),
            "PodsCannotStart",
            &["the ServiceAccount that they are to run under is not there"],
        ),
        case(
            "no RuntimeClass",
            json!({ "pod": { "runtimeClassName": "nowhere" } }),
            "PodsCannotStart",
            &["the RuntimeClass that pod.runtimeClassName names is not there", "create the RuntimeClass"],
        ),
        case(
            "no such priority",
            json!({ "pod": { "priorityClassName": "urgent" } }),
            "PodsCannotStart",
            &["the cluster does not know the priority that pod.priorityClassName names"],
        ),
        case(
            "Pod Security",
            json!({ "container": { "securityContext": { "runAsUser": 0 } } }),
            "PodsCannotStart",
            &["the namespace's Pod Security level restricted forbids something", "runAsUser=0"],
        ),
    ]
}
