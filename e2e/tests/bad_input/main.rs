//! What is wrong, is told: with the thing's name and the remedy, and it heals by itself where the cause goes. What only
//! looks wrong, works.

mod commits;
mod files;
mod imports;
mod pipelines;
mod stores;
mod trees;

use anyhow::{Context as _, Result};
use kube::api::ListParams;
use serde_json::{Value, json};
use varve_api::{Job, Pipeline};
use varve_e2e::host::Host;
use varve_e2e::wait::PODS;
use varve_e2e::{Space, busybox, object};

fn repo(name: &str) -> Value {
    object("Repo", name, json!({}))
}

fn text(name: &str, repo: &str) -> Value {
    object("Commit", name, json!({ "repo": repo, "changes": [put("/a", "a")] }))
}

fn put(path: &str, text: &str) -> Value {
    json!({ "put": { "path": path, "text": text } })
}

fn pipeline(name: &str, inputs: Value) -> Result<Value> {
    let mut spec = json!({ "container": { "image": busybox("1")?, "command": ["true"] } });
    spec["inputs"] = inputs;
    Ok(object("Pipeline", name, spec))
}

/// A Pipeline that runs this script over what this glob matches in a Repo, once for each datum.
fn script(name: &str, repo: &str, glob: &str, script: &str) -> Result<Value> {
    let mut pipeline = pipeline(name, json!([{ "name": repo, "glob": glob }]))?;
    pipeline["spec"]["container"]["command"] = json!(["sh", "-c", script]);
    pipeline["spec"]["datum"] = json!({ "tries": 1 });
    Ok(pipeline)
}

/// A Pipeline over Repo r whose code counts its start, waits until the host has the file `go`, keeps `/a`, and counts its
/// end.
fn waiting(name: &str, host: &Host) -> Result<Value> {
    let go = format!("until fetch {}/files/go >/dev/null 2>&1; do sleep 0.3; done", host.url);
    let code = format!("fetch {0}/count/start; {go}; cat /pfs/r/a >/pfs/out/a; fetch {0}/count/end", host.url);
    script(name, "r", "/", &code)
}

/// The Job of this Pipeline, once it has failed.
async fn failed(space: &Space, pipeline: &str) -> Result<Job> {
    says(&space.stalled::<Pipeline>(pipeline, PODS).await?, "JobFailed", &[&format!("Job {pipeline}-")]);
    let of_pipeline = ListParams::default().fields(&format!("spec.pipeline={pipeline}"));
    let jobs = space.api::<Job>().list(&of_pipeline).await?;
    jobs.items.into_iter().next().context("a Job")
}

/// Asserts that a stalled object gives this reason, and says all of these.
#[track_caller]
fn says((reason, message): &(String, String), wanted: &str, words: &[&str]) {
    assert_eq!(reason, wanted, "{message}");
    for word in words {
        assert!(message.contains(word), "{reason}: {message}\n  does not say {word}");
    }
}
