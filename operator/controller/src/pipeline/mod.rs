//! The Pipeline controller: forms the next consistent input set and makes the Job for it.
//!
//! It reads the inputs' histories in the store ([`history`]) and the head of its output ([`observe`]), decides
//! purely ([`decide`]), and makes the output Repo and Jobs ([`act`]). It never runs anything itself.

mod act;
pub(crate) mod decide;
pub(crate) mod history;
mod image;
pub(crate) mod observe;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{
    Api, ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use varve_api::{
    Job, Pipeline, labels,
    pipeline::{PipelineSpec, PipelineStatus},
};
use varve_engine::plan::config_maps_needed;

use self::{
    decide::{Facts, Standing},
    history::History,
};
use crate::{
    cache::CACHE_LAG,
    cx::Cx,
    error::{Error, Result},
    memory::Memory,
    repo::tell,
    runner,
    status::Concern,
};

/// The writer of a Pipeline's status.
const CONCERN: Concern = Concern::whole("varve-pipeline");
/// How often an unmoved Pipeline is looked at all the same: a bucket or registry tells nobody of its changes.
const AT_LEAST_EVERY: Duration = Duration::from_mins(10);
/// How far apart writes of a Pipeline's status are at least, where nothing but its progress changes.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Pipelines of which something is remembered at most.
const REMEMBERED: usize = 10_000;

/// What the controller remembers between looks, of each Pipeline by its uid. Losing it costs a few reads.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) history: History,
    images: Memory<String, image::Known, REMEMBERED>,
    /// The generation whose Secrets were seen to be there.
    secrets: Memory<String, i64, REMEMBERED>,
    made: Memory<String, Made, REMEMBERED>,
    /// When the status was written last.
    told: Memory<String, Instant, REMEMBERED>,
}

/// A Job that was made for a Pipeline, and that the cache does not show yet.
#[derive(Clone)]
struct Made {
    job: Arc<Job>,
    /// When it was last known to be there.
    seen: Instant,
}

impl State {
    /// Keeps the Job that was just made for a Pipeline, until the cache shows it.
    fn remember_made(&self, job: Arc<Job>) {
        self.made.insert(job.spec.snapshot.uid.clone(), Made { job, seen: Instant::now() });
    }

    /// The Jobs of a Pipeline that the cache shows, and the one just made if it has not been shown yet: a second one
    /// beside it would do the same again, where the Pipeline has changed since and the names differ.
    async fn with_made(&self, cx: &Cx, uid: &str, mut jobs: Vec<Arc<Job>>) -> Result<Vec<Arc<Job>>> {
        let uid = uid.to_owned();
        let is_shown = |made: &Made| jobs.iter().any(|shown| shown.uid() == made.job.uid());
        let Some(Made { job, seen }) = self.made.get_unless(&uid, is_shown) else { return Ok(jobs) };
        if seen.elapsed() <= CACHE_LAG {
            jobs.push(job);
            return Ok(jobs);
        }
        let name = job.name_any();
        let api: Api<Job> = Api::namespaced(cx.clients.write.clone(), &job.namespace().unwrap_or_default());
        let found = api.get_opt(&name).await.map_err(Error::api(format_args!("get Job {name}")))?;
        match found.filter(|found| found.uid() == job.uid()) {
            Some(found) => {
                let found = Arc::new(found);
                self.remember_made(found.clone());
                jobs.push(found);
            }
            // It is gone. Another may have been made meanwhile, which stays remembered.
            None => drop(self.made.get_unless(&uid, |made| made.job.uid() == job.uid())),
        }
        Ok(jobs)
    }

    /// How long a status that is no news may wait, so that a short Job costs one write of its Pipeline's status.
    fn may_wait(&self, pipeline: &Pipeline, status: &PipelineStatus) -> Option<Duration> {
        let since = self.told.get(&pipeline.uid().unwrap_or_default())?.elapsed();
        let left = PROGRESS_EVERY.checked_sub(since).filter(|left| !left.is_zero())?;
        (!decide::is_news(pipeline.status.as_ref()?, status)).then_some(left)
    }
}

