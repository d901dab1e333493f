//! The end of a Job in the store: its record, the memo's new results, the output commit, and both heads moved
//! in one patch.
//!
//! The uids of the output commit and of the memo's are derived from the Job object, so a Job that was killed
//! here finds its own commit on the branch and never makes a second one. A failed Job moves the memo alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::FutureExt;
use kube::ResourceExt;
use prost::Message;
use uuid::Uuid;
use varve_api::Job;
use varve_format::{
    BranchName, CommitIdentity, CommitName, Head, MapKind, RecordAt, canonical_json,
    commit::{Ancestor, ChangeSummary, Parent, Provenance},
    commit_uid,
    records::JobRecord,
};
use varve_store::{CommitRef, ContentRef, NodeRef, Session, Store};

use super::{
    batch::{job_uid, output_uid, run_of},
    inputs::{At, Target},
    merge::{self, MergeFailure},
    planning::Planned,
    record::{memo_entries, record},
    results::Results,
};
use crate::{
    act::{Call, Verb},
    commit::summarize,
    cx::Cx,
    error::{Error, Result},
    heads::{self, HeadMove, Moved, NameClaim},
    pipeline::observe::check_unpinned,
};

/// What is written when a Job ends.
pub(crate) struct End<'a> {
    /// The Job.
    pub(crate) job: &'a Job,
    /// Where its output goes.
    pub(crate) target: &'a Target,
    /// What it had to do.
    pub(crate) planned: &'a Planned,
    /// What became of it.
    pub(crate) results: &'a Results,
}

/// A failed Job's record, and where it lies.
pub(crate) struct Failed {
    pub(crate) record: JobRecord,
    pub(crate) at: ContentRef,
}

