//! The columns of Kubernetes' own kinds, as `kubectl get` knows them.

use serde_json::Value;

use crate::api::kinds::{Cell, Column, age_column, built, name_column};

fn with(columns: Vec<Column>) -> Vec<Column> {
    let mut all = vec![name_column()];
    let (wide, narrow): (Vec<Column>, Vec<Column>) = columns.into_iter().partition(|column| column.priority > 0);
    all.extend(narrow);
    all.push(age_column());
    all.extend(wide);
    all
}

fn wide(mut column: Column) -> Column {
    column.priority = 1;
    column
}

fn text(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => text.into(),
        _ => "<none>".into(),
    }
}

fn count(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn plain() -> Vec<Column> {
    with(Vec::new())
}

pub(crate) fn namespaces() -> Vec<Column> {
    with(vec![built("Status", "string", |object| object["status"]["phase"].clone())])
}

pub(crate) fn config_maps() -> Vec<Column> {
    with(vec![built("Data", "string", |object| (count(&object["data"]) + count(&object["binaryData"])).into())])
}

pub(crate) fn secrets() -> Vec<Column> {
    with(vec![
        built("Type", "string", |object| object["type"].clone()),
        built("Data", "string", |object| count(&object["data"]).into()),
    ])
}

pub(crate) fn pods() -> Vec<Column> {
    with(vec![
        built("Ready", "string", |object| {
            let statuses = &object["status"]["containerStatuses"];
            let ready = items(statuses).filter(|status| status["ready"] == true).count();
            format!("{ready}/{}", items(&object["spec"]["containers"]).count()).into()
        }),
        built("Status", "string", pod_status),
        built("Restarts", "string", |object| {
            let restarts = items(&object["status"]["containerStatuses"]).filter_map(|one| one["restartCount"].as_i64());
            restarts.sum::<i64>().to_string().into()
        }),
        wide(built("IP", "string", |object| text(&object["status"]["podIP"]))),
        wide(built("Node", "string", |object| text(&object["spec"]["nodeName"]))),
        wide(built("Nominated Node", "string", |object| text(&object["status"]["nominatedNodeName"]))),
        wide(built("Readiness Gates", "string", |object| {
            let gates: Vec<&Value> = items(&object["spec"]["readinessGates"]).collect();
            let holds = |gate: &&&Value| {
                let mut conditions = items(&object["status"]["conditions"]);
                conditions.any(|one| one["type"] == gate["conditionType"] && one["status"] == "True")
            };
            match gates.len() {
                0 => "<none>".into(),
                all => format!("{}/{all}", gates.iter().filter(holds).count()).into(),
            }
        })),
    ])
}

/// Why the pod is not running, if there is a reason that says more than its phase.
fn pod_status(pod: &Value) -> Value {
    let status = &pod["status"];
    let mut shown = status["reason"].as_str().or(status["phase"].as_str()).unwrap_or_default().to_owned();
    let all = items(&status["initContainerStatuses"]).map(|one| (one, "Init:"));
    let all: Vec<(&Value, &str)> = all.chain(items(&status["containerStatuses"]).map(|one| (one, ""))).collect();
    for (container, prefix) in all {
        let state = &container["state"];
        let waiting = state["waiting"]["reason"].as_str().filter(|reason| *reason != "PodInitializing");
        let ended = &state["terminated"];
        if let Some(reason) = waiting {
            shown = format!("{prefix}{reason}");
        } else if let Some(reason) = ended["reason"].as_str() {
            if prefix.is_empty() || ended["exitCode"] != 0 {
                shown = format!("{prefix}{reason}");
            }
        } else if ended.is_object() && ended["exitCode"] != 0 {
            shown = format!("{prefix}ExitCode:{}", ended["exitCode"]);
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() && !matches!(shown.as_str(), "Completed" | "Error") {
        shown = "Terminating".into();
    }
    shown.into()
}

/// A field of all containers of a template.
fn of_containers(object: &Value, field: &str) -> Value {
    let containers = items(&object["spec"]["template"]["spec"]["containers"]);
    containers.map(|one| one[field].as_str().unwrap_or_default()).collect::<Vec<_>>().join(",").into()
}

pub(crate) fn jobs() -> Vec<Column> {
    let mut duration = built("Duration", "string", |_| Value::Null);
    duration.cell =
        Cell::Duration(|object| (object["status"]["startTime"].clone(), object["status"]["completionTime"].clone()));
    with(vec![
        built("Status", "string", |object| {
            let holds = |kind: &str| {
                items(&object["status"]["conditions"]).any(|one| one["type"] == kind && one["status"] == "True")
            };
            let states = [
                ("Complete", "Complete"),
                ("Failed", "Failed"),
                ("Suspended", "Suspended"),
                ("FailureTarget", "FailureTarget"),
                ("SuccessCriteriaMet", "SuccessCriteriaMet"),
            ];
            let state = states.into_iter().find(|(kind, _)| holds(kind)).map_or("Running", |(_, shown)| shown);
            if object["metadata"]["deletionTimestamp"].is_string() { "Terminating".into() } else { state.into() }
        }),
        built("Completions", "string", |object| {
            let done = object["status"]["succeeded"].as_i64().unwrap_or(0);
            match (object["spec"]["completions"].as_i64(), object["spec"]["parallelism"].as_i64().unwrap_or(1)) {
                (Some(wanted), _) => format!("{done}/{wanted}").into(),
                (None, parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}").into(),
                (None, _) => format!("{done}/1").into(),
            }
        }),
        duration,
        wide(built("Containers", "string", |object| of_containers(object, "name"))),
        wide(built("Images", "string", |object| of_containers(object, "image"))),
        wide(built("Selector", "string", |object| {
            let labels = object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
            let shown: Vec<String> =
                labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
            shown.join(",").into()
        })),
    ])
}

pub(crate) fn nodes() -> Vec<Column> {
    with(vec![
        built("Status", "string", |object| {
            let ready = items(&object["status"]["conditions"]).find(|one| one["type"] == "Ready");
            let mut shown = match ready.and_then(|one| one["status"].as_str()) {
                Some("True") => "Ready",
                Some(_) => "NotReady",
                None => "Unknown",
            }
            .to_owned();
            if object["spec"]["unschedulable"] == true {
                shown += ",SchedulingDisabled";
            }
            shown.into()
        }),
        built("Version", "string", |object| object["status"]["nodeInfo"]["kubeletVersion"].clone()),
    ])
}

pub(crate) fn events() -> Vec<Column> {
    let mut last_seen = built("Last Seen", "string", |_| Value::Null);
    last_seen.cell = Cell::Since(|event| {
        let moments = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
        let found = moments.into_iter().chain([&event["metadata"]["creationTimestamp"]]).find(|one| one.is_string());
        found.cloned().unwrap_or_default()
    });
    let mut first_seen = built("First Seen", "string", |_| Value::Null);
    first_seen.cell = Cell::Since(|event| {
        let moments = [&event["firstTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
        moments.into_iter().find(|one| one.is_string()).cloned().unwrap_or_default()
    });
    let object = |event: &Value| -> Value {
        let involved = &event["involvedObject"];
        let kind = involved["kind"].as_str().unwrap_or_default().to_lowercase();
        format!("{kind}/{}", involved["name"].as_str().unwrap_or_default()).into()
    };
    let count = |event: &Value| event["series"]["count"].as_i64().or(event["count"].as_i64()).unwrap_or(1).into();
    vec![
        last_seen,
        built("Type", "string", |event| event["type"].clone()),
        built("Reason", "string", |event| event["reason"].clone()),
        built("Object", "string", object),
        wide(built("Subobject", "string", |event| {
            event["involvedObject"]["fieldPath"].as_str().unwrap_or_default().into()
        })),
        wide(built("Source", "string", |event| {
            event["source"]["component"].as_str().or(event["reportingComponent"].as_str()).unwrap_or_default().into()
        })),
        built("Message", "string", |event| event["message"].as_str().unwrap_or_default().trim().into()),
        wide(first_seen),
        wide(built("Count", "string", count)),
        wide(name_column()),
    ]
}

pub(crate) fn leases() -> Vec<Column> {
    with(vec![built("Holder", "string", |object| object["spec"]["holderIdentity"].clone())])
}

pub(crate) fn definitions() -> Vec<Column> {
    let is_established = |object: &Value| {
        let mut conditions = items(&object["status"]["conditions"]);
        conditions.any(|one| one["type"] == "Established" && one["status"] == "True").into()
    };
    vec![
        name_column(),
        built("Scope", "string", |object| object["spec"]["scope"].clone()),
        built("Versions", "string", |object| {
            let served = items(&object["spec"]["versions"]).filter(|version| version["served"] == true);
            let shown = served.map(|version| {
                let name = version["name"].as_str().unwrap_or_default();
                if version["storage"] == true { format!("{name}(storage)") } else { name.to_owned() }
            });
            shown.collect::<Vec<_>>().join(",").into()
        }),
        built("Created At", "date", |object| object["metadata"]["creationTimestamp"].clone()),
        wide(built("Group", "string", |object| object["spec"]["group"].clone())),
        wide(built("Kind", "string", |object| object["spec"]["names"]["kind"].clone())),
        wide(built("ShortNames", "string", |object| {
            let names = items(&object["spec"]["names"]["shortNames"]).filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(",").into()
        })),
        wide(built("Established", "boolean", is_established)),
    ]
}
