use std::collections::BTreeSet;

use serde_json::json;
use varve_api::job::Snapshot;
use varve_api::pipeline::Pod;

use super::super::check::check;
use super::super::{ShardJob, Surroundings, shards};
use super::*;

fn with(overlay: Value) -> PipelineSpec {
    let scratch = json!({ "name": "scratch", "emptyDir": {} });
    let volumes = vec![serde_json::from_value(scratch).unwrap()];
    PipelineSpec { pod: Some(Pod { volumes, overlay: Some(overlay), ..Pod::default() }), ..PipelineSpec::default() }
}

fn template(spec: PipelineSpec) -> PodTemplateSpec {
    let snapshot = Snapshot { spec, ..Snapshot::default() };
    let job = ShardJob {
        job: "edges-abcdefghij".into(),
        job_uid: "job-uid".into(),
        pipeline: "edges".into(),
        snapshot: &snapshot,
        run: uuid::Uuid::from_u128(7),
        attempt: 1,
        plan: varve_format::Hash::of_content(b"plan"),
        shards: 1,
        parallelism: 1,
    };
    let around = Surroundings {
        namespace: "photos".into(),
        own_image: "varve:1".into(),
        store_secret: "varve-store".into(),
        run_as: Some(65_532),
        allows_local_stores: false,
        allows_machine_credentials: false,
        restarts_in_place: false,
    };
    shards(&job, &around).unwrap().spec.unwrap().template
}

/// Everything that the list has.
fn everything() -> Value {
    json!({
        "metadata": {
            "labels": { "team": "optics" },
            "annotations": { "example.org/scrape": "true" },
        },
        "spec": {
            "topologySpreadConstraints":
                [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
            "preemptionPolicy": "Never",
            "readinessGates": [{ "conditionType": "example.org/ready" }],
            "schedulingGates": [{ "name": "example.org/wait" }],
            "hostUsers": false,
            "securityContext": {
                "fsGroupChangePolicy": "OnRootMismatch",
                "supplementalGroupsPolicy": "Strict",
                "seLinuxOptions": { "level": "s0:c1,c2" },
            },
            "volumes": [
                { "name": "a", "csi": { "driver": "d.example.org", "nodePublishSecretRef": { "name": "plain" } } },
                { "name": "b", "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"] } } } },
                { "name": "c", "image": { "reference": "registry.example/models:1" } },
                { "name": "d", "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
                { "name": "e", "projected": { "sources": [{ "secret": { "name": "plain" } }, { "downwardAPI": {} }] } },
            ],
            "containers": [{
                "name": "user",
                "imagePullPolicy": "Always",
                "resizePolicy": [{ "resourceName": "cpu", "restartPolicy": "NotRequired" }],
                "ports": [{ "name": "metrics", "containerPort": 9090, "protocol": "TCP" }],
                "volumeDevices": [{ "name": "scratch", "devicePath": "/dev/block" }],
                "securityContext": {
                    "seccompProfile": { "type": "RuntimeDefault" },
                    "appArmorProfile": { "type": "Localhost", "localhostProfile": "tight" },
                },
            }],
        },
    })
}

/// The paths of the list that `value` uses, as the list writes them.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    if ALLOWED.iter().any(|allowed| allowed.path == path) {
        all.insert(path.to_owned());
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let whole = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(field, &whole, all);
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                let name = if path == "spec.containers" { "user" } else { "" };
                paths(entry, &format!("{path}[{name}]"), all);
            }
        }
        _ => {}
    }
}

