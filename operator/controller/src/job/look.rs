//! One look at a Job: what is seen, the step that follows from it, the next step, until there is nothing to do but
//! wait.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::time::Instant;
use varve_api::{Job, Pipeline, conditions::Reason, job::JobStatus};

use super::{
    CONCERN, announce,
    attempts::Attempts,
    batch::{self, Children, job_uid},
    decide::{self, Batch, BatchState, Failure, Next, Seen, Stop, Wait, Work},
    ended, has_ended,
    images::Images,
    inputs::{self, At, Target},
    merge::MergeFailure,
    planning::{self, PlanFailure, Planned},
    progress::{HeldUp, suspended},
    publish::{self, End},
    record::Summary,
    results::Results,
    status,
};
use crate::{
    cache::CACHE_LAG,
    cx::Cx,
    error::{Error, Result, Retry},
    image,
    pods::Remembered,
};

/// The most steps of one look: a Job needs about six from its first to its last.
const MAX_STEPS: usize = 32;
/// How often planning may fail before a Job that is to end does so without.
const PLANS_BORNE: u32 = 3;
/// How soon pods that are being stopped are looked at again, should their events be missed.
const STOPPING_LOOK: Duration = Duration::from_secs(5);

/// What is known of one Job beyond its status; all of it can be found out again.
#[derive(Default)]
pub(super) struct Working {
    pub(super) planned: Option<Arc<Planned>>,
    pub(super) results: Results,
    /// What images its pods run, where that is not sure.
    pub(super) images: Images,
    pub(super) work: Work,
    pub(super) published: Option<Arc<At>>,
    pub(super) was_looked_for: bool,
    pub(super) started: Option<(u32, Instant)>,
    /// The highest number of a batch Job that was seen or made.
    pub(super) last_attempt: u32,
    /// How those made in this life have fared.
    pub(super) attempts: Attempts,
    /// How often planning has failed in a row; a failure that time won't heal counts as [`PLANS_BORNE`].
    pub(super) failed_plans: u32,
    /// Why no pod can ever do it, once that was seen.
    pub(super) hopeless: Option<(Reason, String)>,
    /// The results were listed since the last pod was gone.
    pub(super) is_settled: bool,
    pub(super) looked: Option<(Instant, usize)>,
    pub(super) told: Option<(Instant, Reason)>,
    /// What is remembered of its pods' hanging.
    pub(super) remembered: Remembered,
    /// Whether they hold nodes though they can't start.
    pub(super) held_up: HeldUp,
    pub(super) end: EndTold,
}

/// Whether a Job's end was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EndTold {
    #[default]
    NotYet,
    /// The answer was lost, or is awaited.
    Perhaps,
    /// The cache may not show it yet.
    Yes,
}

/// How a look ended.
pub(super) enum Done {
    /// There is nothing to do, ever again.
    Forget,
    /// Something must change first; or the time.
    Wait(Option<Duration>),
}

/// One look at a Job.
pub(super) struct Look<'a> {
    pub(super) job: &'a Job,
    pub(super) cx: &'a Cx,
    pub(super) working: &'a mut Working,
}

