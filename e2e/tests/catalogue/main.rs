//! The catalogue of `docs/reference/explanations.md`, made to happen: each cause is brought about on the cluster, what is
//! told of it is printed and held against what it must say.

mod causes;

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use varve_api::conditions::{self, Type};
use varve_api::{Commit, Job, Pipeline};
use varve_e2e::host::Host;
use varve_e2e::wait::{Conditioned, PODS, until};
use varve_e2e::{Space, busybox, lay_over, object};

use causes::{Case, On};

/// Causes at a time: most of their time they wait for the cluster.
const AT_ONCE: usize = 4;
/// How long a cause may take until it is told: a node looks at the disk that pods use every ten seconds, and the
/// controller of batch Jobs waits between tries.
const TOLD: Duration = PODS;

/// Text in which the namespace's name stands.
fn for_space(object: &Value, space: &Space) -> String {
    object.to_string().replace("NAMESPACE", &space.name)
}

/// Brings the cause about; gives what is told.
async fn told(case: &Case, host: &Host) -> Result<String> {
    let space = Space::new("catalogue").await?;
    space.with_store().await?;
    for annotation in case.annotations {
        space.kubectl(&["annotate", "namespace", &space.name, annotation])?;
    }
    for object in &case.objects {
        space.apply(object).await?;
    }
    for object in &case.cluster_objects {
        space.kubectl_with(&["apply", "-f", "-"], &for_space(object, &space))?;
    }
    if case
        .cluster_objects
        .iter()
        .any(|object| object["apiVersion"].as_str().is_some_and(|it| it.starts_with("admission")))
    {
        refuses(&space).await?;
    }
    let told = bring_about(case, &space, host).await;
    for object in &case.cluster_objects {
        space.kubectl_with(&["delete", "--wait=false", "-f", "-"], &for_space(object, &space))?;
    }
    told
}

/// Waits until the API server refuses pods here that it took before: what is made to refuse them holds from a moment later.
async fn refuses(space: &Space) -> Result<()> {
    let security = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    let pod = json!({ "metadata": { "name": "try" },
        "spec": { "containers": [{ "name": "c", "image": "i", "securityContext": security }] } });
    let pod: Pod = serde_json::from_value(pod)?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    until("a pod is refused", TOLD, async || Ok(space.api().create(&params, &pod).await.is_err())).await
}

async fn bring_about(case: &Case, space: &Space, host: &Host) -> Result<String> {
    space.apply(&object("Repo", "r", json!({}))).await?;
    if let On::Commit = case.on {
        let url = host.serve("there.txt", "fetched");
        let put = json!({ "repo": "r", "changes": [{ "put": { "path": "/f", "url": url } }] });
        space.apply(&object("Commit", "c", put)).await?;
        return explanation::<Commit>(case, space, "c").await;
    }
    let files: Vec<Value> =
        (0..4).map(|n| json!({ "put": { "path": format!("/{n}.txt"), "text": format!("file {n}\n") } })).collect();
    space.apply(&object("Commit", "files", json!({ "repo": "r", "changes": files }))).await?;
    let mut spec = json!({
        "inputs": [{ "name": "r", "glob": "/*" }],
        "container": { "image": busybox("1")?, "command": ["true"] },
        "datum": { "tries": 1 },
    });
    lay_over(&mut spec, &case.spec);
    space.apply(&object("Pipeline", "p", spec)).await?;
    if let On::Pipeline = case.on {
        return explanation::<Pipeline>(case, space, "p").await;
    }
    let mut job = None;
    until("a Job has been made", TOLD, async || {
        job = space.api::<Job>().list(&ListParams::default()).await?.items.first().map(kube::ResourceExt::name_any);
        Ok(job.is_some())
    })
    .await
    .with_context(|| space.describe())?;
    explanation::<Job>(case, space, &job.context("a Job")?).await
}

/// Waits until the object tells of the cause as it must; where it never does, what it tells last is in the error.
async fn explanation<K>(case: &Case, space: &Space, name: &str) -> Result<String>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Conditioned
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let message = |object: &K| -> Option<String> {
        let ready = conditions::find(object.conditions(), Type::Ready.as_str())?;
        (ready.reason == case.reason).then(|| ready.message.clone())
    };
    let is_told = |object: &K| {
        message(object).is_some_and(|message| {
            // An output Commit of a Job, and what else is explained, has the same words in both places.
            let is_explained = object.explanation().is_empty() || object.explanation() == message;
            is_explained && case.words.iter().all(|word| message.contains(word.as_str()))
        })
    };
    let object = space.wait::<K>(name, TOLD, is_told).await?;
    message(&object).ok_or_else(|| anyhow!("{} has no message", object.name_any()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_is_told_as_the_catalogue_says() -> Result<()> {
    let host = Host::new().await?;
    let cases = causes::all()?;
    let all = cases.len();
    let host = &host;
    let outcomes = stream::iter(&cases).map(|case| async move { (case, told(case, host).await) });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_ONCE).collect().await;
    let mut wrong = Vec::new();
    for (case, outcome) in &outcomes {
        match outcome {
            Ok(message) => println!("{} ({:?}, {})\n  {message}\n", case.name, case.on, case.reason),
            Err(error) => {
                println!(
                    "{} ({:?}): not as it must be: {} with {:?}\n{error:#}\n",
                    case.name, case.on, case.reason, case.words
                );
                wrong.push(case.name);
            }
        }
    }
    println!("{} of {all} right", all - wrong.len());
    assert!(wrong.is_empty(), "not told as they must be: {}", wrong.join(", "));
    Ok(())
}
