//! The Job controller: plans what differs, runs it in pods, merges what they wrote, publishes it.
//!
//! One look after another, it asks [`decide::next`] for the next step and takes it, until the step is to wait.
//! Every step may be killed at any line and taken again: what was done is seen in the store, on the branch, or
//! in the API, never in memory. [`Working`] only spares reading it twice.

mod announce;
mod batch;
mod convert;
mod decide;
mod merge;
mod planning;
mod publish;
mod record;
mod results;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio_util::sync::CancellationToken;
use varve_api::{
    Job, Pipeline,
    conditions::{self, Reason, State as Kstatus, Type},
    job::{DatumCounts, JobStatus},
    labels,
};

use self::{
    batch::{Children, job_uid},
    decide::{Batch, BatchState, CACHE_LAG, Failure, Next, Seen, Stop, Wait, Work, next_look},
    merge::MergeFailure,
    planning::{At, PlanFailure, Planned, Target},
    publish::End,
    record::Summary,
    results::Results,
    status::{Progress, Standing},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    repo::tell,
    runner,
    status::Concern,
};

/// The writer of a Job's status.
pub(crate) const CONCERN: Concern = Concern::whole("varve-job");
/// The most steps of one look: a Job needs about six from its first to its last.
const MAX_STEPS: usize = 32;
/// How far apart the writes of a Job's progress are at least.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How far apart looks at a waiting Job's events are at least.
const EVENTS_EVERY: Duration = Duration::from_secs(5);
/// How soon pods that are being stopped are looked at again, should their events be missed.
const STOPPING_LOOK: Duration = Duration::from_secs(5);

/// What the controller remembers of its Jobs.
#[derive(Default)]
struct State {
    jobs: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Working>>>>,
}

impl State {
    fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Working>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default().clone()
    }

    fn forget(&self, uid: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// What is known of one Job beyond its status; all of it can be found out again.
#[derive(Default)]
struct Working {
    planned: Option<Arc<Planned>>,
    results: Results,
    work: Work,
    published: Option<Arc<At>>,
    was_looked_for: bool,
    started: Option<(u32, Instant)>,
    /// The highest number of a batch Job that was seen or made.
    last_attempt: u32,
    /// The results were listed since the last pod was gone.
    is_settled: bool,
    looked: Option<(Instant, usize)>,
    told: Option<(Instant, Reason)>,
    events: Option<(Instant, Vec<Event>)>,
    /// Its end was told; the cache may not show it yet.
    has_ended: bool,
}

/// Runs the controller until `stop`.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    let caches = &cx.caches;
    let all = caches.jobs.store();
    let of_label = |namespace: Option<String>, labels: &std::collections::BTreeMap<String, String>| {
        let name = labels.get(labels::JOB)?;
        Some(ObjectRef::<Job>::new(name).within(&namespace.unwrap_or_default()))
    };
    let in_namespace = {
        let jobs = caches.jobs.clone();
        move |namespace: &str, keep: &dyn Fn(&Job) -> bool| -> Vec<ObjectRef<Job>> {
            let found = jobs.in_namespace(namespace, |job| !has_ended(job) && keep(job));
            found.iter().map(|job| ObjectRef::from_obj(job.as_ref())).collect()
        }
    };
    let (of_pipeline, of_space, of_repo) = (in_namespace.clone(), in_namespace.clone(), in_namespace);
    let triggers = vec![
        caches.batch_jobs.triggers(all.clone(), move |batch| of_label(batch.namespace(), batch.labels())),
        caches.pods.triggers(all.clone(), move |pod| of_label(pod.namespace(), pod.labels())),
        caches.pipelines.triggers(all.clone(), move |pipeline| {
            let name = pipeline.name_any();
            of_pipeline(&pipeline.namespace().unwrap_or_default(), &|job| job.spec.pipeline == name)
        }),
        caches.namespaces.triggers(all.clone(), move |space| of_space(&space.name_any(), &|_| true)),
        caches.repos.triggers(all, move |repo| {
            let name = repo.name_any();
            of_repo(&repo.namespace().unwrap_or_default(), &|job| {
                job.spec.snapshot.spec.output_repo(&job.spec.pipeline) == name
            })
        }),
    ];
    let state = Arc::new(State::default());
    let cache = cx.caches.jobs.clone();
    runner::run(cx, cache, triggers, stop, move |job, cx| reconcile(job, cx, state.clone())).await;
}