/// Runs the controller until `stop`.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    let caches = &cx.caches;
    let all = caches.pipelines.store();
    let which = |keep: fn(&Pipeline, &str) -> bool| {
        let pipelines = caches.pipelines.clone();
        move |namespace: Option<String>, name: &str| -> Vec<ObjectRef<Pipeline>> {
            let namespace = namespace.unwrap_or_default();
            let found = pipelines.in_namespace(&namespace, |pipeline| keep(pipeline, name));
            found.iter().map(|pipeline| ObjectRef::from_obj(pipeline.as_ref())).collect()
        }
    };
    let (by_repo, by_commit, by_output) = (which(touches), which(touches), which(writes));
    let (by_secret, by_map) = (which(|_, _| true), which(needs));
    let triggers = vec![
        caches.repos.triggers(all.clone(), move |repo| by_repo(repo.namespace(), &repo.name_any())),
        caches.commits.triggers(all.clone(), move |commit| by_commit(commit.namespace(), &commit.spec.repo)),
        caches.jobs.triggers(all.clone(), |job| {
            let owner = ObjectRef::new(&job.spec.pipeline).within(&job.namespace().unwrap_or_default());
            [owner]
        }),
        caches.pipelines.triggers(all.clone(), move |pipeline| {
            by_output(pipeline.namespace(), pipeline.spec.output_repo(&pipeline.name_any()))
        }),
        caches.store_secrets.triggers(all.clone(), move |secret| by_secret(secret.namespace(), "")),
        caches.config_maps.triggers(all.clone(), move |map| by_map(map.namespace(), &map.name_any())),
        caches.pods.triggers(all, |pod| {
            let pipeline = pod.labels().get(labels::PROBE)?;
            Some(ObjectRef::new(pipeline).within(&pod.namespace().unwrap_or_default()))
        }),
    ];
    let state = Arc::new(State::default());
    let cache = cx.caches.pipelines.clone();
    runner::run(cx, cache, triggers, stop, move |pipeline, cx| reconcile(pipeline, cx, state.clone())).await;
}

/// Whether a Pipeline reads or writes this Repo.
fn touches(pipeline: &Pipeline, repo: &str) -> bool {
    writes(pipeline, repo) || inputs(&pipeline.spec).contains(repo)
}

fn writes(pipeline: &Pipeline, repo: &str) -> bool {
    pipeline.spec.output_repo(&pipeline.name_any()) == repo
}

fn needs(pipeline: &Pipeline, config_map: &str) -> bool {
    config_maps_needed(&pipeline.spec).contains(config_map)
}

fn inputs(spec: &PipelineSpec) -> BTreeSet<&str> {
    spec.inputs.iter().filter(|input| input.glob.is_some()).map(varve_api::pipeline::Input::repo).collect()
}

async fn reconcile(pipeline: Arc<Pipeline>, cx: Arc<Cx>, state: Arc<State>) -> Result<Action> {
    if pipeline.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change()); // its Jobs go with it: they are its own
    }
    let seen = observe::observe(&pipeline, &cx, &state).await;
    let done = match &seen {
        Ok(seen) => act::act(&pipeline, &cx, &state, (seen, decide::changes(&pipeline, seen))).await,
        Err(_) => Ok(act::Applied::default()),
    };
    let namespace = pipeline.namespace().unwrap_or_default();
    let jobs = match (&seen, &done) {
        (Ok(seen), Ok(done)) => done.jobs(&seen.jobs),
        (Ok(seen), Err(_)) => seen.jobs.clone(),
        (Err(_), _) => observe::jobs(&cx, &namespace, &pipeline.uid().unwrap_or_default()),
    };
    let facts = match (&seen, &done) {
        (Ok(seen), Ok(_)) => Facts::of(&pipeline, seen, &jobs),
        (Err(error), _) | (_, Err(error)) => refused(&cx, error, &jobs),
    };
    let status = decide::status(&pipeline, &facts);
    let waits = state.may_wait(&pipeline, &status);
    if waits.is_none()
        && !matches!(seen, Err(Error::NotLeading))
        && cx.status.write(CONCERN, pipeline.as_ref(), &status).await?.is_some()
    {
        state.told.insert(pipeline.uid().unwrap_or_default(), Instant::now());
    }
    done?;
    let again = seen?.look_again.unwrap_or(AT_LEAST_EVERY);
    Ok(Action::requeue(waits.map_or(again, |waits| waits.min(again))))
}

/// The facts of a Pipeline that cannot be run, or not now.
fn refused<'a>(cx: &Cx, error: &Error, jobs: &'a [Arc<Job>]) -> Facts<'a> {
    let (state, reason, message) = tell(error);
    Facts { now: cx.now(), standing: Standing { state, reason, message }, jobs, image: None, output_commit: None }
}