#[test]
fn all_that_the_list_has_may_be_and_comes_into_the_pod() {
    let mut all = BTreeSet::new();
    paths(&everything(), "", &mut all);
    assert_eq!(all, ALLOWED.iter().map(|allowed| allowed.path.to_owned()).collect(), "the example has all");

    assert_eq!(check(&with(everything()), &BTreeSet::new()), Ok(()));
    let plain = template(with(json!({})));
    let laid = template(with(everything()));
    let said = serde_json::to_value(&laid).unwrap();
    let get = |pointer: &str| said.pointer(pointer).cloned().unwrap_or_default();
    let wanted = everything();
    assert_eq!(get("/metadata/labels/team"), "optics");
    assert_eq!(get("/metadata/labels/varve.dev~1job"), "edges-abcdefghij", "ours stay");
    assert_eq!(get("/metadata/annotations/example.org~1scrape"), "true");
    for field in ["topologySpreadConstraints", "preemptionPolicy", "readinessGates", "schedulingGates", "hostUsers"] {
        assert_eq!(get(&format!("/spec/{field}")), wanted["spec"][field], "{field}");
    }
    let security = &wanted["spec"]["securityContext"];
    for field in ["fsGroupChangePolicy", "supplementalGroupsPolicy", "seLinuxOptions"] {
        assert_eq!(get(&format!("/spec/securityContext/{field}")), security[field], "{field}");
    }
    assert_eq!(get("/spec/securityContext/runAsNonRoot"), true, "ours stay");
    let volumes = laid.spec.clone().unwrap().volumes.unwrap();
    let ours = plain.spec.clone().unwrap().volumes.unwrap();
    assert_eq!(volumes[..ours.len()], ours, "ours stay, in front");
    let names: Vec<&str> = volumes[ours.len()..].iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let guest = &wanted["spec"]["containers"][0];
    for field in ["imagePullPolicy", "resizePolicy", "ports", "volumeDevices"] {
        assert_eq!(get(&format!("/spec/containers/0/{field}")), guest[field], "{field}");
    }
    for field in ["seccompProfile", "appArmorProfile"] {
        assert_eq!(
            get(&format!("/spec/containers/0/securityContext/{field}")),
            guest["securityContext"][field],
            "{field}"
        );
    }
    let (laid, plain) = (laid.spec.unwrap(), plain.spec.unwrap());
    assert_eq!(laid.containers[0].volume_mounts, plain.containers[0].volume_mounts);
    assert_eq!(laid.containers[1..], plain.containers[1..], "the keeper is as it was");
    assert_eq!(laid.init_containers, plain.init_containers, "install is as it was");
}

#[test]
fn a_mount_may_name_a_volume_of_the_overlay() {
    let mut spec = with(json!({ "spec": { "volumes": [{ "name": "models", "image": { "reference": "m" } }] } }));
    let mount = |name: &str| serde_json::from_value(json!({ "name": name, "mountPath": "/models" })).unwrap();
    spec.container.volume_mounts = vec![mount("models")];
    assert_eq!(check(&spec, &BTreeSet::new()), Ok(()));
    spec.container.volume_mounts = vec![mount("varve-store")];
    assert!(matches!(check(&spec, &BTreeSet::new()), Err(PodError::MountOfNothing { .. })));
}

