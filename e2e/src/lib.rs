//! What the tests on a real cluster stand on: the cluster's address, namespaces of their own, kubectl.
//!
//! `cargo xtask e2e` brings a cluster up and sets the environment. A test that runs without it fails and
//! names what lacks; nothing here passes by default.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, ObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

pub mod data;
pub mod host;
pub mod kill;
pub mod outcome;
pub mod reader;
pub mod store;
pub mod user;
pub mod wait;

/// The environment variable `name`, which `cargo xtask e2e` sets.
pub fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run these tests by `cargo xtask e2e`"))
}

/// The name under which the tests apply what they apply.
const FIELD_MANAGER: &str = "varve-e2e";

/// A namespace of one test's own, on the cluster. It is deleted when dropped, unless the test failed: then it
/// stays to be looked at.
pub struct Space {
    /// Its name.
    pub name: String,
    client: Client,
    is_lasting: bool,
}

impl Space {
    /// A fresh namespace, under the Pod Security Standard `restricted`.
    pub async fn new(purpose: &str) -> Result<Self> {
        Self::under("restricted", purpose).await
    }

    /// A fresh namespace under this Pod Security Standard.
    pub async fn under(level: &str, purpose: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let second = jiff::Timestamp::now().as_second() % 1_000_000;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{purpose}-{second}-{}-{count}", std::process::id() % 10_000);
        Self::create(name, level, false).await
    }

    /// A namespace of this name, which stays until its cluster ends.
    pub async fn lasting(name: &str) -> Result<Self> {
        Self::create(name.to_owned(), "restricted", true).await
    }

    async fn create(name: String, level: &str, is_lasting: bool) -> Result<Self> {
        ensure!(env("VARVE_E2E")? == "1", "VARVE_E2E must be 1: run these tests by `cargo xtask e2e`");
        let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
        let labels = BTreeMap::from([("pod-security.kubernetes.io/enforce".into(), level.into())]);
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("create namespace {name}"))?;
        Ok(Self { name, client, is_lasting })
    }

    /// The client that the tests use.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of one kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// Applies an object as `kubectl apply --server-side` does: unknown fields are errors.
    pub async fn apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        self.patch(object, false).await
    }

    /// The same without an effect.
    pub async fn try_apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        self.patch(object, true).await
    }

    async fn patch(&self, object: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), &self.name, &resource);
        let params = PatchParams { dry_run, force: true, ..PatchParams::apply(FIELD_MANAGER).validation_strict() };
        api.patch(&text(&object["metadata"]["name"]), &params, &Patch::Apply(object)).await
    }

    /// Applies the objects of a YAML text, in its order.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            self.apply(&object).await.with_context(|| format!("apply {name}"))?;
        }
        Ok(())
    }

    /// Runs kubectl in this namespace; gives what it printed.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(args, "")
    }

    /// Runs kubectl in this namespace with a manifest on its standard input; gives what it printed.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        use std::io::Write as _;
        let mut child = self
            .kubectl_command(args)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        child.stdin.take().context("kubectl's input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("kubectl {}: {}{printed}{}", args.join(" "), output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(printed)
    }

    /// Starts kubectl in this namespace, for a command that does not end by itself.
    pub fn kubectl_in_background(&self, args: &[&str]) -> Result<Watch> {
        let printed = tempfile::NamedTempFile::new()?;
        let child = self
            .kubectl_command(args)?
            .stdin(Stdio::null())
            .stdout(printed.reopen()?)
            .spawn()
            .context("start kubectl")?;
        Ok(Watch { child, printed })
    }

    fn kubectl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(env("VARVE_KUBECTL")?);
        command.args(["-n", &self.name]).args(args);
        // What kubectl knows of a server it keeps by address for hours: an earlier cluster had the same one.
        let cache = std::env::temp_dir().join(format!("varve-e2e-kubectl-{}", std::process::id()));
        command.env("KUBECACHEDIR", cache);
        Ok(command)
    }

    /// A Secret of strings, with labels.
    pub async fn secret(&self, name: &str, labels: &[(&str, &str)], data: &BTreeMap<String, String>) -> Result<()> {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "labels": labels }, "stringData": data,
        });
        self.apply(&object).await.with_context(|| format!("apply Secret {name}"))?;
        Ok(())
    }

    /// Takes a Secret away.
    pub async fn delete_secret(&self, name: &str) -> Result<()> {
        self.api::<Secret>()
            .delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("delete Secret {name}"))?;
        Ok(())
    }

    /// What there is to see in this namespace, for the message of a failed test.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for args in
            [&["get", "varve,jobs.batch,pods", "-o", "wide"][..], &["get", "events", "--sort-by=.lastTimestamp"]]
        {
            let _ = writeln!(
                text,
                "--- kubectl {}\n{}",
                args.join(" "),
                self.kubectl(args).unwrap_or_else(|e| e.to_string())
            );
        }
        text
    }
}

/// A kubectl that runs until it is stopped.
pub struct Watch {
    child: Child,
    printed: tempfile::NamedTempFile,
}

impl Watch {
    /// Ends it; gives what it printed.
    pub fn stop(self) -> Result<String> {
        std::fs::read_to_string(self.printed.path()).context("read what kubectl printed")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.is_lasting {
            return;
        }
        if std::thread::panicking() {
            eprintln!("namespace {} stays to be looked at\n{}", self.name, self.describe());
        } else if let Err(error) =
            self.kubectl(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"])
        {
            eprintln!("{error:#}");
        }
    }
}

/// An object of one of Varve's kinds.
pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": varve_api::API_VERSION, "kind": kind, "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

/// Lays `more` over `under`: objects field by field, all else whole.
pub fn lay_over(under: &mut Value, more: &Value) {
    match (under, more) {
        (Value::Object(under), Value::Object(more)) => {
            for (field, value) in more {
                lay_over(under.entry(field.as_str()).or_insert(Value::Null), value);
            }
        }
        (under, more) => *under = more.clone(),
    }
}

/// The small image that the cluster's registry holds: a shell, its tools, and `fetch`.
pub fn busybox(tag: &str) -> Result<String> {
    Ok(format!("{}/busybox:{tag}", env("VARVE_REGISTRY")?))
}

/// Runs crane, which copies and changes images at their registry.
pub fn crane(args: &[&str]) -> Result<()> {
    let done = Command::new(env("VARVE_CRANE")?).args(args).output().context("start crane")?;
    ensure!(done.status.success(), "crane {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Gives an image that all nodes have, and no registry, another name; what had the name loses it.
pub fn tag_on_nodes(image: &str, name: &str) -> Result<()> {
    let done =
        Command::new(env("VARVE_CLUSTER_SH")?).args(["tag", image, name]).output().context("start cluster.sh")?;
    ensure!(done.status.success(), "tag {image} {name}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The objects of a YAML text.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    use serde::Deserialize as _;
    serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).context("read YAML"))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}

/// The name and uid of an object, for messages.
pub fn show(object: &DynamicObject) -> String {
    format!("{} {}", object.types.as_ref().map_or("", |t| t.kind.as_str()), object.name_any())
}
