//! What the API server fills in where a client leaves it out, in objects of its own kinds.

use serde_json::{Value, json};

use crate::api::kinds::Kind;
use crate::api::object;

/// Fills in a new object.
pub(crate) fn of_new(kind: &Kind, object: &mut Value) {
    if kind.is_custom {
        return;
    }
    of_any(kind, object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            let name = object::name(object).to_owned();
            let labels = object::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        ("", "Pod") => {
            fill(&mut object["spec"], "enableServiceLinks", json!(true));
        }
        ("batch", "Job") => default_job(object),
        _ => {}
    }
    drop_nulls(object);
}

/// Fills in what a cluster's admission plugins do, which makes them nobody's fields.
pub(crate) fn admit(kind: &Kind, object: &mut Value) {
    if kind.is("", "Pod") {
        let spec = &mut object["spec"];
        fill(spec, "serviceAccountName", json!("default"));
        // Its older name.
        spec["serviceAccount"] = spec["serviceAccountName"].clone();
        fill(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
        fill(spec, "priority", json!(0));
    }
}

/// Fills in an object that is written over another one.
pub(crate) fn of_changed(kind: &Kind, object: &mut Value, old: &Value) {
    if kind.is_custom {
        return;
    }
    of_any(kind, object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Secret") => fill(object, "type", old["type"].clone()),
        ("batch", "Job") => fill(&mut object["spec"], "selector", old["spec"]["selector"].clone()),
        _ => {}
    }
    drop_nulls(object);
}

fn of_any(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Secret") => {
            fold_string_data(object);
            fill(object, "type", json!("Opaque"));
        }
        ("", "Pod") => default_pod(&mut object["spec"]),
        ("batch", "Job") => default_pod(&mut object["spec"]["template"]["spec"]),
        _ => {}
    }
}

/// Go's empty object of a kind, as JSON: what is in it is nobody's field.
pub(crate) fn nothing_of(kind: &Kind) -> Value {
    if kind.is_custom {
        return json!({});
    }
    let pod = json!({ "containers": null });
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => json!({ "spec": {}, "status": {} }),
        ("", "Pod") => json!({ "spec": pod, "status": {} }),
        ("batch", "Job") => json!({ "spec": { "template": { "metadata": {}, "spec": pod } }, "status": {} }),
        ("coordination.k8s.io", "Lease") => json!({ "spec": {} }),
        ("", "Event") => json!({ "involvedObject": {}, "source": {} }),
        _ => json!({}),
    }
}

/// Looking for a field leaves a null where there is none.
fn drop_nulls(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
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
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            default_probe(&mut container[probe]);
        }
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if variable["valueFrom"]["fieldRef"].is_object() {
            fill(&mut variable["valueFrom"]["fieldRef"], "apiVersion", json!("v1"));
        }
    }
    default_requests(&mut container["resources"]);
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        fill(port, "protocol", json!("TCP"));
    }
}

fn default_probe(probe: &mut Value) {
    fill(probe, "timeoutSeconds", json!(1));
    fill(probe, "periodSeconds", json!(10));
    fill(probe, "successThreshold", json!(1));
    fill(probe, "failureThreshold", json!(3));
    if probe["httpGet"].is_object() {
        fill(&mut probe["httpGet"], "path", json!("/"));
        fill(&mut probe["httpGet"], "scheme", json!("HTTP"));
    }
}

/// What is limited is asked for, unless less is. Quantities are texts.
fn default_requests(resources: &mut Value) {
    for list in ["limits", "requests"] {
        for quantity in
            resources.get_mut(list).and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
        {
            if quantity.is_number() {
                *quantity = quantity.to_string().into();
            }
        }
    }
    for (name, limit) in resources["limits"].as_object().cloned().into_iter().flatten() {
        if !resources["requests"].is_object() {
            resources["requests"] = json!({});
        }
        fill(&mut resources["requests"], &name, limit);
    }
}

fn default_job(job: &mut Value) {
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
}
