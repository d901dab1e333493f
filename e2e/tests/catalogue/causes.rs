//! The causes: how each is brought about, and what must be told of it.

use anyhow::Result;
use serde_json::{Value, json};
use varve_e2e::{busybox, crane, env};

/// Who tells of a cause.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    Job,
    Pipeline,
    Commit,
}

/// One cause.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// What is laid over the Pipeline's spec.
    pub(crate) spec: Value,
    /// What stands in the namespace before.
    pub(crate) objects: Vec<Value>,
    /// What stands beside it, in no namespace: taken away at the end.
    pub(crate) cluster_objects: Vec<Value>,
    /// Annotations of the namespace.
    pub(crate) annotations: &'static [&'static str],
    pub(crate) reason: &'static str,
    pub(crate) words: Vec<String>,
}

fn case(name: &'static str, spec: Value, reason: &'static str, words: &[&str]) -> Case {
    Case {
        name,
        on: On::Job,
        spec,
        objects: Vec::new(),
        cluster_objects: Vec::new(),
        annotations: &[],
        reason,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

impl Case {
    fn on(self, on: On) -> Self {
        Self { on, ..self }
    }

    fn with(self, object: Value) -> Self {
        Self { objects: self.objects.into_iter().chain([object]).collect(), ..self }
    }

    fn with_cluster(self, object: Value) -> Self {
        Self { cluster_objects: self.cluster_objects.into_iter().chain([object]).collect(), ..self }
    }

    fn annotated(self, annotations: &'static [&'static str]) -> Self {
        Self { annotations, ..self }
    }
}

fn command(script: &str) -> Value {
    json!({ "container": { "command": ["sh", "-c", script] } })
}

/// A container of this image, changed as crane changes images, under a tag of its own.
fn image(tag: &str, change: &[&str]) -> Result<Value> {
    let changed = busybox(tag)?;
    crane(&[&["mutate", "--insecure", &busybox("1")?][..], change, &["--tag", &changed]].concat())?;
    Ok(json!({ "container": { "image": changed, "command": ["true"] } }))
}

fn quota(hard: Value) -> Value {
    let mut quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "team" }, "spec": {} });
    quota["spec"]["hard"] = hard;
    quota
}

fn secret() -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" }, "stringData": { "there": "x" } })
}

/// Every cause.
pub(crate) fn all() -> Result<Vec<Case>> {
    Ok([images()?, nodes(), refused(), set_up()?, datums()].into_iter().flatten().collect())
}

/// Images that can't be had.
fn images() -> Result<Vec<Case>> {
    let registry = env("VARVE_REGISTRY")?;
    let of = |image: String| json!({ "container": { "image": image, "command": ["true"] } });
    let nowhere = format!("127.0.0.1:9/edges@sha256:{}", "5f".repeat(32));
    Ok(vec![
        case(
            "an image of no such name",
            of(format!("{registry}/no/such:1")),
            "ImageNotFound",
            &["no/such:1", "push it"],
        )
        .on(On::Pipeline),
        case("an image of no such tag", of(busybox("no-such-tag")?), "ImageNotFound", &["no-such-tag", "push it"])
            .on(On::Pipeline),
        case(
            "a registry that does not answer",
            of(nowhere),
            "ImagePullFailed",
            &[
                "127.0.0.1:9/edges",
                "the node does not reach its registry",
                "check the registry's name in container.image",
            ],
        ),
        case(
            "an image for another kind of processor",
            image("for-arm", &["--set-platform", "linux/arm64"])?,
            "Unschedulable",
            &[
                "no node fits whose processor is of kind arm64, for which the image is built",
                "push the image for the nodes' processors too",
            ],
        ),
    ])
}

/// Pods that find no node.
fn nodes() -> Vec<Case> {
    let asks = |resources: Value| json!({ "container": { "resources": resources } });
    let claim = json!([{ "name": "cache", "persistentVolumeClaim": { "claimName": "nobody-made-it" } }]);
    let near = json!({ "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "nobody" } } }] } });
    let waiting_claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "waits" },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": { "requests": { "storage": "1Gi" } } },
    });
    let waits = json!([{ "name": "cache", "persistentVolumeClaim": { "claimName": "waits" } }]);
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
            "pods that it must be with",
            json!({ "pod": { "affinity": near } }),
            "Unschedulable",
            &["the pods that its affinity wants to be with are on no node"],
        ),
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
    ]
}

/// Pods that are not made.
fn refused() -> Vec<Case> {
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
    ]
}

