//! A Job at work: looking at its results at a pace of its own, and telling how it gets on, not too often.

use std::time::Duration;

use tokio::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt;
use varve_api::{
    conditions::{Reason, State as Kstatus},
    job::{DatumCounts, JobStatus},
};
use varve_engine::explain::Finding;

use super::{
    CONCERN,
    batch::Children,
    decide::{Work, next_look},
    inputs::Target,
    look::{Done, EndTold, Look},
    status::{self, Progress, Standing},
};
use crate::{
    error::{Error, Result},
    repo::tell,
};

/// How far apart the writes of a Job's progress are at least.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// The shortest wait: time passes while one looks.
const SOONEST: Duration = Duration::from_millis(50);

/// What comes after pods that ended nothing.
const LATER: &str = "others are started after a pause, which doubles each time";

impl Look<'_> {
    pub(super) async fn wait_for_pods(&mut self, children: &Children, target: &Target) -> Result<Option<Done>> {
        let every = next_look(children.age());
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
        self.working.held_up.see(children, finding.as_ref(), self.cx.now());
        let standing = if let Some(finding) = finding {
            Standing::new(Kstatus::Reconciling, finding.reason, finding.message())
        } else {
            let Work { to_run, ended, .. } = self.working.work;
            Standing::new(Kstatus::Reconciling, Reason::Running, format!("{ended} of {to_run} datums are done"))
        };
        let wait = self.tell_progress(children, standing).await?;
        let since = self.working.looked.map_or(every, |(at, _)| at.elapsed());
        let next = every.saturating_sub(since).max(SOONEST);
        let waits = [Some(next), wait, self.until_deadline()];
        Ok(Some(Done::Wait(waits.into_iter().flatten().min())))
    }

    fn age(&self) -> Duration {
        let started = self.job.creation_timestamp().map(|time| time.0);
        let age = started.map(|started| self.cx.now().duration_since(started));
        age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
    }

    /// What is left of the Job's time; none where it has no end.
    pub(super) fn until_deadline(&self) -> Option<Duration> {
        let left = self.deadline()?.duration_since(self.cx.now());
        Some(Duration::try_from(left).unwrap_or_default().max(SOONEST))
    }

    /// What stands in the pods' way.
    async fn finding(&mut self, children: &Children) -> Result<Option<Finding>> {
        let Some(newest) = children.newest() else { return Ok(None) };
        self.working.remembered.finding(self.cx, newest, &children.newest_pods()).await
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

    pub(super) async fn tell(
        &mut self,
        children: &Children,
        standing: Standing,
        progress: Option<Progress>,
    ) -> Result<()> {
        let shards = || Some(children.shards().unwrap_or_default());
        let progress = progress.unwrap_or_else(|| Progress { shards: shards(), ..Progress::default() });
        let reason = standing.reason;
        let status: JobStatus = status::on_the_way(self.job, self.cx.now(), standing, progress);
        if self.cx.status.write(CONCERN, self.job, &status).await?.is_some() {
            self.working.told = Some((Instant::now(), reason));
        }
        Ok(())
    }

    /// Tells of what went wrong, unless the Job has ended: that stays told.
    pub(super) async fn tell_of(&mut self, error: &Error) -> Result<()> {
        if self.working.end != EndTold::NotYet {
            return Ok(());
        }
        let (state, reason, message) = tell(error);
        let status =
            status::on_the_way(self.job, self.cx.now(), Standing { state, reason, message }, Progress::default());
        self.cx.status.write(CONCERN, self.job, &status).await?;
        Ok(())
    }
}

/// How long pods have held nodes without being able to start, and why.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    /// Since when, those of the newest batch Job.
    pub(super) since: Option<Timestamp>,
    /// What was last seen to hold pods up, also of a batch Job that was taken down for it.
    why: Option<(Reason, String)>,
}

impl HeldUp {
    fn see(&mut self, children: &Children, finding: Option<&Finding>, now: Timestamp) {
        let found = finding
            .filter(|finding| matches!(finding.reason, Reason::ImagePullFailed | Reason::PodsCannotStart))
            .filter(|_| children.hold_nodes_idly());
        self.since = found.and(self.since.or(Some(now)));
        match found {
            Some(finding) => self.why = Some((finding.reason, finding.message())),
            None if children.facts().iter().any(|batch| batch.running > 0) => self.why = None,
            None => {} // pods that have just been made say nothing yet
        }
    }

    /// How a Job stands whose last pods have ended no datum.
    pub(super) fn paused(&self) -> Standing {
        let Some((reason, why)) = &self.why else {
            let message = format!("the last pods ended without a datum done; {LATER}");
            return Standing::new(Kstatus::Reconciling, Reason::PodsCannotStart, message);
        };
        let message = format!("{why} These pods were taken down, so that others can have their nodes; {LATER}");
        Standing::new(Kstatus::Reconciling, *reason, message)
    }
}

/// How a suspended Job stands.
pub(super) fn suspended() -> Standing {
    Standing::new(Kstatus::Reconciling, Reason::Suspended, "suspended; datums that are done stay done")
}
