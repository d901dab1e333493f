//! What the API server does to objects of its own kinds before it keeps them: what it fills in, and what it forbids.

use serde_json::{Value, json};

use super::metadata::invalid;
use crate::api::kinds::{Kind, established};
use crate::api::object;
use crate::schema::Cause;

/// Fills in a new object.
pub(crate) fn prepare_create(kind: &Kind, object: &mut Value, time: &str) {
    if kind.is_custom {
        return;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            let name = object::name(object).to_owned();
            object::metadata_mut(object).entry("labels").or_insert_with(|| json!({}))["kubernetes.io/metadata.name"] =
                name.into();
            object["spec"] = json!({ "finalizers": ["kubernetes"] });
            object["status"] = json!({ "phase": "Active" });
        }
        ("", "Secret") => {
            fold_string_data(object);
            fill(object, "type", json!("Opaque"));
        }
        ("", "Pod") => {
            object["status"] = json!({ "phase": "Pending", "qosClass": "BestEffort" });
            default_pod(&mut object["spec"]);
            let spec = &mut object["spec"];
            fill(spec, "enableServiceLinks", json!(true));
            fill(spec, "serviceAccountName", json!("default"));
            fill(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
            fill(spec, "priority", json!(0));
        }
        ("batch", "Job") => default_job(object),
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
        ("", "Secret") => {
            fold_string_data(object);
            fill(object, "type", old["type"].clone());
        }
        ("", "Pod") => default_pod(&mut object["spec"]),
        ("batch", "Job") => {
            let selector = &old["spec"]["selector"];
            fill(&mut object["spec"], "selector", selector.clone());
            default_pod(&mut object["spec"]["template"]["spec"]);
        }
        ("apiextensions.k8s.io", _) => *object = established(object.take(), time),
        _ => {}
    }
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

/// Looking for a field leaves a null where there is none.
fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

fn fill(object: &mut Value, field: &str, default: Value) {
    if object[field].is_null() && !default.is_null() {
        object[field] = default;
    }
}

/// `stringData`, which is only ever written, goes into `data`.
fn fold_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else {
        return;
    };
    for (key, text) in texts {
        let bytes = k8s_openapi::ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        let encoded = serde_json::to_value(bytes).unwrap_or_default();
        if !secret["data"].is_object() {
            secret["data"] = json!({});
        }
        secret["data"][key] = encoded;
    }
}

fn default_pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill(spec, "restartPolicy", json!("Always"));
    fill(spec, "terminationGracePeriodSeconds", json!(30));
    fill(spec, "dnsPolicy", json!("ClusterFirst"));
    fill(spec, "schedulerName", json!("default-scheduler"));
    fill(spec, "securityContext", json!({}));
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_container(container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            if volume[source].is_object() {
                fill(&mut volume[source], "defaultMode", json!(0o644));
            }
        }
    }
}

fn default_container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_moving = !name.contains(['@', ':']) || name.ends_with(":latest");
    let policy = if is_moving { "Always" } else { "IfNotPresent" };
    fill(container, "imagePullPolicy", json!(policy));
    fill(container, "resources", json!({}));
    fill(container, "terminationMessagePath", json!("/dev/termination-log"));
    fill(container, "terminationMessagePolicy", json!("File"));
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        fill(port, "protocol", json!("TCP"));
    }
}

/// The defaults of a Job, and the labels by which it knows its pods.
fn default_job(job: &mut Value) {
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    job["status"] = json!({});
    let spec = &mut job["spec"];
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        spec["completions"] = 1.into();
    }
    fill(spec, "parallelism", json!(1));
    fill(spec, "completionMode", json!("NonIndexed"));
    fill(spec, "suspend", json!(false));
    fill(spec, "manualSelector", json!(false));
    let is_per_index = !spec["backoffLimitPerIndex"].is_null();
    fill(spec, "backoffLimit", json!(if is_per_index { i32::MAX } else { 6 }));
    let has_failure_policy = !spec["podFailurePolicy"].is_null();
    fill(spec, "podReplacementPolicy", json!(if has_failure_policy { "Failed" } else { "TerminatingOrFailed" }));
    default_pod(&mut spec["template"]["spec"]);
    if spec["manualSelector"] != true {
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
    }
    drop_nulls(spec);
    if object::text(job, "labels").is_empty() && job["metadata"]["labels"].is_null() {
        job["metadata"]["labels"] = job["spec"]["template"]["metadata"]["labels"].clone();
    }
}

/// Whether objects of the kind count the changes of their spec.
pub(crate) fn has_generation(kind: &Kind) -> bool {
    kind.is_custom || matches!(kind.kind.as_str(), "Pod" | "Job" | "CustomResourceDefinition")
}

/// Whether an update must name the version that it is made from.
pub(crate) fn needs_version(kind: &Kind) -> bool {
    kind.is_custom || matches!(kind.kind.as_str(), "Lease" | "CustomResourceDefinition")
}