/// Containers that can't be set up. The operator gives its pods a user where the namespace does not give out its own.
fn set_up() -> Result<Vec<Case>> {
    const OWN_USERS: &[&str] = &["openshift.io/sa.scc.uid-range=1000660000/10000"];
    let key = json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "missing" } } }]);
    let item =
        json!([{ "name": "keys", "secret": { "secretName": "keys", "items": [{ "key": "missing", "path": "f" }] } }]);
    let mount = json!([{ "name": "keys", "mountPath": "/keys" }]);
    Ok(vec![
        case(
            "an image that insists on root",
            image("as-root", &["--user", "0"])?,
            "PodsCannotStart",
            &["it would run as root", "container.securityContext.runAsUser"],
        )
        .annotated(OWN_USERS),
        case(
            "a user that is no number",
            image("as-nobody", &["--user", "nobody"])?,
            "PodsCannotStart",
            &["its image names its user by a word", "container.securityContext.runAsUser"],
        )
        .annotated(OWN_USERS),
        case(
            "a missing key",
            json!({ "container": { "env": key } }),
            "PodsCannotStart",
            &["the Secret that container.env names lacks a key", "add the key to the Secret"],
        )
        .with(secret()),
        case(
            "a volume's key",
            json!({ "pod": { "volumes": item }, "container": { "volumeMounts": mount } }),
            "PodsCannotStart",
            &["the Secret lacks a key that pod.volumes names"],
        )
        .with(secret()),
    ])
}

/// Datums that fail, and pods that are taken away under them.
fn datums() -> Vec<Case> {
    let failed = |name: &'static str, script: &str, words: &[&str]| case(name, command(script), "DatumsFailed", words);
    let mut slow = command("sleep 1000; true");
    slow["datum"] = json!({ "tries": 1, "timeoutSeconds": 2 });
    let mut hungry = command("tail /dev/zero");
    hungry["container"]["resources"] = json!({ "limits": { "memory": "64Mi" } });
    let mut writes = command("head -c 50000000 /dev/zero >/scratch/much; sleep 100");
    writes["container"]["volumeMounts"] = json!([{ "name": "scratch", "mountPath": "/scratch" }]);
    writes["pod"] = json!({ "volumes": [{ "name": "scratch", "emptyDir": { "sizeLimit": "1Mi" } }] });
    let program = |command: Value| json!({ "container": { "command": command } });
    vec![
        failed(
            "a non-zero exit",
            "echo reading; echo the lens cap was on; exit 7",
            &["the code exited with 7 after 1 try", "the lens cap was on", "You can correct the code or the input"],
        ),
        failed("a signal", "kill -SEGV $$", &["signal 11 (SIGSEGV"]),
        failed("an exit code of 137", "exit 137", &["signal 9 (SIGKILL)", "lack of memory"]),
        failed(
            "a shell that finds no command",
            "no-such-command",
            &["exited with 127", "a shell did not find a command"],
        ),
        failed("a shell that can't execute a command", "/etc/hosts", &["exited with 126"]),
        case("out of memory", hungry, "DatumsFailed", &["memory", "raise container.resources.limits.memory"]),
        case(
            "too long",
            slow,
            "DatumsFailed",
            &[
                "datum.timeoutSeconds, 2 s",
                "it was running: sh -c sleep 1000; true, sleep",
                "raise datum.timeoutSeconds",
            ],
        ),
        case(
            "command not found",
            program(json!(["/no/such/program"])),
            "DatumsFailed",
            &["command not found in the image: /no/such/program", "correct container.command"],
        ),
        case(
            "command not executable",
            program(json!(["/etc/hosts"])),
            "DatumsFailed",
            &["command can't be executed: /etc/hosts"],
        ),
        failed("a link to nothing", "ln -s /nowhere /pfs/out/latest", &["can't be kept", "latest"]),
        failed("a device in the output", "mkfifo /pfs/out/pipe", &["can't be kept", "pipe"]),
        case("two datums on one path", command("echo $VARVE_DATUM_ID >/pfs/out/same"), "OutputConflict", &["/same"]),
        case(
            "a glob that matches nothing",
            json!({ "inputs": [{ "name": "r", "glob": "/*.png" }] }),
            "GlobMatchesNothing",
            &["no file matches the glob /*.png of input r", "correct the glob"],
        ),
        case(
            "more in a volume than it may",
            writes,
            "ShardFailed",
            &["used more of its node's disk than it may", "raise that volume's sizeLimit"],
        ),
    ]
}
