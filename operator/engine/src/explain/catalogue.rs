//! The page `docs/reference/explanations.md`: every cause with what Kubernetes really says, and the message that the
//! engine makes of it.

use std::fmt::Write as _;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde_json::{Value, json};
use varve_api::conditions::Reason;

use super::{FailedDatum, Finding, Seen, explain, failed_datums, rooms};

/// A cause: its name, and what is seen of it.
pub(super) struct Cause {
    pub(super) name: &'static str,
    pub(super) seen: What,
}

/// What is seen of a cause. The words are Kubernetes' own, of 1.37 where nothing else is said.
pub(super) enum What {
    /// A container of the pod waits: container (`pinned`: the user's, with an image by digest), reason, message.
    Waiting(&'static str, &'static str, &'static str),
    /// A container of the pod has ended: container, exit code, reason, message.
    Ended(&'static str, i32, &'static str, &'static str),
    /// The kernel killed the user's container, which kubelet starts again in its pod: message.
    StartedAgain(&'static str),
    /// The scheduler says this of the pod, which asks for nodes so.
    Unscheduled(&'static str, fn() -> Value),
    /// The pod has failed: reason, message.
    Failed(&'static str, &'static str),
    /// The cluster takes the pod away: reason, message.
    Disrupted(&'static str, &'static str),
    /// An Event about the batch Job, of which no pod is there: message.
    Refused(&'static str),
    /// An Event about a pod that waits on its node: reason, message.
    Event(&'static str, &'static str),
    /// The batch Job has failed: reason, message.
    GivenUp(&'static str, &'static str),
    /// A datum has failed: reason, exit code, signal, what was printed.
    Datum(&'static str, Option<i32>, Option<i32>, &'static str),
}

/// The page's groups, each with its causes.
pub(super) const GROUPS: &[(&str, &[Cause])] = &[
    ("The image can't be pulled", IMAGE),
    ("The pods find no node", NODE),
    ("The pods are not made", REFUSED),
    ("A container or a volume can't be set up", START),
    ("The pods end before their work is done", ENDED),
    ("A datum fails", DATUM),
];

const fn cause(name: &'static str, seen: What) -> Cause {
    Cause { name, seen }
}

fn anywhere() -> Value {
    json!({})
}

fn image_for_arm() -> Value {
    json!({ "nodeSelector": { "kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux" } })
}

fn on_labelled_nodes() -> Value {
    json!({ "nodeSelector": { "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "disk": "fast" } })
}

const IMAGE: &[Cause] = &[
    cause(
        "No such name or tag",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/edges:1\": failed to \
             resolve image: registry.example/edges:1: not found",
        ),
    ),
    cause(
        "No such tag",
        What::Waiting(
            "user",
            "ImagePullBackOff",
            "Back-off pulling image \"registry.example/edges:1\": ErrImagePull: rpc error: code = Unknown desc = failed to \
             pull and unpack image \"registry.example/edges:1\": manifest unknown: manifest unknown",
        ),
    ),
    cause(
        "No such name",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"registry.example/edges:1\": name unknown: \
             repository name not known to registry",
        ),
    ),
    cause(
        "No such name, or no right to it",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"docker.io/library/edges:1\": failed to \
             resolve image: pull access denied, repository does not exist or may require authorization: server message: \
             insufficient_scope: authorization failed",
        ),
    ),
    cause(
        "No right to it",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"registry.example/edges:1\": failed to \
             resolve image: unexpected status from HEAD request to https://registry.example/v2/edges/manifests/1: 401 \
             Unauthorized",
        ),
    ),
    cause(
        "Another kind of processor",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/edges:1\": no match for \
             platform in manifest: not found",
        ),
    ),
    cause(
        "A registry that does not answer",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"registry.example/edges:1\": failed to \
             resolve image: failed to do request: Head \"https://registry.example/v2/edges/manifests/1\": dial tcp: lookup \
             registry.example: no such host",
        ),
    ),
    cause(
        "A registry that is not trusted",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"registry.example/edges:1\": failed to \
             resolve image: failed to do request: Head \"https://registry.example/v2/edges/manifests/1\": tls: failed to \
             verify certificate: x509: certificate signed by unknown authority",
        ),
    ),
    cause(
        "A registry that was asked too often",
        What::Waiting(
            "user",
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"docker.io/library/edges:1\": failed to copy: \
             httpReadSeeker: failed open: unexpected status code 429 Too Many Requests - Server message: toomanyrequests: \
             You have reached your pull rate limit",
        ),
    ),
    cause(
        "A name that no image can have",
        What::Waiting(
            "user",
            "InvalidImageName",
            "Failed to apply default image tag \"Edges\": couldn't parse image name \"Edges\": invalid reference format: \
             repository name (library/Edges) must be lowercase",
        ),
    ),
    cause(
        "An image that is no longer there",
        What::Waiting(
            "pinned",
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/edges@sha256:5f0c\": failed \
             to resolve image: registry.example/edges@sha256:5f0c: not found",
        ),
    ),
    cause(
        "A signature that is not accepted",
        What::Waiting(
            "user",
            "SignatureValidationFailed",
            "image pull failed for registry.example/edges:1 because the signature validation failed: Source image rejected: \
             A signature was required, but no signature exists",
        ),
    ),
    cause(
        "Varve's own image",
        What::Waiting(
            "keeper",
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/varve:1\": failed to \
             resolve image: registry.example/varve:1: not found",
        ),
    ),
];

const NODE: &[Cause] = &[
    cause(
        "Too little of a resource",
        What::Unscheduled(
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. no new claims to deallocate, preemption: \
             0/3 nodes are available: 3 No preemption victims found for incoming pod.",
            anywhere,
        ),
    ),
    cause("No GPU", What::Unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", anywhere)),
    cause("Too many pods", What::Unscheduled("0/1 nodes are available: 1 Too many pods.", anywhere)),
    cause("A taint", What::Unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint(s).", anywhere)),
    cause(
        "A taint, as Kubernetes up to 1.36 tells it",
        What::Unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: only}.", anywhere),
    ),
    cause("A closed node", What::Unscheduled("0/1 nodes are available: 1 node(s) were unschedulable.", anywhere)),
    cause(
        "Labels that no node has",
        What::Unscheduled(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            on_labelled_nodes,
        ),
    ),
    cause(
        "An image for another kind of processor",
        What::Unscheduled(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            image_for_arm,
        ),
    ),
    cause(
        "Pods that it may not be with",
        What::Unscheduled("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.", anywhere),
    ),
    cause(
        "Pods that it must be with",
        What::Unscheduled("0/1 nodes are available: 1 node(s) didn't match pod affinity rules.", anywhere),
    ),
    cause(
        "Pods that must be spread",
        What::Unscheduled("0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints.", anywhere),
    ),
    cause(
        "A disk that nobody asked for",
        What::Unscheduled("0/1 nodes are available: persistentvolumeclaim \"cache\" not found.", anywhere),
    ),
    cause(
        "A disk that is not there yet",
        What::Unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", anywhere),
    ),
    cause(
        "A disk elsewhere",
        What::Unscheduled(
            "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.",
            anywhere,
        ),
    ),
    cause("No node at all", What::Unscheduled("no nodes available to schedule pods", anywhere)),
];

const REFUSED: &[Cause] = &[
    cause(
        "A quota",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: exceeded quota: team, requested: requests.cpu=1, used: \
             requests.cpu=4, limited: requests.cpu=4",
        ),
    ),
    cause(
        "A quota that wants a limit",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: failed quota: team: must specify limits.cpu for: \
             install,keeper,user",
        ),
    ),
    cause(
        "A LimitRange",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: maximum memory usage per Container is 1Gi, but limit is \
             2Gi",
        ),
    ),
    cause(
        "Pod Security",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: violates PodSecurity \"restricted:latest\": \
             runAsUser=0 (container \"user\" must not set runAsUser=0)",
        ),
    ),
    cause(
        "An admission webhook",
        What::Refused(
            "Error creating: admission webhook \"labels.example.org\" denied the request: every pod needs a cost-centre",
        ),
    ),
    cause(
        "An admission webhook that does not answer",
        What::Refused(
            "Error creating: Internal error occurred: failed calling webhook \"labels.example.org\": failed to call \
             webhook: Post \"https://labels.policy.svc:443/?timeout=10s\": dial tcp 10.96.0.7:443: connect: connection \
             refused",
        ),
    ),
    cause(
        "An admission policy",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: ValidatingAdmissionPolicy 'no-gpu' with binding \
             'no-gpu' denied request: GPUs are for the night",
        ),
    ),
    cause(
        "No ServiceAccount",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: error looking up service account lab/reader: \
             serviceaccount \"reader\" not found",
        ),
    ),
    cause(
        "No RuntimeClass",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
        ),
    ),
    cause(
        "No such priority",
        What::Refused(
            "Error creating: pods \"edges-1-0-x7k2p\" is forbidden: no PriorityClass with name urgent was found",
        ),
    ),
];

