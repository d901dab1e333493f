//! What a Commit's status shows of a commit in the store: a function of its record alone, so that a
//! Commit adopted after a rebuild shows what it showed before.

use varve_api::{
    commit::{CommitProvenance, CommitStatus, ResolvedReference},
    meta::{FrameRef, InputCommit},
    show,
};
use varve_format::{CommitIdentity, Hash, Location, MapKind, RecordAt};
use varve_store::{Commit, NodeRef};

use crate::heads::time_text;

/// The status that shows `commit`, but for conditions and `observedGeneration`.
pub fn status_of(commit: &Commit, references: Vec<ResolvedReference>) -> CommitStatus {
    let tree = commit.map(&MapKind::TREE);
    let mut status = status_of_parts(&commit.identity, tree, (commit.seal, commit.record));
    status.references = references;
    status
}

/// The same for a commit that was written just now, without reading it back.
pub fn status_of_parts(
    identity: &CommitIdentity,
    tree: Option<&NodeRef>,
    (seal, record): (Hash, RecordAt),
) -> CommitStatus {
    let changes = identity.changes.unwrap_or_default();
    let parent = identity.parents.first().and_then(|parent| parent.uid().ok());
    CommitStatus {
        uid: identity.uid().ok().map(|uid| uid.to_string()),
        seq: Some(identity.sequence),
        seal: Some(seal.to_string()),
        tree: tree.map(|tree| tree.id.to_string()),
        record: Some(record_ref(record)),
        files: tree.map(|tree| tree.files),
        bytes: tree.map(|tree| tree.bytes),
        size: tree.map(|tree| show::size(tree.bytes)),
        added: Some(changes.added),
        changed: Some(changes.changed),
        removed: Some(changes.removed),
        parent: parent.map(|uid| uid.to_string()),
        run: identity.run().ok().map(|uid| uid.to_string()),
        provenance: provenance(identity),
        time: Some(time_text(identity.time_ns)),
        ..CommitStatus::default()
    }
}

/// Where a commit's record lies.
pub(crate) fn record_ref(record: RecordAt) -> FrameRef {
    FrameRef { pack: record.pack.to_string(), offset: record.offset, length: record.length }
}

/// Where something lies that has a place of its own in a pack.
pub(crate) fn pack_ref(at: &Location) -> Option<FrameRef> {
    match at {
        Location::Pack(range) => {
            Some(FrameRef { pack: range.pack.to_string(), offset: range.offset, length: range.stored })
        }
        _ => None,
    }
}

fn provenance(identity: &CommitIdentity) -> Option<CommitProvenance> {
    let from = identity.provenance.as_ref().filter(|from| !from.pipeline.is_empty())?;
    let inputs = from.inputs.iter().map(|input| InputCommit {
        name: input.name.clone(),
        repo: input.repo_name.clone(),
        branch: input.branch.clone(),
        commit: input.commit().map(|uid| uid.to_string()).unwrap_or_default(),
    });
    Some(CommitProvenance {
        pipeline: from.pipeline.clone(),
        job: from.job.clone(),
        job_uid: from.job_uid.clone(),
        spec_digest: from.spec_digest().map(|digest| digest.to_string()).unwrap_or_default(),
        image: from.image.clone(),
        image_digest: from.image_config_digest.clone(),
        inputs: inputs.collect(),
    })
}

/// The sentence of a Ready condition.
pub(super) fn summary(status: &CommitStatus) -> String {
    let (added, changed, removed) =
        (status.added.unwrap_or(0), status.changed.unwrap_or(0), status.removed.unwrap_or(0));
    match (added, changed, removed) {
        (0, 0, 0) => "committed; nothing changed".to_owned(),
        _ => format!("committed: {added} added, {changed} changed, {removed} removed"),
    }
}
