//! Ways to what is not one's own, as objects that somebody may try to apply.

use anyhow::Result;
use serde_json::{Value, json};
use varve_e2e::{busybox, lay_over, object};

/// What a data scientist has who shall not make pods: Varve's roles view and edit, without their Repos and Jobs.
pub(crate) fn pipelines_and_commits() -> Value {
    json!([
        { "apiGroups": ["varve.dev"], "resources": ["repos", "commits", "pipelines", "jobs"], "verbs": ["get", "list", "watch"] },
        {
            "apiGroups": ["varve.dev"], "resources": ["commits", "pipelines"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
    ])
}

/// A Pipeline over the Repo `r`; what `change` does to its spec is what is tried.
pub(crate) fn pipeline(name: &str, change: impl FnOnce(&mut Value)) -> Result<Value> {
    let container = json!({ "image": busybox("1")?, "command": ["true"] });
    let mut object =
        object("Pipeline", name, json!({ "inputs": [{ "name": "r", "glob": "/" }], "container": container }));
    change(&mut object["spec"]);
    Ok(object)
}

/// A Commit of one change to the Repo `r`.
pub(crate) fn commit(name: &str, change: &Value) -> Value {
    object("Commit", name, json!({ "repo": "r", "changes": [change] }))
}

/// A put from this source.
pub(crate) fn put(source: Value) -> Value {
    let mut put = source;
    put["path"] = "/stolen".into();
    json!({ "put": put })
}

/// Ways to a Secret, each as a change of a Pipeline's spec.
pub(crate) fn ways_to_a_secret(secret: &str) -> Vec<(&'static str, Value)> {
    vec![
        (
            "container.env",
            json!({ "container": { "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": secret, "key": "url" } } }] } }),
        ),
        ("container.envFrom", json!({ "container": { "envFrom": [{ "secretRef": { "name": secret } }] } })),
        ("pod.volumes", json!({ "pod": { "volumes": [{ "name": "v", "secret": { "secretName": secret } }] } })),
        ("pod.imagePullSecrets", json!({ "pod": { "imagePullSecrets": [{ "name": secret }] } })),
    ]
}

/// What the policy says of a field that only those may use who may create pods.
pub(crate) fn only(field: &str) -> String {
    let verb = match field {
        "container.env" => "may take a value from a Secret",
        "container.envFrom" | "pod.volumes" => "may name a Secret",
        _ => "may be set",
    };
    format!("{field} {verb} only if you may create pods in this namespace: let somebody who may")
}

/// An object that the API server takes and the operator refuses.
#[derive(Clone)]
pub(crate) struct Way {
    /// What is tried.
    pub(crate) what: String,
    /// A Pipeline or a Commit.
    pub(crate) object: Value,
    /// The reason that its condition must give.
    pub(crate) reason: &'static str,
    /// What its message must say.
    pub(crate) words: String,
}

fn way(what: &str, object: Value, reason: &'static str, words: &str) -> Way {
    Way { what: what.to_owned(), object, reason, words: words.to_owned() }
}

/// By fields of a Pipeline.
pub(crate) fn by_pods() -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for (field, change) in ways_to_a_secret("varve-store") {
        let asked = pipeline("p", |spec| lay_over(spec, &change))?;
        ways.push(way(&format!("{field} names the store's Secret"), asked, "SecretForbidden", "Secret varve-store"));
    }
    for path in ["/", "/./pfs", "/x/../pfs", "//pfs"] {
        let asked = pipeline("p", |spec| {
            spec["pod"] = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
            spec["container"]["volumeMounts"] = json!([{ "name": "v", "mountPath": path }]);
        })?;
        ways.push(way(&format!("a mount at {path}"), asked, "PodForbidden", "/pfs and /.varve are Varve's own"));
    }
    for volume in ["varve", "varve-store"] {
        let mount = json!([{ "name": volume, "mountPath": "/x" }]);
        let asked = pipeline("p", |spec| spec["container"]["volumeMounts"] = mount)?;
        ways.push(way(&format!("a mount of our volume {volume}"), asked, "PodForbidden", "is not in pod.volumes"));
    }
    let own = pipeline("p", |spec| spec["container"]["env"] = json!([{ "name": "r", "value": "/etc" }]))?;
    ways.push(way("the variable of an input", own, "PodForbidden", "Varve sets it itself"));
    Ok(ways)
}

/// To a neighbour's Repo `theirs`, which has a Commit of this uid.
pub(crate) fn to_a_neighbour(uid: &str) -> Result<Vec<Way>> {
    let input = pipeline("p", |spec| spec["inputs"] = json!([{ "name": "r", "repo": "theirs", "glob": "/" }]))?;
    let copy = |from: Value| commit("c", &json!({ "copy": { "path": "/stolen", "from": from } }));
    let by_name = copy(json!({ "repo": "theirs", "path": "/stolen" }));
    let by_uid = copy(json!({ "commit": uid, "path": "/stolen" }));
    let revert = object("Commit", "c", json!({ "repo": "r", "revertTo": uid }));
    Ok(vec![
        way("a neighbour's Repo as input", input, "RepoNotFound", "there is no Repo theirs"),
        way("a copy of a neighbour's file", by_name, "RepoNotFound", "theirs"),
        way("the same by uid", by_uid, "CommitNotFound", uid),
        way("a revert to it", revert, "CommitNotFound", uid),
    ])
}