impl End<'_> {
    /// Merges, writes, and moves the heads of output and memo.
    pub(crate) async fn publish(&self, cx: &Cx) -> Result<At, MergeFailure> {
        let Self { job, target, planned, results } = self;
        let store = &target.store;
        let _output_turn = cx.heads.turn(target.repo_uid, &target.branch).await;
        let _memo_turn = cx.heads.turn(target.repo_uid, &BranchName::MEMO).await;
        let head = cx.heads.open(cx, &target.repo, store, &target.branch).await?;
        let uid = output_uid(job)?;
        if let Some(head) = head.clone().filter(|head| head.commit == uid) {
            return Ok(At::read(store, head).await?); // an earlier try has landed, and its answer was lost
        }
        check_unpinned(&cx.heads.newest(cx, &target.repo), target.branch.as_str())?;
        if head.as_ref() != planned.base.as_ref().map(|base| &base.head) {
            return Err(self.moved_on().into());
        }
        let session = store.session();
        let maps = merge::run(store, &session, planned, results).boxed().await?;
        let before = planned.base.as_ref().map(|base| base.commit.tree());
        let changes = summarize(store, before.as_ref(), &maps.tree).await?;
        let record = record(job, planned, results, cx.now())?;
        let written = write_record(&session, &record).await?;
        let identity = self.identity(&record, changes)?;
        let totals = (maps.tree.files, maps.tree.bytes);
        let maps = vec![(MapKind::DATUMS, maps.datums), (MapKind::PROV, maps.prov), (MapKind::TREE, maps.tree)];
        let memo = self.memo(cx, &session, &record).boxed().await?;
        let output = session
            .write_commit(identity, maps, Some(&written))
            .await
            .map_err(Error::store("write the output commit"))?;
        self.flush(cx, &session, "output").await?;
        let name = CommitName::parse(&job.name_any())
            .map_err(|error| Error::Bug(format!("Job {}: {error}", job.name_any())))?;
        let mut moves = vec![HeadMove {
            branch: target.branch.clone(),
            next: self.next(cx, &target.branch, head.as_ref(), &output),
            base: head,
            files: totals.0,
            bytes: totals.1,
            name: Some(NameClaim { name, spec_hash: None }),
        }];
        let head = moves[0].next.clone();
        moves.extend(memo);
        self.advance(cx, &moves).boxed().await?;
        Ok(At::read(store, head).await?)
    }

    /// Writes the record of a failed Job, and its good results into the memo.
    pub(crate) async fn fail(&self, cx: &Cx) -> Result<Failed> {
        let Self { job, target, planned, results } = self;
        let _memo_turn = cx.heads.turn(target.repo_uid, &BranchName::MEMO).await;
        let session = target.store.session();
        let record = record(job, planned, results, cx.now())?;
        let at = write_record(&session, &record).await?;
        let memo = self.memo(cx, &session, &record).boxed().await?;
        self.flush(cx, &session, "record").await?;
        if let Some(memo) = memo {
            self.advance(cx, &[memo]).boxed().await?;
        }
        Ok(Failed { record, at })
    }

    async fn flush(&self, cx: &Cx, session: &Session, sort: &str) -> Result<()> {
        let call = Call::new(Verb::Store, sort, self.job.name_any());
        cx.act.step(call, || async { session.flush().await.map_err(Error::store("write the end of the Job")) }).await
    }

    async fn advance(&self, cx: &Cx, moves: &[HeadMove]) -> Result<()> {
        let Target { repo, store, .. } = self.target;
        match cx.heads.advance(cx, repo, store, moves).await? {
            Moved::Won(_) => Ok(()),
            Moved::Lost(_) => Err(self.moved_on()),
        }
    }

    fn moved_on(&self) -> Error {
        Error::HeadMoved { repo: self.target.repo.name_any(), branch: self.target.branch.to_string() }
    }

    fn next(&self, cx: &Cx, branch: &BranchName, base: Option<&Head>, commit: &CommitRef) -> Head {
        let record = RecordAt { pack: commit.record.pack, offset: commit.record.offset, length: commit.record.length };
        heads::next_head(self.target.repo_uid, branch, base, commit.uid, commit.seal, record, cx.now())
    }

    /// The memo's move: its next commit lists this Job's results. None where there are none, or where an
    /// earlier life of this Job has moved it already.
    async fn memo(&self, cx: &Cx, session: &Session, record: &JobRecord) -> Result<Option<HeadMove>> {
        let entries = memo_entries(self.planned, self.results);
        let Target { repo, store, .. } = self.target;
        let at = match cx.heads.open(cx, repo, store, &BranchName::MEMO).await? {
            Some(head) => Some(At::read(store, head).await?),
            None => None,
        };
        let uid = memo_uid(self.job)?;
        if entries.is_empty() || self.was_remembered(store, at.as_ref(), uid).await? {
            return Ok(None);
        }
        let empty = NodeRef::empty(&MapKind::MEMO);
        let before = at.as_ref().and_then(|at| at.commit.map(&MapKind::MEMO)).unwrap_or(&empty);
        let told = || Error::store("write the memo");
        let map = session.write_memo(before, job_uid(self.job)?, entries).await.map_err(told())?;
        let identity = CommitIdentity {
            message: format!("results of Job {}", self.job.name_any()),
            run: run_of(self.job).unwrap_or(uid).into_bytes().to_vec(),
            time_ns: record.ended_ns,
            ..self.bare_identity(&BranchName::MEMO, at.as_ref(), uid)
        };
        let commit = session.write_commit(identity, vec![(MapKind::MEMO, map)], None).await.map_err(told())?;
        let base = at.map(|at| at.head);
        Ok(Some(HeadMove {
            branch: BranchName::MEMO,
            next: self.next(cx, &BranchName::MEMO, base.as_ref(), &commit),
            base,
            files: 0,
            bytes: 0,
            name: None,
        }))
    }

    async fn was_remembered(&self, store: &Store, at: Option<&At>, uid: Uuid) -> Result<bool> {
        if at.is_some_and(|at| at.head.commit == uid) {
            return Ok(true);
        }
        let found =
            store.find_head(self.target.repo_uid, uid).await.map_err(Error::store("look for the memo's commit"))?;
        Ok(found.is_some())
    }

    /// What every commit of this Job says, the memo's and the output's.
    fn bare_identity(&self, branch: &BranchName, parent: Option<&At>, uid: Uuid) -> CommitIdentity {
        CommitIdentity {
            uid: uid.into_bytes().to_vec(),
            repo_uid: self.target.repo_uid.into_bytes().to_vec(),
            repo_name: self.target.repo.name_any(),
            branch: branch.to_string(),
            sequence: parent.map_or(1, |parent| parent.head.seq + 1),
            parents: parent.iter().map(|parent| Parent::new(parent.head.commit, parent.head.seal)).collect(),
            author: format!("pipeline/{}", self.job.spec.pipeline),
            ..CommitIdentity::default()
        }
    }

    /// The output commit's identity, its provenance in full.
    fn identity(&self, record: &JobRecord, changes: ChangeSummary) -> Result<CommitIdentity> {
        let Self { job, planned, .. } = self;
        let uid = output_uid(job)?;
        let snapshot = &job.spec.snapshot;
        let spec = serde_json::to_value(snapshot).map_err(|error| Error::Bug(error.to_string()))?;
        let image = &snapshot.image;
        let provenance = Provenance {
            pipeline: job.spec.pipeline.clone(),
            job: job.name_any(),
            job_uid: job.uid().unwrap_or_default(),
            spec_digest: planned.spec_digest.to_vec(),
            spec: canonical_json(&spec),
            image: image.reference.clone(),
            image_config_digest: image.identity().to_owned(),
            inputs: planned.inputs.iter().map(|input| input.provenance.clone()).collect(),
            closure: closure(planned),
        };
        let runs = planned.inputs.iter().filter_map(|input| input.commit.identity.run().ok());
        let run = runs.max().or_else(|| run_of(job)).unwrap_or(uid);
        Ok(CommitIdentity {
            name: job.name_any(),
            provenance: Some(provenance),
            time_ns: record.ended_ns,
            message: format!("made by Job {}", job.name_any()),
            changes: Some(changes),
            run: run.into_bytes().to_vec(),
            ..self.bare_identity(&self.target.branch, planned.base.as_ref(), uid)
        })
    }
}

