//! What the API server does to objects of its own kinds before it keeps them: what it adds, and what it forbids.

use serde_json::{Value, json};

use super::metadata::invalid;
use super::names;
use crate::api::kinds::{Kind, established};
use crate::api::object;
use crate::schema::Cause;

/// Does to a new object what its kind does after its defaults are in it.
pub(crate) fn prepare_create(kind: &Kind, object: &mut Value, time: &str) {
    if kind.is_custom {
        return;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            object["spec"] = json!({ "finalizers": ["kubernetes"] });
            object["status"] = json!({ "phase": "Active" });
        }
        ("", "Pod") => object["status"] = json!({ "phase": "Pending", "qosClass": quality(&object["spec"]) }),
        ("batch", "Job") => label_job(object),
        ("apiextensions.k8s.io", _) => *object = established(object.take(), time),
        _ => {}
    }
}

/// Fills in an object that is written over another one.
pub(crate) fn prepare_update(kind: &Kind, object: &mut Value, old: &Value, time: &str) {
    if kind.is_custom {
        return;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => object["spec"] = old["spec"].clone(),
        ("apiextensions.k8s.io", _) => *object = established(object.take(), time),
        _ => {}
    }
}

/// A Pod whose containers ask for nothing comes last; one with limits that are all asked for comes first.
fn quality(spec: &Value) -> &'static str {
    let containers = || {
        let lists = ["initContainers", "containers"].into_iter().map(|list| &spec[list]);
        lists.flat_map(|list| list.as_array().into_iter().flatten()).map(|container| &container["resources"])
    };
    let is_set = |resources: &Value, which: &str| resources[which].as_object().is_some_and(|some| !some.is_empty());
    if !containers().any(|one| is_set(one, "requests") || is_set(one, "limits")) {
        return "BestEffort";
    }
    let is_guaranteed = |one: &Value| {
        let (requests, limits) = (&one["requests"], &one["limits"]);
        ["cpu", "memory"].iter().all(|name| !limits[name].is_null() && requests[name] == limits[name])
    };
    if containers().all(is_guaranteed) { "Guaranteed" } else { "Burstable" }
}

/// The labels by which a Job knows its pods.
fn label_job(job: &mut Value) {
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    job["status"] = json!({});
    let spec = &mut job["spec"];
    if spec["manualSelector"] == true {
        return;
    }
    let labels = json!({
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    });
    let metadata = object::metadata_mut(&mut spec["template"]);
    let own = metadata.entry("labels").or_insert_with(|| json!({}));
    json_patch::merge(own, &labels);
    spec["selector"] = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    if job["metadata"]["labels"].is_null() {
        job["metadata"]["labels"] = job["spec"]["template"]["metadata"]["labels"].clone();
    }
}

/// What is wrong with an object that its schema does not know.
pub(crate) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let required = |field: String, why: &str| {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Cause { reason: "FieldValueRequired", message, field }
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap" | "Secret") => {
            for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
                causes.extend(names::config_key(key).map(|why| invalid(format!("data[{key}]"), key, why)));
            }
        }
        ("", "Pod") => {
            for list in ["initContainers", "containers"] {
                for (place, container) in object["spec"][list].as_array().into_iter().flatten().enumerate() {
                    if container["image"].as_str().unwrap_or_default().is_empty() {
                        causes.push(required(format!("spec.{list}[{place}].image"), ""));
                    }
                }
            }
        }
        ("", "Event") => {
            // What is said of an object of the cluster stands in the namespace `default`.
            let found = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
            let wanted = if found.is_empty() { "default" } else { found };
            if object::text(object, "namespace") != wanted {
                causes.push(invalid("involvedObject.namespace", found, "does not match event.namespace"));
            }
        }
        ("batch", "Job") => {
            let policy = object["spec"]["template"]["spec"]["restartPolicy"].as_str().unwrap_or_default();
            if !matches!(policy, "OnFailure" | "Never") {
                let why = r#"valid values: "OnFailure", "Never""#;
                causes.push(required("spec.template.spec.restartPolicy".into(), why));
            }
        }
        ("coordination.k8s.io", "Lease") => {
            if let Some(seconds) = object["spec"]["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
                let message = format!("Invalid value: {seconds}: must be greater than 0");
                let field = "spec.leaseDurationSeconds".into();
                causes.push(Cause { reason: "FieldValueInvalid", message, field });
            }
        }
        _ => {}
    }
    causes
}

/// What is wrong with the way from `old` to `new`.
pub(crate) fn check_change(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut forbid = |field: &str, why: &str| {
        causes.push(Cause { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() });
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap" | "Secret") => {
            if old["immutable"] == true {
                if new["immutable"] != true {
                    forbid("immutable", "field is immutable when `immutable` is set");
                }
                for field in ["data", "binaryData"] {
                    if new[field] != old[field] {
                        forbid(field, "field is immutable when `immutable` is set");
                    }
                }
            }
            if kind.kind == "Secret" && new["type"] != old["type"] {
                causes.push(invalid("type", new["type"].as_str().unwrap_or_default(), "field is immutable"));
            }
        }
        ("", "Pod") if !is_same_pod(&new["spec"], &old["spec"]) => forbid(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ),
        ("batch", "Job") => {
            let is_suspended = old["spec"]["suspend"] == true;
            for field in ["selector", "completionMode", "template"] {
                let (new, old) = (&new["spec"][field], &old["spec"][field]);
                let may_change = field == "template" && is_suspended && differs_in_placement_alone(old, new);
                if new != old && !may_change {
                    let message = format!("Invalid value: {new}: field is immutable");
                    causes.push(Cause { reason: "FieldValueInvalid", message, field: format!("spec.{field}") });
                }
            }
        }
        _ => {}
    }
    causes
}

/// A suspended Job's template may change in where its pods go, as a queue does it before it lets the Job start.
fn differs_in_placement_alone(old: &Value, new: &Value) -> bool {
    let without_placement = |template: &Value| {
        let mut template = template.clone();
        template["metadata"] = Value::Null;
        for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            template["spec"][field] = Value::Null;
        }
        for container in template["spec"]["containers"].as_array_mut().into_iter().flatten() {
            container["resources"] = Value::Null;
        }
        template
    };
    without_placement(old) == without_placement(new)
}

fn is_same_pod(new: &Value, old: &Value) -> bool {
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        for field in
            ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName", "schedulingGates"]
        {
            spec[field] = Value::Null;
        }
        spec
    };
    // A node is given to a pod once, which is what `pods/binding` does in a cluster.
    let is_bound_anew = old["nodeName"].is_string() && new["nodeName"] != old["nodeName"];
    !is_bound_anew && fixed(new) == fixed(old)
}

/// Whether objects of the kind count the changes of their spec.
pub(crate) fn has_generation(kind: &Kind) -> bool {
    kind.is_custom || matches!(kind.kind.as_str(), "Pod" | "Job" | "CustomResourceDefinition")
}

/// Whether an update must name the version that it is made from.
pub(crate) fn needs_version(kind: &Kind) -> bool {
    kind.is_custom || matches!(kind.kind.as_str(), "Lease" | "CustomResourceDefinition")
}

/// Whether an update makes an object that is not there.
pub(crate) fn is_made_by_update(kind: &Kind) -> bool {
    !kind.is_custom && matches!(kind.kind.as_str(), "Lease" | "Event")
}