/// By what a Commit fetches; `bucket` is a neighbour's object.
pub(crate) fn by_imports(bucket: &str) -> Vec<Way> {
    let stolen = commit("c", &put(json!({ "objectStore": { "url": bucket, "secretName": "varve-store" } })));
    let mut ways = vec![way("an import with the store's Secret", stolen, "ImportSecretNotLabelled", "varve-store")];
    for url in ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/"] {
        let fetch = commit("c", &put(json!({ "url": url })));
        ways.push(way(&format!("a fetch of {url}"), fetch, "ImportFailed", "link-local"));
    }
    ways
}

/// By an overlay.
pub(crate) fn by_overlays() -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for (path, overlay) in far_overlays() {
        let asked = pipeline("p", |spec| spec["pod"] = json!({ "overlay": overlay }))?;
        ways.push(way(&format!("overlay: {path}"), asked, "OverlayForbidden", path));
    }
    let csi = json!({ "name": "v", "csi": { "driver": "d", "nodePublishSecretRef": { "name": "varve-store" } } });
    let projected = json!({ "name": "v", "projected": { "sources": [{ "secret": { "name": "varve-store" } }] } });
    for (kind, volume) in [("csi", csi), ("projected", projected)] {
        let asked = pipeline("p", |spec| spec["pod"] = json!({ "overlay": { "spec": { "volumes": [volume] } } }))?;
        let words = "pod.overlay may not name Secret varve-store";
        ways.push(way(&format!("overlay: a {kind} volume of the store's Secret"), asked, "SecretForbidden", words));
    }
    Ok(ways)
}

/// Overlays that reach too far, each with the path that is refused.
fn far_overlays() -> Vec<(&'static str, Value)> {
    let pod = |field: &str, value: Value| json!({ "spec": { field: value } });
    let container = |name: &str, field: &str, value: Value| pod("containers", json!([{ "name": name, field: value }]));
    let volume = |value: Value| pod("volumes", json!([value]));
    let unconfined = json!({ "seccompProfile": { "type": "Unconfined" } });
    let token = json!({ "sources": [{ "serviceAccountToken": { "path": "token" } }] });
    vec![
        ("spec.hostNetwork", pod("hostNetwork", true.into())),
        ("spec.hostPID", pod("hostPID", true.into())),
        ("spec.hostIPC", pod("hostIPC", true.into())),
        ("spec.hostUsers", pod("hostUsers", true.into())),
        ("spec.shareProcessNamespace", pod("shareProcessNamespace", true.into())),
        ("spec.automountServiceAccountToken", pod("automountServiceAccountToken", true.into())),
        ("spec.serviceAccountName", pod("serviceAccountName", "varve".into())),
        ("spec.nodeName", pod("nodeName", "node-1".into())),
        ("spec.hostAliases", pod("hostAliases", json!([{ "ip": "10.0.0.1", "hostnames": ["store"] }]))),
        ("spec.dnsConfig", pod("dnsConfig", json!({ "nameservers": ["10.0.0.1"] }))),
        ("spec.dnsPolicy", pod("dnsPolicy", "None".into())),
        ("spec.initContainers", pod("initContainers", json!([{ "name": "install", "image": "evil" }]))),
        ("spec.ephemeralContainers", pod("ephemeralContainers", json!([]))),
        ("spec.securityContext.runAsUser", pod("securityContext", json!({ "runAsUser": 0 }))),
        ("spec.containers[keeper]", container("keeper", "image", "evil".into())),
        ("spec.containers[install]", container("install", "image", "evil".into())),
        ("spec.containers[spy]", container("spy", "image", "evil".into())),
        ("spec.containers[user].command", container("user", "command", json!(["sh"]))),
        ("spec.containers[user].env", container("user", "env", json!([{ "name": "VARVE_PLAN", "value": "x" }]))),
        (
            "spec.containers[user].volumeMounts",
            container("user", "volumeMounts", json!([{ "name": "varve-store", "mountPath": "/s" }])),
        ),
        (
            "spec.containers[user].ports[0].hostPort",
            container("user", "ports", json!([{ "containerPort": 1, "hostPort": 1 }])),
        ),
        (
            "spec.containers[user].securityContext.privileged",
            container("user", "securityContext", json!({ "privileged": true })),
        ),
        ("spec.containers[user].securityContext.seccompProfile", container("user", "securityContext", unconfined)),
        ("spec.volumes[v].hostPath", volume(json!({ "name": "v", "hostPath": { "path": "/" } }))),
        ("spec.volumes[v].secret", volume(json!({ "name": "v", "secret": { "secretName": "varve-store" } }))),
        ("spec.volumes[v].projected", volume(json!({ "name": "v", "projected": token }))),
        ("spec.volumes[varve].name", volume(json!({ "name": "varve", "downwardAPI": {} }))),
        ("spec.volumes[varve-store].name", volume(json!({ "name": "varve-store", "downwardAPI": {} }))),
        ("metadata.labels", json!({ "metadata": { "labels": { "varve.dev/job": "other" } } })),
        (
            "metadata.annotations",
            json!({ "metadata": { "annotations": { "eks.amazonaws.com/skip-containers": "keeper" } } }),
        ),
    ]
}