/// Every commit that the output stands on, once each, sorted as the format wants them.
fn closure(planned: &Planned) -> Vec<Ancestor> {
    let mut all: BTreeMap<(Vec<u8>, String, Vec<u8>), Ancestor> = BTreeMap::new();
    let mut add = |ancestor: Ancestor| {
        all.insert((ancestor.repo_uid.clone(), ancestor.branch.clone(), ancestor.commit.clone()), ancestor);
    };
    for input in &planned.inputs {
        let own = &input.provenance;
        add(Ancestor {
            repo_uid: own.repo_uid.clone(),
            repo_name: own.repo_name.clone(),
            branch: own.branch.clone(),
            commit: own.commit.clone(),
            sequence: own.sequence,
        });
        input.commit.identity.provenance.iter().flat_map(|provenance| &provenance.closure).cloned().for_each(&mut add);
    }
    all.into_values().collect()
}

/// The uid of the memo's commit for a Job: derived, so that it is written once.
fn memo_uid(job: &Job) -> Result<Uuid> {
    let created = job.creation_timestamp().ok_or_else(|| Error::Bug("a Job without a creation time".into()))?;
    let uid = job.uid().unwrap_or_default();
    Ok(commit_uid(created.0.as_millisecond(), &format!("{uid}/memo")))
}

async fn write_record(session: &Session, record: &JobRecord) -> Result<ContentRef> {
    let bytes = Bytes::from(record.encode_to_vec());
    session.write_record(bytes).await.map_err(Error::store("write the Job's record"))
}

/// Whether the Job's commit is on its branch, or ever was: then there is nothing left to compute.
pub(crate) async fn find_published(job: &Job, cx: &Cx, target: &Target) -> Result<Option<At>> {
    let uid = output_uid(job)?;
    let Target { repo, store, branch, .. } = target;
    let shown = heads::read(&cx.heads.newest(cx, repo), branch)?;
    let head = if shown.is_some_and(|head| head.commit == uid) {
        // An earlier life, or try, may have ended before everything about the heads was durable: finish them. That of the
        // memo moved along; a Repo that is deleted in this moment would take it with it.
        let opened = |branch: BranchName| async move {
            let _turn = cx.heads.turn(target.repo_uid, &branch).await;
            cx.heads.open(cx, repo, store, &branch).await
        };
        opened(BranchName::MEMO).await?;
        opened(branch.clone()).await?.filter(|head| head.commit == uid)
    } else {
        store.find_head(target.repo_uid, uid).await.map_err(Error::store("look for the output commit"))?
    };
    match head {
        Some(head) => At::read(store, head).await.map(Some),
        None => Ok(None),
    }
}
