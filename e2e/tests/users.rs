//! Whom the code runs as: a user of the namespace's own range, as `OpenShift` gives it out; root, where that is asked for and
//! allowed.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use varve_api::conditions::find;
use varve_api::pod::NAME_FILES;
use varve_api::{Commit, Pipeline, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, until};
use varve_e2e::{Space, busybox, crane, kill, object};

/// The first user of the namespace's range.
const USER: &str = "1000660000";

/// A namespace under the constraint `restricted-v2`, which gives pods a user of the namespace's own range.
async fn under_restricted_v2(level: &str) -> Result<Space> {
    let space = Space::under(level, "openshift").await?;
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
    let space = under_restricted_v2("restricted").await?;
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

/// What the code writes where names are looked up.
const LIE: &str = "written by the code";

/// A Repo with a Commit, and a Pipeline of an image whose own user is root, which does what root alone may: make a folder in
/// the root of its file system.
async fn insists_on_root(space: &Space, host: &Host) -> Result<Commit> {
    let image = busybox("insists-on-root")?;
    crane(&["mutate", "--insecure", &busybox("1")?, "--user", "0", "--tag", &image])?;
    space.with_store().await?;
    space.apply(&object("Repo", "r", json!({}))).await?;
    // With what it may write it would send whoever looks up names in this pod to itself.
    let script = format!(
        "mkdir /roots && cp /pfs/r/f /roots/f && cp /roots/f /pfs/out/f && chmod 600 /pfs/out/f && id -u >/pfs/out/user && \
         echo 'nameserver 127.0.0.1 # {LIE}' >/etc/resolv.conf && echo '127.0.0.1 store # {LIE}' >/etc/hosts && \
         fetch {0}/count/lied && until fetch {0}/files/go >/dev/null 2>&1; do sleep 0.3; done",
        host.url
    );
    let security = json!({ "runAsUser": 0 });
    let container = json!({ "image": image, "command": ["sh", "-c", script], "securityContext": security });
    let pipeline = json!({ "inputs": [{ "name": "r", "glob": "/" }], "container": container });
    space.apply(&object("Pipeline", "who", pipeline)).await?;
    space.change("r", "one", &[json!({ "put": { "path": "/f", "text": "mine\n" } })]).await
}

#[tokio::test]
async fn an_image_that_insists_on_root_gets_it_where_that_is_allowed() -> Result<()> {
    let space = Space::under("baseline", "root").await?;
    let host = Host::new().await?;
    let commit = insists_on_root(&space, &host).await?;
    until("the code has written what root may", PODS, async || Ok(host.counts().contains_key("lied"))).await?;
    let pods = space.api::<Pod>().list(&ListParams::default().labels("varve.dev/job")).await?;
    let pod = pods.items.first().context("the code's pod")?;
    for name in NAME_FILES {
        let seen = kill::file_of_keeper(pod, &format!("etc/{name}"))?;
        assert!(!seen.contains(LIE), "the keeper looks names up in what the code wrote: {name}: {seen}");
    }
    host.serve("go", "");
    space.outcome("who", &commit).await?;
    let files = space.files("who", "main").await?;
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(files, [("/f", "mine\n"), ("/user", "0\n")]);
    Ok(())
}

#[tokio::test]
async fn where_root_is_not_allowed_it_is_said_who_forbids_it_and_who_can_allow_it() -> Result<()> {
    let host = Host::new().await?;
    let restricted = Space::new("no-root").await?;
    insists_on_root(&restricted, &host).await?;
    let told = held_up(&restricted).await?;
    for word in ["the namespace's Pod Security level restricted", "runAsUser=0", "allow it there"] {
        assert!(told.contains(word), "{word}: {told}");
    }

    let openshift = under_restricted_v2("baseline").await?; // else that would be told first
    insists_on_root(&openshift, &host).await?;
    let told = held_up(&openshift).await?;
    for word in ["the admission policy e2e-restricted-v2 refuses them", "runAsUser is not of the namespace's range"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    Ok(())
}

/// What the Pipeline says whose pods can't start.
async fn held_up(space: &Space) -> Result<String> {
    let is_told = |pipeline: &Pipeline| {
        let conditions = pipeline.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        find(conditions, "Ready").is_some_and(|ready| ready.reason == "PodsCannotStart")
    };
    let pipeline = space.wait("who", PODS, is_told).await?;
    pipeline.status.and_then(|status| status.explanation).context("an explanation")
}