const START: &[Cause] = &[
    cause(
        "An image that insists on root",
        What::Waiting(
            "user",
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: \"edges-1-0-x7k2p_lab(d0e1)\", container: user)",
        ),
    ),
    cause(
        "A user that is no number",
        What::Waiting(
            "user",
            "CreateContainerConfigError",
            "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root (pod: \
             \"edges-1-0-x7k2p_lab(d0e1)\", container: user)",
        ),
    ),
    cause("A missing Secret", What::Waiting("user", "CreateContainerConfigError", "secret \"token\" not found")),
    cause("A missing ConfigMap", What::Waiting("user", "CreateContainerConfigError", "configmap \"words\" not found")),
    cause(
        "A missing key",
        What::Waiting("user", "CreateContainerConfigError", "couldn't find key url in Secret lab/token"),
    ),
    cause(
        "A working directory that can't be entered",
        What::Ended(
            "user",
            128,
            "StartError",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
             unable to start container process: error during container init: chdir to cwd (\"/root/work\") set in \
             config.json failed: permission denied",
        ),
    ),
    cause(
        "A volume's Secret",
        What::Event("FailedMount", "MountVolume.SetUp failed for volume \"keys\" : secret \"keys\" not found"),
    ),
    cause(
        "A volume's ConfigMap",
        What::Event("FailedMount", "MountVolume.SetUp failed for volume \"words\" : configmap \"words\" not found"),
    ),
    cause(
        "A volume's key",
        What::Event(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"keys\" : references non-existent secret key: url",
        ),
    ),
    cause(
        "A server of files",
        What::Event(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"shared\" : mount failed: exit status 32 Mounting command: mount \
             Mounting arguments: -t nfs nas.example:/data /var/lib/kubelet/pods/d0e1/volumes/kubernetes.io~nfs/shared",
        ),
    ),
    cause(
        "A disk that another node has",
        What::Event(
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-1f\" Volume is already used by pod(s) other-0",
        ),
    ),
    cause(
        "A network that can't be set up",
        What::Event(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"5b1c\": \
             plugin type=\"bridge\" failed (add): no IP addresses available in range set",
        ),
    ),
    cause(
        "A device that can't be made ready",
        What::Event(
            "FailedPrepareDynamicResources",
            "Failed to prepare dynamic resources: NodePrepareResources failed: driver gpu.example.org not registered",
        ),
    ),
];

const ENDED: &[Cause] = &[
    cause(
        "A store that does not answer",
        What::Ended(
            "keeper",
            75,
            "Error",
            r#"{"reason":"StoreUnreachable","message":"get plan 12ab: error sending request: connection refused","left":3}"#,
        ),
    ),
    cause(
        "Work that can never be done",
        What::Ended(
            "keeper",
            41,
            "Error",
            r#"{"reason":"StoreCorrupt","message":"plan 12ab: object v1/plans/12ab is damaged: restore it from a backup"}"#,
        ),
    ),
    cause("A container out of memory", What::Ended("user", 137, "OOMKilled", "")),
    cause(
        "A container out of memory that is started again in its pod",
        What::StartedAgain(
            "back-off 10s restarting failed container=user pod=edges-1-0-x7k2p_photos(5f0c7d2e-1b44-4a57-9d5e-0a6f2c8b9e13)",
        ),
    ),
    cause(
        "More of the disk than it may",
        What::Failed("Evicted", "Container user exceeded its local ephemeral storage limit \"1Gi\". "),
    ),
    cause(
        "More in a volume than it may",
        What::Failed("Evicted", "Usage of EmptyDir volume \"scratch\" exceeds the limit \"100Mi\". "),
    ),
    cause(
        "A node short of disk",
        What::Failed(
            "Evicted",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 2Gi, available: 1Gi. Container user was \
             using 3Gi, request is 0, has larger consumption of ephemeral-storage. ",
        ),
    ),
    cause("A drained node", What::Disrupted("EvictionByEvictionAPI", "Eviction API: evicting")),
    cause(
        "A more urgent pod",
        What::Disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"),
    ),
    cause(
        "A node that turns it away",
        What::Failed(
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 2100, used: 3500, capacity: 4000",
        ),
    ),
    cause(
        "A node that is shut down",
        What::Failed("NodeShutdown", "Pod was rejected: Pod was rejected as the node is shutting down."),
    ),
    cause(
        "The folders can't be laid out",
        What::Ended("install", 1, "Error", "copy the shim: No space left on device"),
    ),
    cause("A keeper that went away", What::Ended("user", 43, "Error", "")),
    cause("The Job's time is over", What::GivenUp("DeadlineExceeded", "Job was active longer than specified deadline")),
];

const DATUM: &[Cause] = &[
    cause("A non-zero exit", What::Datum("ExitCode", Some(1), None, "Traceback\n  ValueError: no edges\n")),
    cause("A signal", What::Datum("Signalled", None, Some(11), "")),
    cause("An exit code of 137", What::Datum("ExitCode", Some(137), None, "Killed\n")),
    cause(
        "Out of memory",
        What::Datum(
            "OutOfMemory",
            None,
            Some(9),
            "loading\n[varve: the kernel killed a process of the container for lack of memory: 64 MiB were in use at most, \
             of 64 MiB]\n",
        ),
    ),
    cause(
        "Too long",
        What::Datum(
            "TimedOut",
            None,
            None,
            "[varve: the command ran longer than datum.timeoutSeconds, 60 s; it was running: sh -c /fit.sh, python3 \
             /fit.py /pfs/images/a.png]\n",
        ),
    ),
    cause(
        "Command not found",
        What::Datum("CommandNotFound", Some(127), None, "[varve: command not found in the image: /edges]\n"),
    ),
    cause(
        "Command not executable",
        What::Datum(
            "CommandNotExecutable",
            Some(126),
            None,
            "[varve: command can't be executed: /edges: Permission denied (os error 13)]\n",
        ),
    ),
    cause(
        "A shell that can't execute a command",
        What::Datum("ExitCode", Some(126), None, "sh: /edges: Permission denied\n"),
    ),
    cause(
        "A working directory",
        What::Datum(
            "WorkingDirectoryUnusable",
            Some(126),
            None,
            "[varve: can't run in the working directory /work: No such file or directory (os error 2)]\n",
        ),
    ),
    cause(
        "An output that can't be kept",
        What::Datum(
            "OutputUnusable",
            Some(0),
            None,
            "[varve: /pfs/out/latest is a link to /tmp/x, which is not there]\n",
        ),
    ),
    cause(
        "A full disk",
        What::Datum(
            "LocalDisk",
            None,
            None,
            "[varve: stage inputs: storage full: No space left on device (os error 28)]\n",
        ),
    ),
    cause("A container that died", What::Datum("ContainerLost", None, None, "")),
];

/// What the engine is shown of a cause.
struct Shown {
    job: BatchJob,
    pods: Vec<Pod>,
    events: Vec<Event>,
    nodes: Vec<Node>,
}

impl Cause {
    /// What people read: the reason and the message; nothing where the engine has none.
    pub(super) fn told(&self) -> Option<(Reason, String)> {
        if let What::Datum(reason, exit_code, signal, last_lines) = &self.seen {
            let datum = FailedDatum {
                name: "images:/a.png".into(),
                reason: (*reason).into(),
                exit_code: *exit_code,
                signal: *signal,
                tries: 3,
                last_lines: (*last_lines).into(),
            };
            return Some((Reason::DatumsFailed, failed_datums(1, 15, &datum)));
        }
        self.finding().map(|finding| (finding.reason, finding.message()))
    }

    /// What the engine finds; nothing of datums, which it only tells of.
    pub(super) fn finding(&self) -> Option<Finding> {
        let Shown { job, pods, events, nodes } = self.shown();
        let rooms = rooms(&nodes, Some(&[]));
        explain(&Seen { job: Some(&job), pods: pods.iter().collect(), events: &events, rooms: &rooms })
    }

    /// What Kubernetes, or the keeper, said.
    fn said(&self) -> &'static str {
        match &self.seen {
            What::Waiting(_, _, said)
            | What::Ended(_, _, _, said)
            | What::StartedAgain(said)
            | What::Unscheduled(said, _)
            | What::Failed(_, said)
            | What::Disrupted(_, said)
            | What::Refused(said)
            | What::Event(_, said)
            | What::GivenUp(_, said)
            | What::Datum(_, _, _, said) => said,
        }
    }

    fn shown(&self) -> Shown {
        let mut shown = Shown { job: read(batch_job(&json!({}))), pods: vec![], events: vec![], nodes: vec![] };
        let mut has = |spec: &Value, status: &Value| shown.pods.push(read(pod(spec, status)));
        let container = |name: &str, state: Value| {
            let (name, image) = match name {
                "user" => (name, "registry.example/edges:1"),
                "pinned" => ("user", "registry.example/edges@sha256:5f0c"),
                _ => (name, "registry.example/varve:1"),
            };
            json!([{ "name": name, "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": state }])
        };
        match &self.seen {
            What::Waiting(name, reason, message) => {
                let state = json!({ "waiting": { "reason": reason, "message": message } });
                has(&json!({}), &json!({ "phase": "Pending", "containerStatuses": container(name, state) }));
            }
            What::Ended(name, code, reason, message) => {
                let state = json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } });
                has(&json!({}), &json!({ "phase": "Failed", "containerStatuses": container(name, state) }));
            }
            What::StartedAgain(message) => {
                let mut user =
                    container("user", json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }));
                user[0]["restartCount"] = json!(1);
                user[0]["lastState"] = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
                let mut spec = pod(&json!({}), &json!({}))["spec"].take();
                spec["containers"][0]["restartPolicy"] = json!("Never");
                has(&spec, &json!({ "phase": "Running", "containerStatuses": user }));
            }
            What::Unscheduled(message, spec) => {
                let condition =
                    json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message });
                has(&spec(), &json!({ "phase": "Pending", "conditions": [condition] }));
                let has_nodes = !message.starts_with("no nodes");
                shown.nodes.extend(has_nodes.then(|| read(node())));
            }
            What::Failed(reason, message) => {
                has(&json!({}), &json!({ "phase": "Failed", "reason": reason, "message": message }));
            }
            What::Disrupted(reason, message) => {
                let condition =
                    json!({ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message });
                has(&json!({}), &json!({ "phase": "Failed", "conditions": [condition] }));
            }
            What::Refused(message) => shown.events.push(read(event("FailedCreate", message))),
            What::Event(reason, message) => {
                has(&json!({}), &json!({ "phase": "Pending" }));
                shown.events.push(read(event(reason, message)));
            }
            What::GivenUp(reason, message) => {
                let condition = json!({ "type": "Failed", "status": "True", "reason": reason, "message": message });
                shown.job = read(batch_job(&json!({ "conditions": [condition] })));
            }
            What::Datum(..) => {}
        }
        shown
    }
}