/// Whether a Job's status says how it ended.
fn has_ended(job: &Job) -> bool {
    ended(job).is_some()
}

/// When the Job ended, if its status says so.
fn ended(job: &Job) -> Option<Timestamp> {
    let conditions = &job.status.as_ref()?.conditions;
    Some(conditions::find(conditions, Type::Succeeded.as_str())?.last_transition_time.0)
}

async fn reconcile(job: Arc<Job>, cx: Arc<Cx>, state: Arc<State>) -> Result<Action> {
    let uid = job.uid().unwrap_or_default();
    let working = state.of(&uid);
    let mut working = working.lock().await;
    let mut look = Look { job: &job, cx: &cx, working: &mut working };
    let done = look.go_on().boxed().await;
    match done {
        Ok(Done::Forget) => {
            state.forget(&uid);
            Ok(Action::await_change())
        }
        Ok(Done::Wait(Some(wait))) => Ok(Action::requeue(wait)),
        Ok(Done::Wait(None)) => Ok(Action::await_change()),
        Err(error) => {
            if matches!(error, Error::HeadMoved { .. }) {
                look.working.planned = None; // what it was planned against is no longer the head
            }
            if !matches!(error, Error::NotLeading | Error::HeadMoved { .. } | Error::Injected { .. }) {
                look.tell_of(&error).await?;
            }
            Err(error)
        }
    }
}

/// How a look ended.
enum Done {
    /// There is nothing to do, ever again.
    Forget,
    /// Something must change first; or the time.
    Wait(Option<Duration>),
}

/// One look at a Job.
struct Look<'a> {
    job: &'a Job,
    cx: &'a Cx,
    working: &'a mut Working,
}