impl Look<'_> {
    pub(super) async fn go_on(&mut self) -> Result<Done> {
        let mut target = None;
        for _ in 0..MAX_STEPS {
            let children = batch::children(self.job, self.cx);
            self.ask_for_images(&children).await;
            self.ask_for_started(&children).await?;
            let mut seen = self.seen(&children);
            if target.is_none() && !seen.has_ended && !seen.is_going {
                match self.open().await {
                    Ok(opened) => target = Some(opened),
                    Err(error) => {
                        if let Some(why) = decide::without_store(&seen) {
                            self.stop(&children, why).await?;
                        }
                        return Err(error);
                    }
                }
                seen.is_published = self.working.published.is_some();
            }
            let next = decide::next(&seen);
            tracing::debug!(job = self.job.name_any(), ?next, "next step");
            match (next, &target) {
                (Next::Rest, _) => return Ok(Done::Forget),
                (Next::Stop(why), _) => {
                    self.stop(&children, why).await?;
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
                (Next::Plan, Some(target)) => self.plan(target, &children, decide::ending(&seen).is_some()).await?,
                (Next::Start(attempt), Some(target)) => self.start(target, attempt).await?,
                (Next::Settle, Some(target)) => {
                    self.look(target, &children).await?;
                    self.working.images.settle(self.job, &self.working.results);
                    self.count();
                    self.working.is_settled = true;
                }
                (Next::Merge, Some(target)) => self.merge(target, &children, decide::ending(&seen)).await?,
                (Next::Announce, Some(target)) => {
                    let at = self.working.published.clone();
                    let at = at.ok_or_else(|| Error::Bug("nothing to announce".into()))?;
                    let status = announce::announce(self.job, self.cx, target, &at, children.shards()).boxed().await?;
                    self.end(&status).await?;
                    return Ok(Self::after_the_end(&children));
                }
                (Next::Fail(why), Some(target)) => {
                    self.fail(target, &children, why).await?;
                    return Ok(Self::after_the_end(&children));
                }
            }
            if self.working.end == EndTold::Yes {
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
        batches.extend(self.working.started.map(|(attempt, _)| Batch {
            attempt,
            state: BatchState::Active,
            replacements: 0,
            running: 0,
            lost: 0,
        }));
        let newest = batches.iter().map(|batch| batch.attempt).max().unwrap_or_default();
        // Of a batch Job that is seen for the first time, and of pods that were not seen to end, nothing may be read yet.
        let has_ended_unseen = self.working.looked.is_some_and(|(_, ended)| ended != children.ended_pods());
        let is_news = newest > self.working.last_attempt || has_ended_unseen;
        self.working.last_attempt = self.working.last_attempt.max(newest);
        let live_pods = children.live_pods();
        if self.working.images.look(job, &children.pods) {
            self.count();
        }
        let is_at_work = batches.iter().any(|batch| batch.state == BatchState::Active) || live_pods > 0;
        self.working.is_settled &= !is_at_work && !is_news;
        self.working.attempts.see(is_at_work, now);
        self.working.hopeless = self.working.hopeless.take().or_else(|| children.hopeless());
        let is_settled = self.working.is_settled;
        Seen {
            now,
            has_ended: self.working.end == EndTold::Yes || has_ended(job),
            ended: ended(job),
            is_going: is_ending || job.metadata.deletion_timestamp.is_some(),
            is_suspended: job.spec.suspend || self.pipeline().is_some_and(|pipeline| pipeline.spec.suspend),
            is_cancelled: job.spec.cancel,
            deadline: self.deadline(),
            is_published: self.working.published.is_some(),
            batches,
            last_attempt: self.working.last_attempt,
            live_pods,
            work: self.working.planned.is_some().then_some(Work { is_settled, ..self.working.work }),
            is_unplannable: self.working.failed_plans >= PLANS_BORNE,
            hopeless: self.working.hopeless.clone(),
            held_up_since: self.working.held_up.since,
            mismatch: self.working.images.wrong().map(str::to_owned),
            next_start: self.working.attempts.next_start(self.working.work.ended),
        }
    }

    /// Where nodes report names that say nothing yet, registries do.
    async fn ask_for_images(&mut self, children: &Children) {
        while let Some(name) = self.working.images.unclear(self.job, &children.pods) {
            let namespace = self.job.namespace().unwrap_or_default();
            let told = image::configuration(self.cx, &namespace, &self.job.spec.snapshot.spec, &name).await;
            self.working.images.told(name, told);
        }
    }

    /// A batch Job that we have made counts before the cache shows it: another beside it would run the same again. Where
    /// the cache takes long, somebody may have deleted it as well, which the API server knows.
    async fn ask_for_started(&mut self, children: &Children) -> Result<()> {
        let Some((attempt, since)) = self.working.started else { return Ok(()) };
        let is_shown = children.facts().iter().any(|batch| batch.attempt == attempt);
        if is_shown {
            self.working.started = None;
        } else if since.elapsed() > CACHE_LAG {
            let is_there = batch::is_there(self.job, self.cx, attempt).await?;
            self.working.started = is_there.then(|| (attempt, Instant::now()));
        }
        Ok(())
    }

    /// When `timeoutSeconds` runs out.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.job.spec.snapshot.spec.timeout_seconds?;
        self.job.creation_timestamp()?.0.checked_add(SignedDuration::from_secs(seconds.into())).ok()
    }

    async fn stop(&mut self, children: &Children, why: Stop) -> Result<()> {
        batch::stop(children, self.cx).await?;
        self.working.held_up.since = None;
        tracing::info!(namespace = self.job.namespace(), job = self.job.name_any(), ?why, "batch Jobs deleted");
        self.working.started = None;
        if matches!(why, Stop::Suspended) {
            self.working.attempts = Attempts::default(); // whoever resumes it has no pause to wait for
        }
        Ok(())
    }

    fn pipeline(&self) -> Option<Arc<Pipeline>> {
        let namespace = self.job.namespace().unwrap_or_default();
        let found = self.cx.caches.pipelines.get(&namespace, &self.job.spec.pipeline)?;
        (found.uid().as_ref() == Some(&self.job.spec.snapshot.uid)).then_some(found)
    }

    /// Opens the store, and looks once whether the Job's commit is there.
    async fn open(&mut self) -> Result<Target> {
        let target = inputs::target(self.job, self.cx).await?;
        if self.working.published.is_none() && !self.working.was_looked_for {
            let found = publish::find_published(self.job, self.cx, &target).await?;
            self.working.published = found.map(Arc::new);
            self.working.was_looked_for = true;
        }
        Ok(target)
    }

    async fn plan(&mut self, target: &Target, children: &Children, is_to_end: bool) -> Result<()> {
        match planning::plan(self.job, self.cx, target).boxed().await {
            Ok(planned) => {
                self.look(target, children).await?;
                // Not before the results are read: a plan without them looks as if nothing were left to do.
                self.working.planned = Some(Arc::new(planned));
                self.working.failed_plans = 0;
                if children.live_pods() == 0 {
                    self.working.images.settle(self.job, &self.working.results);
                }
                // What was at work when the results were listed may have recorded more since.
                self.working.is_settled = !children.are_at_work();
                self.count();
                Ok(())
            }
            Err(PlanFailure::Never(reason, why)) => self.end_badly(&Failure::Never(reason, why), None, children).await,
            Err(PlanFailure::Error(error @ Error::HeadMoved { .. })) => Err(error),
            Err(PlanFailure::Error(error)) => {
                let failures = if error.retry() == Retry::WhenChanged { PLANS_BORNE } else { 1 };
                self.working.failed_plans = self.working.failed_plans.saturating_add(failures);
                if !is_to_end || self.working.failed_plans < PLANS_BORNE {
                    return Err(error);
                }
                let (namespace, job) = (self.job.namespace(), self.job.name_any());
                tracing::info!(namespace, job, %error, "ends without a plan");
                Ok(())
            }
        }
    }

    async fn start(&mut self, target: &Target, attempt: u32) -> Result<()> {
        let planned = self.planned()?;
        self.working.is_settled = false; // also where the answer is lost, and the batch Job runs unseen
        batch::start(self.job, self.cx, target, (&planned, &self.working.results), attempt).boxed().await?;
        self.working.started = Some((attempt, Instant::now()));
        self.working.held_up.since = None;
        self.working.attempts.start(self.working.work.ended);
        Ok(())
    }

    fn planned(&self) -> Result<Arc<Planned>> {
        self.working.planned.clone().ok_or_else(|| Error::Bug("a step came before its plan".into()))
    }

    /// Reads what pods have recorded since the last look.
    pub(super) async fn look(&mut self, target: &Target, children: &Children) -> Result<()> {
        let ended = children.ended_pods();
        if self.working.results.look(&target.store, job_uid(self.job)?).await? {
            self.count();
        }
        self.working.looked = Some((Instant::now(), ended));
        Ok(())
    }

    fn count(&mut self) {
        if self.working.images.wrong().is_some() {
            self.working.results.distrust();
        }
        let Some(planned) = &self.working.planned else { return };
        let mut work = Work::default();
        for datum in planned.to_run() {
            work.to_run += 1;
            let end = self.working.results.end(datum.key.as_bytes(), &datum.hash);
            if let Some(end) = end.filter(|end| self.working.images.trusts(self.job, end.pod())) {
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
                Ok(Some(Done::Wait(self.until_deadline())))
            }
            (Wait::Pause(left), _) => {
                let standing = self.working.held_up.paused();
                self.tell(children, standing, None).await?;
                Ok(Some(Done::Wait(Some(self.until_deadline().map_or(left, |deadline| left.min(deadline))))))
            }
            (Wait::Stopping, _) | (Wait::Pods, None) => Ok(Some(Done::Wait(Some(STOPPING_LOOK)))),
            (Wait::Pods, Some(target)) => self.wait_for_pods(children, target).await,
        }
    }

    /// Publishes the output. Where that can't be done, what else ends the Job may.
    async fn merge(&mut self, target: &Target, children: &Children, ending: Option<Failure>) -> Result<()> {
        let planned = self.planned()?;
        let end = End { job: self.job, target, planned: &planned, results: &self.working.results };
        match end.publish(self.cx).boxed().await {
            Ok(at) => {
                self.working.published = Some(Arc::new(at));
                Ok(())
            }
            Err(MergeFailure::Never(reason, why)) => self.fail(target, children, Failure::Never(reason, why)).await,
            Err(MergeFailure::Error(error)) => match ending {
                Some(why) if error.retry() == Retry::WhenChanged => self.fail(target, children, why).await,
                _ => Err(error),
            },
        }
    }

    /// Ends the Job without an output; what it finished stays in the memo.
    async fn fail(&mut self, target: &Target, children: &Children, why: Failure) -> Result<()> {
        let Some(planned) = self.working.planned.clone() else {
            return self.end_badly(&why, None, children).await;
        };
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
        self.end(&status).await?;
        tracing::info!(namespace = self.job.namespace(), job = self.job.name_any(), explanation, "Job failed");
        self.working.told = None;
        self.working.planned = None;
        self.working.was_looked_for = false;
        Ok(())
    }

    /// Tells how the Job ended. Nothing else is told of it from here on, also where the answer is lost: it may have ended.
    async fn end(&mut self, status: &JobStatus) -> Result<()> {
        self.working.end = EndTold::Perhaps;
        self.cx.status.write(CONCERN, self.job, status).await?;
        self.working.end = EndTold::Yes;
        Ok(())
    }

    /// What is left to do once the Job's end is told: to see that its pods leave.
    fn after_the_end(children: &Children) -> Done {
        let is_alone = children.live_pods() == 0 && children.batches.is_empty();
        if is_alone { Done::Wait(None) } else { Done::Wait(Some(decide::LINGER)) }
    }
}