#[test]
fn what_the_list_has_not_is_refused_by_its_path() {
    let pod = |field: &str, value: Value| (format!("spec.{field}"), json!({ "spec": { field: value } }));
    let security =
        |field: &str| (format!("spec.securityContext.{field}"), json!({ "spec": { "securityContext": { field: 0 } } }));
    let container = |name: &str, field: &str, value: Value| {
        let path = if name == "user" { format!(".{field}") } else { String::new() };
        (
            format!("spec.containers[{name}]{path}"),
            json!({ "spec": { "containers": [{ "name": name, field: value }] } }),
        )
    };
    let volume =
        |kind: &str| (format!("spec.volumes[v].{kind}"), json!({ "spec": { "volumes": [{ "name": "v", kind: {} }] } }));
    let mut cases: Vec<(String, Value)> = vec![
        ("apiVersion".into(), json!({ "apiVersion": "v1" })),
        ("metadata.name".into(), json!({ "metadata": { "name": "x" } })),
        ("metadata.ownerReferences".into(), json!({ "metadata": { "ownerReferences": [] } })),
        ("metadata.finalizers".into(), json!({ "metadata": { "finalizers": ["x"] } })),
    ];
    for field in [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "automountServiceAccountToken",
        "setHostnameAsFQDN",
    ] {
        cases.push(pod(field, true.into()));
    }
    for field in
        ["nodeName", "dnsPolicy", "hostname", "serviceAccountName", "restartPolicy", "runtimeClassName", "subdomain"]
    {
        cases.push(pod(field, "x".into()));
    }
    for field in
        ["initContainers", "ephemeralContainers", "hostAliases", "imagePullSecrets", "tolerations", "resourceClaims"]
    {
        cases.push(pod(field, json!([])));
    }
    for field in ["dnsConfig", "affinity", "os", "nodeSelector", "resources"] {
        cases.push(pod(field, json!({})));
    }
    for field in ["runAsUser", "runAsNonRoot", "fsGroup", "sysctls", "windowsOptions", "seccompProfile"] {
        cases.push(security(field));
    }
    cases.push((
        "spec.securityContext.seLinuxOptions.type".into(),
        json!({ "spec": { "securityContext": { "seLinuxOptions": { "type": "spc_t" } } } }),
    ));
    for kind in ["hostPath", "secret", "configMap", "emptyDir", "persistentVolumeClaim", "nfs", "iscsi", "flexVolume"] {
        cases.push(volume(kind));
    }
    for name in ["keeper", "install", "sidecar"] {
        cases.push(container(name, "imagePullPolicy", "Always".into()));
    }
    cases.push(("spec.containers[0]".into(), json!({ "spec": { "containers": [{ "imagePullPolicy": "Always" }] } })));
    for field in [
        "command",
        "args",
        "image",
        "env",
        "envFrom",
        "volumeMounts",
        "lifecycle",
        "stdin",
        "workingDir",
        "resources",
        "restartPolicy",
    ] {
        cases.push(container("user", field, json!([])));
    }
    for field in ["privileged", "capabilities", "allowPrivilegeEscalation", "procMount", "runAsUser", "seLinuxOptions"]
    {
        let context = json!({ "name": "user", "securityContext": { field: true } });
        cases.push((
            format!("spec.containers[user].securityContext.{field}"),
            json!({ "spec": { "containers": [context] } }),
        ));
    }
    for field in ["hostPort", "hostIP"] {
        let port = json!({ "name": "user", "ports": [{ "containerPort": 1, field: 1 }] });
        cases.push((format!("spec.containers[user].ports[0].{field}"), json!({ "spec": { "containers": [port] } })));
    }
    for (path, overlay) in cases {
        assert_eq!(check(&with(overlay), &BTreeSet::new()), Err(PodError::OverlayPath { path }));
    }
}

#[test]
fn values_that_reach_too_far_are_refused() {
    let projected =
        |source: Value| json!({ "spec": { "volumes": [{ "name": "v", "projected": { "sources": [source] } }] } });
    let named = |name: &str| json!({ "spec": { "volumes": [{ "name": name, "downwardAPI": {} }] } });
    let user = |field: &str, value: Value| json!({ "spec": { "containers": [{ "name": "user", field: value }] } });
    let key = |place: &str, key: &str| json!({ "metadata": { place: { key: "x" } } });
    let device = |path: &str| user("volumeDevices", json!([{ "name": "scratch", "devicePath": path }]));
    let cases = [
        ("metadata.labels", key("labels", "varve.dev/job")),
        ("metadata.labels", key("labels", "app.kubernetes.io/managed-by")),
        ("metadata.labels", key("labels", "job-name")),
        ("metadata.labels", key("labels", "controller-uid")),
        ("metadata.labels", key("labels", "azure.workload.identity/use")),
        ("metadata.annotations", key("annotations", "eks.amazonaws.com/skip-containers")),
        ("metadata.annotations", key("annotations", "container.apparmor.security.beta.kubernetes.io/user")),
        ("spec.hostUsers", json!({ "spec": { "hostUsers": true } })),
        ("spec.hostUsers", json!({ "spec": { "hostUsers": null } })),
        ("spec.volumes[varve].name", named("varve")),
        ("spec.volumes[varve-store].name", named("varve-store")),
        ("spec.volumes[scratch].name", named("scratch")),
        ("spec.volumes[v].projected", projected(json!({ "serviceAccountToken": { "path": "t" } }))),
        ("spec.volumes[v].projected", projected(json!({ "clusterTrustBundle": { "path": "t" } }))),
        ("spec.volumes[v].projected", projected(json!({ "podCertificate": { "path": "t" } }))),
        ("spec.volumes[v].projected", projected(json!({ "configMap": { "name": "c" } }))),
        ("spec.containers[user].volumeDevices[scratch].devicePath", device("/pfs/out")),
        ("spec.containers[user].volumeDevices[scratch].devicePath", device("/.varve")),
        ("spec.containers[user].volumeDevices[scratch].devicePath", device("/x/../pfs")),
        (
            "spec.containers[user].securityContext.seccompProfile",
            user("securityContext", json!({ "seccompProfile": { "type": "Unconfined" } })),
        ),
        (
            "spec.containers[user].securityContext.appArmorProfile",
            user("securityContext", json!({ "appArmorProfile": { "type": "Unconfined" } })),
        ),
    ];
    for (wanted, overlay) in cases {
        match check(&with(overlay.clone()), &BTreeSet::new()) {
            Err(PodError::OverlayValue { path, .. }) => assert_eq!(path, wanted, "{overlay}"),
            other => panic!("{overlay}: {other:?}"),
        }
    }
    let twice =
        json!({ "spec": { "volumes": [{ "name": "v", "image": {} }, { "name": "v", "csi": { "driver": "d" } }] } });
    assert!(matches!(check(&with(twice), &BTreeSet::new()), Err(PodError::OverlayValue { .. })));
}

