//! Whoever deletes something at work gets what was asked for within a minute, and nothing stays behind at work.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::host::{Host, Noise};
use varve_e2e::wait::{PODS, SOON, until};
use varve_e2e::{Space, busybox, object};

/// Within which everything is gone.
const MINUTE: Duration = Duration::from_mins(1);
/// Datums of the Pipeline.
const DATUMS: usize = 8;

/// When somebody deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// A pod fetches what a Commit puts.
    Importing,
    /// The Commit has just been made.
    Committing,
    /// There is a batch Job, whose pods start.
    Starting,
    /// Datums are being run.
    Running,
    /// All datums are done, and their outputs are being merged.
    Ending,
}

const MOMENTS: [Moment; 5] = [Moment::Importing, Moment::Committing, Moment::Starting, Moment::Running, Moment::Ending];

impl Moment {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Makes all that there is to delete, and waits for the moment.
    async fn come(self, space: &Space, host: &Host) -> Result<()> {
        space.with_store().await?;
        space.apply(&object("Repo", "files", json!({}))).await?;
        space.ready::<Repo>("files", SOON).await?;
        if self == Self::Importing {
            let url = host.serve_noise("large", Noise { size: 4 << 30, seed: 1 });
            let put = json!({ "put": { "path": "/large", "url": url } });
            space.apply(&object("Commit", "large", json!({ "repo": "files", "changes": [put] }))).await?;
            return until("a pod imports", PODS, async || Ok(running(space).await? > 0)).await;
        }
        let code = format!(
            "n=$(basename /pfs/files/*); fetch {0}/count/start/$n; sleep 1; cp /pfs/files/* /pfs/out; fetch {0}/count/end/$n",
            host.url
        );
        let spec = json!({
            "inputs": [{ "name": "files", "glob": "/*" }], "parallelism": 2,
            "container": { "image": busybox("1")?, "command": ["sh", "-c", code] },
        });
        space.apply(&object("Pipeline", "copy", spec)).await?;
        let put =
            |number: usize| json!({ "put": { "path": format!("/f{number}"), "text": format!("file {number}\n") } });
        let changes: Vec<Value> = (0..DATUMS).map(put).collect();
        space.apply(&object("Commit", "all", json!({ "repo": "files", "changes": changes }))).await?;
        let seen = |what: &str| host.counts().keys().filter(|key| key.starts_with(what)).count();
        match self {
            Self::Importing | Self::Committing => Ok(()),
            Self::Starting => {
                let batches = space.api::<BatchJob>();
                until("pods start", PODS, async || Ok(!batches.list(&ListParams::default()).await?.items.is_empty()))
                    .await
            }
            Self::Running => until("datums run", PODS, async || Ok(seen("start/") > 2)).await,
            Self::Ending => until("datums are done", PODS, async || Ok(seen("end/") == DATUMS)).await,
        }
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Pods that run.
async fn running(space: &Space) -> Result<usize> {
    let pods = space.api::<Pod>().list(&ListParams::default()).await?;
    Ok(pods.iter().filter(|pod| phase(pod) == "Running").count())
}

/// Pods and batch Jobs that have not ended.
async fn at_work(space: &Space) -> Result<Vec<String>> {
    let pods = space.api::<Pod>().list(&ListParams::default()).await?;
    let pods = pods.iter().filter(|pod| !matches!(phase(pod), "Succeeded" | "Failed")).map(ResourceExt::name_any);
    let batches = space.api::<BatchJob>().list(&ListParams::default()).await?;
    let batches =
        batches.iter().filter(|batch| batch.status.as_ref().and_then(|status| status.active).unwrap_or(0) > 0);
    Ok(pods.chain(batches.map(ResourceExt::name_any)).collect())
}

/// The Job that there is.
async fn the_job(space: &Space) -> Result<Job> {
    space.api::<Job>().list(&ListParams::default()).await?.items.pop().context("a Job")
}

#[tokio::test]
async fn a_namespace_is_gone_within_a_minute_whenever_it_is_deleted() -> Result<()> {
    for moment in MOMENTS {
        let space = Space::new(&format!("gone-{}", moment.name())).await?;
        let host = Host::new().await?;
        moment.come(&space, &host).await?;
        let namespaces: Api<Namespace> = Api::all(space.client());
        let begun = Instant::now();
        namespaces.delete(&space.name, &DeleteParams::default()).await?;
        until("the namespace is gone", MINUTE, async || Ok(namespaces.get_opt(&space.name).await?.is_none())).await?;
        println!("namespace deleted while {}: gone after {:.1} s", moment.name(), begun.elapsed().as_secs_f64());
    }
    Ok(())
}

#[tokio::test]
async fn a_pipeline_that_is_deleted_at_work_leaves_nothing_at_work() -> Result<()> {
    for moment in [Moment::Starting, Moment::Running, Moment::Ending] {
        let space = Space::new(&format!("pipeline-{}", moment.name())).await?;
        let host = Host::new().await?;
        moment.come(&space, &host).await?;
        let begun = Instant::now();
        space.api::<Pipeline>().delete("copy", &DeleteParams::default()).await?;
        until("its Jobs are gone", MINUTE, async || {
            Ok(space.api::<Job>().list(&ListParams::default()).await?.items.is_empty())
        })
        .await?;
        until("nothing is at work", MINUTE, async || Ok(at_work(&space).await?.is_empty())).await?;
        println!(
            "Pipeline deleted while {}: nothing at work after {:.1} s",
            moment.name(),
            begun.elapsed().as_secs_f64()
        );
        // What was committed is there all the same.
        space.ready::<Commit>("all", SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_deleted_at_work_is_made_again_and_goes_on_with_what_is_done() -> Result<()> {
    let space = Space::new("job").await?;
    let host = Host::new().await?;
    Moment::Running.come(&space, &host).await?;
    let jobs = space.api::<Job>();
    let first = the_job(&space).await?;
    jobs.delete(&first.name_any(), &DeleteParams::default()).await?;
    let mut again = None;
    until("a Job is made again", MINUTE, async || {
        let all = jobs.list(&ListParams::default()).await?;
        again = all.items.into_iter().find(|job| job.uid() != first.uid()).map(|job| job.name_any());
        Ok(again.is_some())
    })
    .await?;
    let again = again.context("a Job")?;
    space.ready::<Job>(&again, PODS).await?;
    let files = space.files("copy", "main").await?;
    assert_eq!(files.len(), DATUMS);
    until("nothing is at work", MINUTE, async || Ok(at_work(&space).await?.is_empty())).await
}

#[tokio::test]
async fn a_job_that_is_suspended_at_work_stops_and_goes_on_where_it_was() -> Result<()> {
    let space = Space::new("suspend").await?;
    let host = Host::new().await?;
    Moment::Running.come(&space, &host).await?;
    let job = the_job(&space).await?.name_any();
    let suspend = |suspend: bool| json!({ "spec": { "suspend": suspend } }).to_string();
    space.kubectl(&["patch", "vjob", &job, "--type=merge", "-p", &suspend(true)])?;
    until("its pods are gone", MINUTE, async || Ok(at_work(&space).await?.is_empty())).await?;
    let told = |job: &Job| {
        job.status
            .as_ref()
            .and_then(|status| status.explanation.as_deref())
            .is_some_and(|said| said.starts_with("suspended"))
    };
    space.wait::<Job>(&job, SOON, told).await?;
    space.kubectl(&["patch", "vjob", &job, "--type=merge", "-p", &suspend(false)])?;
    space.ready::<Job>(&job, PODS).await?;
    assert_eq!(space.files("copy", "main").await?.len(), DATUMS);
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_cancelled_at_work_stops_and_says_so() -> Result<()> {
    let space = Space::new("cancel").await?;
    let host = Host::new().await?;
    Moment::Running.come(&space, &host).await?;
    let job = the_job(&space).await?.name_any();
    space.kubectl(&["patch", "vjob", &job, "--type=merge", "-p", r#"{"spec": {"cancel": true}}"#])?;
    let (reason, message) = space.stalled::<Job>(&job, MINUTE).await?;
    assert_eq!(reason, "Canceled", "{message}");
    assert!(message.contains("remembered"), "{message}");
    until("nothing is at work", MINUTE, async || Ok(at_work(&space).await?.is_empty())).await
}

#[tokio::test]
async fn what_is_beyond_the_history_limits_leaves_the_api_and_its_data_stays() -> Result<()> {
    let space = Space::new("history").await?;
    space.with_store().await?;
    space.apply(&object("Repo", "files", json!({}))).await?;
    space.apply(&object("Repo", "copy", json!({ "historyLimit": 1 }))).await?;
    let spec = json!({
        "inputs": [{ "name": "files", "glob": "/*" }], "historyLimit": 1,
        "container": { "image": busybox("1")?, "command": ["sh", "-c", "cp /pfs/files/* /pfs/out"] },
    });
    space.apply(&object("Pipeline", "copy", spec)).await?;
    for name in ["one", "two", "three"] {
        let put = json!({ "put": { "path": format!("/{name}"), "text": name } });
        let input = space.change("files", name, &[put]).await?;
        space.outcome("copy", &input).await?;
    }
    let of_jobs = ListParams::default().labels("varve.dev/job");
    until("one Job and one of their Commits are left", SOON, async || {
        let jobs = space.api::<Job>().list(&ListParams::default()).await?.items.len();
        Ok((jobs, space.api::<Commit>().list(&of_jobs).await?.items.len()) == (1, 1))
    })
    .await?;
    let copied: Vec<String> = space.files("copy", "main").await?.into_keys().collect();
    assert_eq!(copied, ["/one", "/three", "/two"]);
    Ok(())
}

#[tokio::test]
async fn a_repo_that_is_deleted_with_its_data_begins_empty_when_it_is_made_again() -> Result<()> {
    let space = Space::new("data").await?;
    space.with_store().await?;
    let repo = object("Repo", "files", json!({ "deletionPolicy": "Delete" }));
    space.apply(&repo).await?;
    let put = json!({ "put": { "path": "/one", "text": "one" } });
    space.change("files", "one", &[put]).await?;
    let repos = space.api::<Repo>();
    repos.delete("files", &DeleteParams::default()).await?;
    until("it is gone", MINUTE, async || Ok(repos.get_opt("files").await?.is_none())).await?;
    space.api::<Commit>().delete("one", &DeleteParams::default()).await?;
    space.apply(&repo).await?;
    let status = space.ready::<Repo>("files", SOON).await?.status.context("a status")?;
    assert_eq!(status.branches.len(), 0);
    Ok(())
}