fn batch_job(status: &Value) -> Value {
    let spec = json!({ "completions": 1, "parallelism": 1, "template": {} });
    json!({ "metadata": { "name": "edges-1" }, "spec": spec, "status": status })
}

/// A pod whose spec says this besides what all say.
fn pod(more: &Value, status: &Value) -> Value {
    let asks = json!({ "cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1" });
    let user = json!({ "name": "user", "resources": { "limits": asks, "requests": asks } });
    let keeper = json!({ "name": "keeper", "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } } });
    let mut spec = json!({ "containers": [user, keeper] });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({ "metadata": { "name": "edges-1-0-x7k2p" }, "spec": spec, "status": status })
}

fn node() -> Value {
    json!({
        "metadata": { "name": "node-1" },
        "spec": { "taints": [{ "key": "gpu", "value": "only", "effect": "NoSchedule" }] },
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" } },
    })
}

fn event(reason: &str, message: &str) -> Value {
    let about = if reason == "FailedCreate" { "edges-1" } else { "edges-1-0-x7k2p" };
    json!({ "metadata": {}, "involvedObject": { "name": about }, "reason": reason, "message": message })
}

/// An object of Kubernetes' from what stands in this file.
fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("the catalogue's objects are Kubernetes'")
}

/// The page.
pub fn page() -> String {
    let mut page = String::from(
        "# Explanations\n\n\
         Where a Job's pods do not get on, or its datums fail, `status.explanation` and the conditions of the Job say what \
         happened, why, what\ncan be done and who can do it; so do those of a Commit whose pod fetches something. The \
         Pipeline of a Job that is held up says the same.\nHere is each cause, what Kubernetes or the program says, and what \
         is told.\n\n\
         Pods that have a node and can't start are taken down after five minutes, so that others can have the node; fresh \
         ones come after a pause,\nwhich doubles each time up to five minutes. A Job whose pods no waiting can help fails at \
         once. Pods that wait for a node, or can't be made,\nhold nothing and wait as long as it takes, or until the Job's \
         `timeoutSeconds`.\n",
    );
    for (title, causes) in GROUPS {
        let _ = write!(page, "\n## {title}\n");
        for cause in *causes {
            let Some((reason, message)) = cause.told() else { continue }; // each is explained, as a test sees to
            let _ = write!(page, "\n### {}\n\n`{reason}`\n\n> {message}\n", cause.name);
            if !cause.said().trim().is_empty() {
                let said = cause.said().trim().replace('\n', "\n    ");
                let _ = write!(page, "\nWhat was said:\n\n    {said}\n");
            }
        }
    }
    page
}