#[test]
fn what_is_no_pod_template_is_refused() {
    let cases = [
        (json!([]), "must be an object"),
        (json!({ "spec": [] }), "must be an object"),
        (json!({ "spec": { "volumes": {} } }), "spec.volumes must be a list"),
        (json!({ "spec": { "volumes": [{ "image": { "reference": "x" } }] } }), "must have a name"),
        (json!({ "spec": { "preemptionPolicy": 7 } }), "invalid type"),
        (
            json!({ "spec": { "volumes": [{ "name": "v", "csi": { "driver": "d", "drive": "e" } }] } }),
            "no field spec.volumes[0].csi.drive",
        ),
    ];
    for (overlay, wanted) in cases {
        match check(&with(overlay.clone()), &BTreeSet::new()) {
            Err(PodError::OverlayShape { why }) => assert!(why.contains(wanted), "{overlay}: {why}"),
            other => panic!("{overlay}: {other:?}"),
        }
    }
}

#[test]
fn no_volume_of_an_overlay_reads_a_stores_secret() {
    let volume = |source: Value| json!({ "spec": { "volumes": [source] } });
    let ways = [
        volume(json!({ "name": "v", "csi": { "driver": "d", "nodePublishSecretRef": { "name": "varve-store" } } })),
        volume(json!({ "name": "v", "csi": { "driver": "d", "volumeAttributes": { "secretName": "varve-store" } } })),
        volume(json!({ "name": "v", "projected": { "sources": [{ "secret": { "name": "varve-store" } }] } })),
    ];
    let stores = BTreeSet::from(["varve-store".to_owned()]);
    for overlay in ways {
        let refused = PodError::StoreSecret { name: "varve-store".into(), field: "pod.overlay" };
        assert_eq!(check(&with(overlay.clone()), &stores), Err(refused));
        assert_eq!(check(&with(overlay), &BTreeSet::new()), Ok(()), "another Secret of that kind may be");
    }
}

#[test]
fn whatever_the_list_would_miss_the_second_look_finds() {
    let ours = template(with(json!({})));
    let broken = |change: fn(&mut PodSpec)| {
        let mut merged = ours.clone();
        change(merged.spec.as_mut().unwrap());
        without_what_is_allowed(&merged, &ours) != ours
    };
    assert!(!broken(|_| ()));
    assert!(broken(|pod| pod.host_network = Some(true)));
    assert!(broken(|pod| pod.host_users = Some(true)));
    assert!(broken(|pod| pod.containers[1].image = Some("evil".into())));
    assert!(broken(|pod| pod.containers[0].volume_mounts.as_mut().unwrap().clear()));
    assert!(broken(|pod| pod.containers.push(Container { name: "more".into(), ..Container::default() })));
    assert!(broken(|pod| pod.init_containers = None));
    assert!(broken(|pod| drop(pod.volumes.as_mut().unwrap().remove(1))));
    assert!(broken(|pod| {
        let of_host = k8s_openapi::api::core::v1::HostPathVolumeSource::default();
        let volume = Volume { name: "host".into(), host_path: Some(of_host), ..Volume::default() };
        pod.volumes.as_mut().unwrap().push(volume);
    }));
}
