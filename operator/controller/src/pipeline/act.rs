//! What a Pipeline writes: its output Repo, once; Jobs; the end of old ones.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use varve_api::{Job, Pipeline, Repo, job::JobSpec, labels, meta::SecretRef, repo::RepoSpec};

use super::{
    State,
    decide::{Changes, NewJob},
    observe::Seen,
};
use crate::{cx::Cx, error::Result};

/// What was done. Only [`act`] makes one with anything in it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    made: Option<Arc<Job>>,
}

impl Applied {
    /// The Jobs as they are now.
    pub(crate) fn jobs(&self, seen: &[Arc<Job>]) -> Vec<Arc<Job>> {
        let made = self.made.iter().filter(|made| seen.iter().all(|job| job.uid() != made.uid()));
        seen.iter().chain(made).cloned().collect()
    }
}

/// Makes `changes` happen.
pub(crate) async fn act(
    pipeline: &Pipeline,
    cx: &Cx,
    state: &State,
    (seen, changes): (&Seen, Changes),
) -> Result<Applied> {
    let Changes { makes_output, makes_job, deletes } = changes;
    if makes_output {
        cx.act.create(&output_repo(pipeline, &seen.store_ref)).await?;
    }
    let mut applied = Applied::default();
    if let Some(new) = makes_job {
        let job = cx.act.create(&job(pipeline, seen, &new)).await?.into_inner();
        tracing::info!(
            namespace = job.namespace(),
            pipeline = job.spec.pipeline,
            job = job.name_any(),
            run = %new.set.run,
            "Job made"
        );
        let job = Arc::new(job);
        state.remember_made(job.clone());
        applied.made = Some(job);
    }
    for job in deletes {
        cx.act.delete(job.as_ref()).await?; // the Commit of its output stays: old ones are the Repo's to remove
    }
    Ok(applied)
}

/// The output Repo. Nobody owns it, and nobody ever writes its spec again.
fn output_repo(pipeline: &Pipeline, store_ref: &str) -> Repo {
    let name = pipeline.name_any();
    let spec = serde_json::json!({
        "description": format!("The output of Pipeline {name}."),
        "storeRef": SecretRef { name: store_ref.to_owned() },
    });
    // By way of serde, so that the schema's own defaults fill in the rest.
    let spec: RepoSpec = serde_json::from_value(spec).unwrap_or_default();
    let mut repo = Repo::new(pipeline.spec.output_repo(&name), spec);
    repo.metadata.namespace = pipeline.namespace();
    repo
}

/// The Job, owned by its Pipeline: it goes when the Pipeline goes, in the background.
fn job(pipeline: &Pipeline, seen: &Seen, new: &NewJob) -> Job {
    let name = pipeline.name_any();
    let owner =
        OwnerReference { block_owner_deletion: Some(false), ..pipeline.controller_owner_ref(&()).unwrap_or_default() };
    let labels = [
        (labels::PIPELINE.to_owned(), name.clone()),
        (labels::RUN.to_owned(), new.set.run.to_string()),
        (labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned()),
    ];
    Job {
        metadata: ObjectMeta {
            name: Some(new.name.clone()),
            namespace: pipeline.namespace(),
            labels: Some(labels.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: JobSpec {
            pipeline: name,
            inputs: new.set.inputs.clone(),
            snapshot: seen.snapshot.clone(),
            suspend: false,
            cancel: false,
        },
        status: None,
    }
}
