//! A namespace under the constraint `restricted-v2`, which gives pods a user of the namespace's own range: an unmodified
//! image runs over a file that a pod has fetched, as that user and group 0.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use varve_api::{Commit, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, until};
use varve_e2e::{Space, busybox, object};

/// The first user of the namespace's range.
const USER: &str = "1000660000";

/// A namespace in which the rules hold.
async fn space() -> Result<Space> {
    let space = Space::new("openshift").await?;
    let policy = include_str!("../policies/restricted-v2.yaml");
    space.kubectl_with(&["apply", "--server-side", "-f", "-"], policy).context("apply the policy")?;
    let metadata = json!({ "metadata": {
        "labels": { "varve-e2e/scc": "restricted-v2" },
        "annotations": { "openshift.io/sa.scc.uid-range": format!("{USER}/10000") },
    } });
    let namespaces: Api<Namespace> = Api::all(space.client());
    namespaces
        .patch(&space.name, &PatchParams::default(), &Patch::Merge(metadata))
        .await
        .context("mark the namespace")?;
    // Policies hold from a moment after they are made: this pod names a user of its own.
    let security = json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
    });
    let pod = json!({
        "metadata": { "name": "own-user" },
        "spec": { "containers": [{ "name": "c", "image": "i", "securityContext": security }] },
    });
    let pod: Pod = serde_json::from_value(pod)?;
    until("the policy refuses a pod with a user of its own", SOON, async || {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let made = space.api::<Pod>().create(&params, &pod).await;
        Ok(made.is_err_and(|error| error.to_string().contains("runAsUser is not of the namespace's range")))
    })
    .await?;
    Ok(space)
}

#[tokio::test]
async fn code_runs_as_the_user_that_openshift_gives_out() -> Result<()> {
    let space = space().await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "r", json!({}))).await?;
    space.ready::<Repo>("r", SOON).await?;
    let script = "cat /pfs/r/f > /pfs/out/f && id -u > /pfs/out/user && id -g > /pfs/out/group";
    let container = json!({ "image": busybox("1")?, "command": ["sh", "-c", script] });
    let pipeline = json!({ "inputs": [{ "name": "r", "glob": "/" }], "container": container });
    space.apply(&object("Pipeline", "who", pipeline)).await?;

    let url = host.serve("f", "fetched\n");
    let fetch = json!({ "repo": "r", "changes": [{ "put": { "path": "/f", "url": url } }] });
    space.apply(&object("Commit", "fetch", fetch)).await?;
    let fetched = space.ready::<Commit>("fetch", PODS).await?;
    space.outcome("who", &fetched).await?;
    let files = space.files("who", "main").await?;
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(files, [("/f", "fetched\n"), ("/group", "0\n"), ("/user", "1000660000\n")]);
    Ok(())
}
