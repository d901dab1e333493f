//! The causes: how each is brought about, and what must be told of it.

mod nodes;
mod refused;

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

fn secret() -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" }, "stringData": { "there": "x" } })
}

/// Every cause.
pub(crate) fn all() -> Result<Vec<Case>> {
    Ok([images()?, nodes::nodes(), refused::refused(), set_up()?, datums()].into_iter().flatten().collect())
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
            "a folder of the image that is none",
            image("bad-folder", &["--workdir", "/bin/busybox"])?,
            "PodsCannotStart",
            &["its working directory can't be entered", "correct container.workingDir, or the image"],
        ),
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
    let mut fills = command("head -c 50000000 /dev/zero >/pfs/out/much; sleep 100");
    fills["container"]["resources"] = json!({ "limits": { "ephemeral-storage": "1Mi" } });
    let mut nowhere = command("true");
    nowhere["container"]["workingDir"] = json!("/nowhere");
    let mut late = command("sleep 1000");
    late["timeoutSeconds"] = json!(3);
    let program = |command: Value| json!({ "container": { "command": command } });
    vec![
        case("the Job's time is over", late, "TimedOut", &["took longer than timeoutSeconds", "raise timeoutSeconds"]),
        case(
            "a working directory that is not there",
            nowhere,
            "DatumsFailed",
            &["can't run in the working directory /nowhere", "correct container.workingDir"],
        ),
        case(
            "more of the disk than it may",
            fills,
            "ShardFailed",
            &["used more of its node's disk than it may", "container.resources.limits.ephemeral-storage"],
        ),
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