impl Look<'_> {
    async fn go_on(&mut self) -> Result<Done> {
        let mut target = None;
        for _ in 0..MAX_STEPS {
            let children = batch::children(self.job, self.cx);
            let mut seen = self.seen(&children);
            if target.is_none() && !seen.has_ended && !seen.is_going {
                target = Some(planning::target(self.job, self.cx).await?);
                seen.is_published = self.find_published(target.as_ref()).await?;
            }
            let next = decide::next(&seen);
            tracing::debug!(job = self.job.name_any(), ?next, "next step");
            match (next, &target) {
                (Next::Rest, _) => return Ok(Done::Forget),
                (Next::Stop(why), _) => {
                    batch::stop(&children, self.cx).await?;
                    tracing::info!(
                        namespace = self.job.namespace(),
                        job = self.job.name_any(),
                        ?why,
                        "batch Jobs deleted"
                    );
                    self.working.started = None;
                    if matches!(why, Stop::Suspended) {
                        self.tell(&children, suspended(), None).await?;
                    }
                    return Ok(Done::Wait(Some(STOPPING_LOOK)));
                }
                (Next::Wait(wait), target) => {
                    if let Some(done) = self.wait(wait, &children, target.as_ref()).boxed().await? {
                        return Ok(done);
                    }
                }
                (_, None) => return Err(Error::Bug("a step needs a store and none was opened".into())),
                (Next::Plan, Some(target)) => self.plan(target, &children).await?,
                (Next::Start(attempt), Some(target)) => self.start(target, attempt).await?,
                (Next::Settle, Some(target)) => {
                    self.look(target, &children).await?;
                    self.working.is_settled = true;
                }
                (Next::Merge, Some(target)) => self.merge(target, &children).await?,
                (Next::Announce, Some(target)) => {
                    let at = self.working.published.clone();
                    let at = at.ok_or_else(|| Error::Bug("nothing to announce".into()))?;
                    announce::announce(self.job, self.cx, target, &at, children.shards()).boxed().await?;
                    self.working.has_ended = true;
                    return Ok(Self::after_the_end(&children));
                }
                (Next::Fail(why), Some(target)) => {
                    self.fail(target, &children, why).await?;
                    return Ok(Self::after_the_end(&children));
                }
            }
            if self.working.has_ended {
                return Ok(Self::after_the_end(&children));
            }
        }
        Err(Error::Bug(format!("Job {} took {MAX_STEPS} steps in one look", self.job.name_any())))
    }

    /// Everything that decides the next step.
    fn seen(&mut self, children: &Children) -> Seen {
        let (job, cx) = (self.job, self.cx);
        let namespace = job.namespace().unwrap_or_default();
        let now = cx.now();
        let space = cx.caches.namespaces.get_cluster(&namespace);
        let is_ending = space.is_some_and(|space| space.metadata.deletion_timestamp.is_some());
        let mut batches = children.facts();
        self.add_started(&mut batches);
        let newest = batches.iter().map(|batch| batch.attempt).max().unwrap_or_default();
        self.working.last_attempt = self.working.last_attempt.max(newest);
        let live_pods = children.live_pods();
        let timeout = job.spec.snapshot.spec.timeout_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
        let started = job.creation_timestamp().map_or(now, |time| time.0);
        let is_at_work = batches.iter().any(|batch| batch.state == BatchState::Active) || live_pods > 0;
        self.working.is_settled &= !is_at_work;
        let is_settled = self.working.is_settled;
        Seen {
            now,
            has_ended: self.working.has_ended || has_ended(job),
            ended: ended(job),
            is_going: is_ending || job.metadata.deletion_timestamp.is_some(),
            is_suspended: job.spec.suspend || self.pipeline().is_some_and(|pipeline| pipeline.spec.suspend),
            is_cancelled: job.spec.cancel,
            deadline: timeout.and_then(|timeout| started.checked_add(timeout).ok()),
            is_published: self.working.published.is_some(),
            batches,
            last_attempt: self.working.last_attempt,
            live_pods,
            work: self.working.planned.is_some().then_some(Work { is_settled, ..self.working.work }),
        }
    }

    /// A batch Job that we have just made counts before the cache shows it.
    fn add_started(&mut self, batches: &mut Vec<Batch>) {
        let Some((attempt, since)) = self.working.started else { return };
        if batches.iter().any(|batch| batch.attempt == attempt) || since.elapsed() > CACHE_LAG {
            self.working.started = None;
        } else {
            batches.push(Batch { attempt, state: BatchState::Active, replacements: 0 });
        }
    }

    fn pipeline(&self) -> Option<Arc<Pipeline>> {
        let namespace = self.job.namespace().unwrap_or_default();
        let found = self.cx.caches.pipelines.get(&namespace, &self.job.spec.pipeline)?;
        (found.uid().as_ref() == Some(&self.job.spec.snapshot.uid)).then_some(found)
    }

    async fn find_published(&mut self, target: Option<&Target>) -> Result<bool> {
        let Some(target) = target else { return Ok(false) };
        if self.working.published.is_none() && !self.working.was_looked_for {
            let found = publish::find_published(self.job, self.cx, target).await?;
            self.working.published = found.map(Arc::new);
            self.working.was_looked_for = true;
        }
        Ok(self.working.published.is_some())
    }

    async fn plan(&mut self, target: &Target, children: &Children) -> Result<()> {
        match planning::plan(self.job, self.cx, target).boxed().await {
            Ok(planned) => {
                self.working.planned = Some(Arc::new(planned));
                self.look(target, children).await?;
                self.working.is_settled = true; // until a pod is seen
                self.count();
                Ok(())
            }
            Err(PlanFailure::Never(reason, why)) => self.end_badly(&Failure::Never(reason, why), None, children).await,
            Err(PlanFailure::Error(error)) => Err(error),
        }
    }

    async fn start(&mut self, target: &Target, attempt: u32) -> Result<()> {
        let planned = self.planned()?;
        batch::start(self.job, self.cx, target, (&planned, &self.working.results), attempt).boxed().await?;
        self.working.started = Some((attempt, Instant::now()));
        self.working.is_settled = false;
        Ok(())
    }

    fn planned(&self) -> Result<Arc<Planned>> {
        self.working.planned.clone().ok_or_else(|| Error::Bug("a step came before its plan".into()))
    }

    /// Reads what pods have recorded since the last look.
    async fn look(&mut self, target: &Target, children: &Children) -> Result<()> {
        let ended = children.ended_pods();
        if self.working.results.look(&target.store, job_uid(self.job)?).await? {
            self.count();
        }
        self.working.looked = Some((Instant::now(), ended));
        Ok(())
    }

    fn count(&mut self) {
        let Some(planned) = &self.working.planned else { return };
        let mut work = Work::default();
        for datum in planned.to_run() {
            work.to_run += 1;
            if let Some(end) = self.working.results.end(datum.key.as_bytes(), &datum.hash) {
                work.ended += 1;
                work.failed += u64::from(!end.is_success());
            }
        }
        self.working.work = work;
    }

    /// Waits, or finds that there is something to do after all: then there is no answer.
    async fn wait(&mut self, wait: Wait, children: &Children, target: Option<&Target>) -> Result<Option<Done>> {
        match (wait, target) {
            (Wait::Linger(left), _) => Ok(Some(Done::Wait(Some(left)))),
            (Wait::Resumption, _) => {
                self.tell(children, suspended(), None).await?;
                Ok(Some(Done::Wait(None)))
            }
            (Wait::Stopping, _) | (Wait::Pods, None) => Ok(Some(Done::Wait(Some(STOPPING_LOOK)))),
            (Wait::Pods, Some(target)) => self.wait_for_pods(children, target).await,
        }
    }

    async fn wait_for_pods(&mut self, children: &Children, target: &Target) -> Result<Option<Done>> {
        let every = next_look(children.age(self.cx.now()));
        let is_due =
            self.working.looked.is_none_or(|(at, ended)| at.elapsed() >= every || ended != children.ended_pods());
        if is_due {
            let before = self.working.work;
            self.look(target, children).await?;
            if self.working.work.left() == 0 && before != self.working.work {
                return Ok(None);
            }
        }
        let finding = self.finding(children).await?;
        let standing = if let Some(finding) = finding {
            Standing::new(Kstatus::Reconciling, finding.reason, finding.message)
        } else {
            let Work { to_run, ended, .. } = self.working.work;
            Standing::new(Kstatus::Reconciling, Reason::Running, format!("{ended} of {to_run} datums are done"))
        };
        let wait = self.tell_progress(children, standing).await?;
        let since = self.working.looked.map_or(every, |(at, _)| at.elapsed());
        let next = every.saturating_sub(since).max(Duration::from_millis(50));
        Ok(Some(Done::Wait(Some(wait.map_or(next, |wait| next.min(wait)).min(self.until_deadline())))))
    }

    fn age(&self) -> Duration {
        let started = self.job.creation_timestamp().map(|time| time.0);
        let age = started.map(|started| self.cx.now().duration_since(started));
        age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
    }

    fn until_deadline(&self) -> Duration {
        let timeout = self.job.spec.snapshot.spec.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(self.age()));
        left.max(Duration::from_millis(50))
    }

    /// What stands in the pods' way. Events are read where pods are missing or do not start.
    async fn finding(&mut self, children: &Children) -> Result<Option<varve_engine::explain::Finding>> {
        let Some(newest) = children.newest() else { return Ok(None) };
        let is_stuck = children.is_stuck(self.cx.now());
        let is_due = self.working.events.as_ref().is_none_or(|(at, _)| at.elapsed() >= EVENTS_EVERY);
        if is_stuck && is_due {
            let api: Api<Event> =
                Api::namespaced(self.cx.clients.write.clone(), &self.job.namespace().unwrap_or_default());
            let mut events = Vec::new();
            for name in children.stuck_names(newest) {
                let params = ListParams::default().fields(&format!("involvedObject.name={name}")).limit(20);
                let listed = api.list(&params).await.map_err(Error::api(format_args!("list events of {name}")))?;
                events.extend(listed.items);
            }
            self.working.events = Some((Instant::now(), events));
        }
        if !is_stuck {
            self.working.events = None;
        }
        let events = self.working.events.as_ref().map(|(_, events)| events.as_slice()).unwrap_or_default();
        Ok(children.explain(events))
    }

    async fn merge(&mut self, target: &Target, children: &Children) -> Result<()> {
        let planned = self.planned()?;
        let end = End { job: self.job, target, planned: &planned, results: &self.working.results };
        match end.publish(self.cx).boxed().await {
            Ok(at) => {
                self.working.published = Some(Arc::new(at));
                Ok(())
            }
            Err(MergeFailure::Never(reason, why)) => self.fail(target, children, Failure::Never(reason, why)).await,
            Err(MergeFailure::Error(error)) => Err(error),
        }
    }

    /// Ends the Job without an output; what it finished stays in the memo.
    async fn fail(&mut self, target: &Target, children: &Children, why: Failure) -> Result<()> {
        let planned = self.planned()?;
        let end = End { job: self.job, target, planned: &planned, results: &self.working.results };
        let failed = end.fail(self.cx).boxed().await?;
        self.end_badly(&why, Some((Summary::of(&failed.record), failed.at)), children).await
    }

    async fn end_badly(
        &mut self,
        why: &Failure,
        record: Option<(Summary, varve_store::ContentRef)>,
        children: &Children,
    ) -> Result<()> {
        let facts = status::Failed {
            why,
            planned: self.working.planned.as_deref(),
            results: self.working.planned.as_ref().map(|_| &self.working.results),
            work: self.working.work,
            record: record.as_ref().map(|(summary, at)| (summary, at)),
            shards: children.shards(),
            now: self.cx.now(),
        };
        let status = status::failed(self.job, &facts);
        let explanation = status.explanation.clone().unwrap_or_default();
        self.cx.status.write(CONCERN, self.job, &status).await?;
        tracing::info!(namespace = self.job.namespace(), job = self.job.name_any(), explanation, "Job failed");
        self.working.told = None;
        self.working.planned = None;
        self.working.was_looked_for = false;
        self.working.has_ended = true;
        Ok(())
    }

    /// What is left to do once the Job's end is told: to see that its pods leave.
    fn after_the_end(children: &Children) -> Done {
        let is_alone = children.live_pods() == 0 && children.batches.is_empty();
        if is_alone { Done::Wait(None) } else { Done::Wait(Some(decide::LINGER)) }
    }

    /// Writes what the Job stands at, if the last write is old enough; else says when it will be.
    async fn tell_progress(&mut self, children: &Children, standing: Standing) -> Result<Option<Duration>> {
        // Its being at work is no news before it has been so for a while: a short Job costs one write, its last.
        let (since, reason) =
            self.working.told.map_or((self.age(), Reason::Running), |(at, told)| (at.elapsed(), told));
        if since < PROGRESS_EVERY && reason == standing.reason {
            return Ok(Some(PROGRESS_EVERY.saturating_sub(since)));
        }
        let progress = Some(self.progress(children));
        self.tell(children, standing, progress).await?;
        Ok(None)
    }

    fn progress(&self, children: &Children) -> Progress {
        let Some(planned) = &self.working.planned else { return Progress::default() };
        let Work { to_run, ended, failed, .. } = self.working.work;
        Progress {
            datums: Some(DatumCounts {
                total: planned.total,
                skipped: planned.total.saturating_sub(to_run),
                processed: ended - failed,
                failed,
            }),
            shards: children.shards(),
            first_failures: if failed > 0 {
                status::first_failures(planned, &self.working.results)
            } else {
                Vec::new()
            },
            spec_digest: Some(planned.spec_digest),
        }
    }

    async fn tell(&mut self, children: &Children, standing: Standing, progress: Option<Progress>) -> Result<()> {
        let shards = || Some(children.shards().unwrap_or_default());
        let progress = progress.unwrap_or_else(|| Progress { shards: shards(), ..Progress::default() });
        let reason = standing.reason;
        let status: JobStatus = status::on_the_way(self.job, self.cx.now(), standing, progress);
        if self.cx.status.write(CONCERN, self.job, &status).await?.is_some() {
            self.working.told = Some((Instant::now(), reason));
        }
        Ok(())
    }

    async fn tell_of(&mut self, error: &Error) -> Result<()> {
        let (state, reason, message) = tell(error);
        let status =
            status::on_the_way(self.job, self.cx.now(), Standing { state, reason, message }, Progress::default());
        self.cx.status.write(CONCERN, self.job, &status).await?;
        Ok(())
    }
}

fn suspended() -> Standing {
    Standing::new(Kstatus::Reconciling, Reason::Suspended, "suspended; datums that are done stay done")
}
