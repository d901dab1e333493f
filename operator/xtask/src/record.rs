//! `record`: what a real API server answers to the table of requests, for `varve-local` to answer the same.

use anyhow::{Context, Result};

use crate::cluster::{Access, Cluster};
use crate::run;

/// Records on a cluster of its own: an operator, or another test, would change what is recorded.
pub(crate) fn record() -> Result<()> {
    let cluster = Cluster::for_recording();
    cluster.down()?;
    let outcome = cluster.up().and_then(|access| on(&access));
    cluster.down().and(outcome)
}

fn on(access: &Access) -> Result<()> {
    let crds = run::root().join("crds");
    let crds = crds.to_str().context("the repository's path is not UTF-8")?;
    access.ask(&["apply", "--server-side", "-f", crds])?;
    access.ask(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=30s"])?;
    // Without `--package`, so that cargo uses what it built for the whole workspace already: see `test::conformance`.
    let mut command = run::cargo(["run", "--quiet", "--example", "record"]);
    run::run("record the answers", command.envs(&access.environment))
}
