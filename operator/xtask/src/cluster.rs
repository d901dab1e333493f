//! The test cluster: `e2e/cluster/cluster.sh`, and what it says of itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{packages, run};

/// Name of the Secret that Repos look for.
const DEFAULT_STORE: &str = "varve-store";

/// A test cluster by name; whether it is up is another matter.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// What `cluster.sh` is told besides the user's own environment.
    settings: Vec<(&'static str, String)>,
    name: String,
}

/// A cluster that is up: the variables with which programs reach it.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) environment: BTreeMap<String, String>,
    cluster: Cluster,
}

impl Cluster {
    /// The one that the user looks at: `e2e`, or what `E2E_NAME` and its like say.
    pub(crate) fn of_the_user() -> Self {
        Self { settings: vec![], name: std::env::var("E2E_NAME").unwrap_or_else(|_| "e2e".into()) }
    }

    /// One of its own for the tests, so that they never touch the user's.
    pub(crate) fn for_tests() -> Self {
        let settings = vec![("E2E_NAME", "test".into()), ("E2E_NET", "10.99".into())];
        Self { settings, name: "test".into() }
    }

    /// One of its own for the recording of answers, so that nobody else writes there.
    pub(crate) fn for_recording() -> Self {
        let settings = vec![("E2E_NAME", "record".into()), ("E2E_NET", "10.97".into())];
        Self { settings, name: "record".into() }
    }

    /// One of three nodes, which hears soon that one of them is dead, and soon gives up its pods.
    pub(crate) fn of_three_nodes() -> Self {
        let given_up = "--default-not-ready-toleration-seconds=5 --default-unreachable-toleration-seconds=5";
        let settings = vec![
            ("E2E_NAME", "storm".into()),
            ("E2E_NET", "10.96".into()),
            ("E2E_NODES", "3".into()),
            ("E2E_KCM_FLAGS", "--node-monitor-grace-period=10s".into()),
            ("E2E_APISERVER_FLAGS", given_up.into()),
        ];
        Self { settings, name: "storm".into() }
    }

    /// One whose bucket lies in this folder, and so outlives it.
    pub(crate) fn with_buckets(folder: &Path) -> Self {
        let buckets = folder.display().to_string();
        let settings = vec![("E2E_NAME", "lives".into()), ("E2E_NET", "10.98".into()), ("E2E_BUCKETS", buckets)];
        Self { settings, name: "lives".into() }
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = run::command(run::root().join("e2e/cluster/cluster.sh"), arguments);
        if !self.settings.is_empty() {
            command.env_remove("E2E_DATA").env_remove("E2E_BUCKETS"); // the user's own cluster's
        }
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts it, unless it is up.
    pub(crate) fn up(&self) -> Result<Access> {
        packages::for_the_cluster()?;
        run::run("start the cluster", &mut self.script(&["up"]))?;
        self.access()
    }

    /// Takes it down, whatever state it is in; leaves nothing behind.
    pub(crate) fn down(&self) -> Result<()> {
        run::run("take the cluster down", &mut self.script(&["down"]))
    }

    pub(crate) fn status(&self) -> Result<()> {
        run::run("look at the cluster", &mut self.script(&["status"]))
    }

    /// The folder of its logs.
    pub(crate) fn logs(&self) -> PathBuf {
        run::cache().join(format!("{}-cluster/log", self.name))
    }

    /// How to take it down by hand.
    pub(crate) fn down_command(&self) -> String {
        let settings = self.settings.iter().map(|(key, value)| format!("{key}={value}"));
        settings.chain(["cargo xtask cluster down".into()]).collect::<Vec<_>>().join(" ")
    }

    fn access(&self) -> Result<Access> {
        let lines = run::output("ask the cluster how to reach it", &mut self.script(&["env"]))?;
        let environment =
            lines.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        Ok(Access { environment, cluster: self.clone() })
    }
}

impl Access {
    /// One of the variables that `cluster.sh env` names.
    pub(crate) fn get(&self, key: &str) -> Result<&str> {
        self.environment.get(key).map(String::as_str).with_context(|| format!("cluster.sh env does not name {key}"))
    }

    /// host:port of the registry.
    pub(crate) fn registry(&self) -> Result<&str> {
        self.get("VARVE_REGISTRY")
    }

    /// Pushes a docker archive or the folder of an OCI layout; gives back the reference by digest.
    pub(crate) fn push(&self, image: &std::path::Path, name: &str) -> Result<String> {
        let image = image.to_str().context("the image's path is not UTF-8")?;
        Ok(run::output("push an image", &mut self.cluster.script(&["push", image, name]))?.trim().to_owned())
    }

    /// The manifest of a namespace's store Secret, for a prefix of the bucket.
    pub(crate) fn store_secret(&self, namespace: &str, prefix: &str) -> Result<String> {
        let arguments = ["store-secret", namespace, DEFAULT_STORE, prefix];
        run::output("make the store's Secret", &mut self.cluster.script(&arguments))
    }

    /// Makes a bucket, unless it is there.
    pub(crate) fn make_bucket(&self, name: &str) -> Result<()> {
        run::output("make a bucket", &mut self.cluster.script(&["bucket", name])).map(drop)
    }

    /// The folder of the cluster's programs.
    pub(crate) fn tools(&self) -> Result<PathBuf> {
        let kubectl = Path::new(self.get("VARVE_KUBECTL")?);
        Ok(kubectl.parent().context("VARVE_KUBECTL has no folder")?.to_owned())
    }
}

/// The folder of the cluster's programs, built if they are not yet; no cluster is started.
pub(crate) fn tools() -> Result<PathBuf> {
    let mut build = run::command(run::root().join("e2e/cluster/build.sh"), [] as [&str; 0]);
    Ok(run::output_shown("build the test cluster's programs", &mut build)?.trim().into())
}
