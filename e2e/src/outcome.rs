//! What comes of a Commit: the Job that a Pipeline makes of it, and that Job's output.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use varve_api::job::DatumCounts;
use varve_api::{Commit, Job};

use crate::wait::{PODS, SOON, until};
use crate::{Space, object};

impl Space {
    /// Commits, and waits until the Commit is there.
    pub async fn commit(&self, name: &str, spec: Value) -> Result<Commit> {
        self.apply(&object("Commit", name, spec)).await?;
        self.ready(name, PODS).await
    }

    /// Commits changes to a Repo, and waits until the Commit is there.
    pub async fn change(&self, repo: &str, name: &str, changes: &[Value]) -> Result<Commit> {
        self.commit(name, json!({ "repo": repo, "changes": changes })).await
    }

    /// Waits until `pipeline` has made of `input` a Job that has ended well; gives the Job and its output Commit.
    pub async fn outcome(&self, pipeline: &str, input: &Commit) -> Result<(Job, Commit)> {
        let uid = input.status.as_ref().and_then(|s| s.uid.clone()).context("the input's uid")?;
        let mut name = None;
        let found = until("a Job over the Commit", PODS, async || {
            let of_pipeline = ListParams::default().fields(&format!("spec.pipeline={pipeline}"));
            let jobs = self.api::<Job>().list(&of_pipeline).await?;
            let of_input = jobs.items.into_iter().find(|job| job.spec.inputs.iter().any(|i| i.commit == uid));
            name = of_input.map(|job| job.name_any());
            Ok(name.is_some())
        });
        found.await.with_context(|| self.describe())?;
        let name = name.context("a Job")?;
        let job = self.ready::<Job>(&name, PODS).await?;
        let output = self.ready::<Commit>(&name, SOON).await?;
        Ok((job, output))
    }
}

/// A Job's counts.
pub fn datums(job: &Job) -> DatumCounts {
    job.status.as_ref().and_then(|s| s.datums).unwrap_or_default()
}

/// Counts of a Job without a failure.
pub fn counts(total: u64, skipped: u64, processed: u64) -> DatumCounts {
    DatumCounts { total, skipped, processed, failed: 0 }
}

/// The id of a Commit's tree.
pub fn tree(commit: &Commit) -> Option<String> {
    commit.status.as_ref().and_then(|s| s.tree.clone())
}
