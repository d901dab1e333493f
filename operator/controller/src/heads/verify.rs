//! The first look at a branch since this replica leads: does the store tell the same as the status?
//!
//! Entries that extend the status are commits that were acknowledged before etcd lost them: the status is
//! moved on to them. A status one ahead of the reflog is a crash between two writes: the entry is filled
//! in. Anything else is two histories, and for people to decide.

use kube::ResourceExt;
use std::sync::Arc;

use varve_api::{conditions::Reason, repo::Repo};
use varve_format::{BranchName, Hash, Head, MapKind};
use varve_store::Store;

use super::{HeadMove, Heads, Moved, missing, uid};
use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// What a status and a reflog together mean.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// They agree, or there is nothing.
    Same,
    /// The newest entry is missing: the status has it.
    FillIn,
    /// The reflog is ahead: the branch's head is this.
    FastForward(Head),
    /// Two histories.
    Diverged(String),
}

/// Compares a branch with its reflog, brings both together where one extends the other, and answers with
/// the head to build on.
pub(super) async fn branch(
    heads: &Heads,
    cx: &Cx,
    repo: &Arc<Repo>,
    store: &Store,
    branch: &BranchName,
    head: Option<Head>,
) -> Result<Option<Head>> {
    let tail = store.reflog_tail(uid(repo)?, branch).await.map_err(Error::store("list the reflog"))?;
    match judge(head.as_ref(), &tail) {
        Verdict::Same | Verdict::FillIn => {
            if let Some(head) = &head {
                heads.finish_from_record(cx, store, head).await?;
            }
            Ok(head)
        }
        Verdict::FastForward(newest) => {
            let commit = store.read_commit(&newest.record).await.map_err(|error| missing(&newest, error))?;
            let tree = commit.identity.map(&MapKind::TREE);
            let a_move = HeadMove {
                branch: branch.clone(),
                base: head,
                next: newest.clone(),
                files: tree.map_or(0, |tree| tree.files),
                bytes: tree.map_or(0, |tree| tree.bytes),
                name: None,
            };
            tracing::info!(repo = repo.name_any(), %branch, seq = newest.seq, "the store is ahead of the status: moving on to it");
            match heads.advance(cx, repo, store, &[a_move]).await? {
                Moved::Won(_) => {
                    heads.finish_from_record(cx, store, &newest).await?;
                    Ok(Some(newest))
                }
                Moved::Lost(_) => Err(Error::HeadMoved { repo: repo.name_any(), branch: branch.to_string() }),
            }
        }
        Verdict::Diverged(why) => {
            Err(Error::stalled(Reason::HeadDiverged, format!("branch {branch} of Repo {}: {why}", repo.name_any())))
        }
    }
}

fn judge(head: Option<&Head>, tail: &[Head]) -> Verdict {
    let mut chain: Vec<&Head> = tail.iter().collect();
    chain.sort_by_key(|entry| entry.seq);
    let newest = chain.last().copied();
    match (head, newest) {
        (None, None) => Verdict::Same,
        (Some(head), Some(newest)) if head == newest => Verdict::Same,
        (Some(head), None) if head.seq == 1 => Verdict::FillIn,
        (Some(head), Some(newest)) if head.seq == newest.seq + 1 && head.previous == newest.hash() => Verdict::FillIn,
        (head, Some(newest)) if newest.seq > head.map_or(0, |head| head.seq) => {
            // Back along the hashes, from the newest entry to the status (or to the branch's beginning).
            let mut wanted = newest.hash();
            for entry in chain.iter().rev() {
                if entry.hash() != wanted {
                    return forked(newest, entry);
                }
                if head == Some(*entry) {
                    return Verdict::FastForward(newest.clone());
                }
                wanted = entry.previous;
            }
            match head {
                None if wanted == Hash::ZERO => Verdict::FastForward(newest.clone()),
                None => Verdict::Diverged("the oldest entries of its reflog are missing in the store".into()),
                Some(head) => Verdict::Diverged(format!(
                    "the store goes on to commit {} (number {}) from another past than commit {} (number {}), where the \
                     branch's head is",
                    newest.commit, newest.seq, head.commit, head.seq
                )),
            }
        }
        (Some(head), newest) => Verdict::Diverged(format!(
            "its head is commit {} (number {}), but the store's reflog ends at {}: was the bucket put back to an \
             earlier state?",
            head.commit,
            head.seq,
            newest.map_or("nothing".into(), |newest| format!("commit {} (number {})", newest.commit, newest.seq)),
        )),
        (None, Some(_)) => unreachable!("an entry's number is at least 1"),
    }
}

fn forked(newest: &Head, entry: &Head) -> Verdict {
    Verdict::Diverged(format!(
        "the store's reflog forks before commit {} (number {}): entry {} is not of its past",
        newest.commit, newest.seq, entry.seq
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;
    use varve_format::RecordAt;

    use super::{super::next_head, *};

    fn head(base: Option<&Head>, commit: u128) -> Head {
        next_head(
            Uuid::from_u128(7),
            &BranchName::parse("main").unwrap(),
            base,
            Uuid::from_u128(commit),
            Hash::of_content(&commit.to_le_bytes()),
            RecordAt { pack: Uuid::from_u128(commit + 100), offset: 42, length: 17 },
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_status_and_a_reflog_that_agree_need_nothing() {
        let first = head(None, 1);
        assert_eq!(judge(None, &[]), Verdict::Same);
        assert_eq!(judge(Some(&first), std::slice::from_ref(&first)), Verdict::Same);
    }

    #[test]
    fn one_missing_entry_is_filled_in() {
        let first = head(None, 1);
        let second = head(Some(&first), 2);
        assert_eq!(judge(Some(&first), &[]), Verdict::FillIn);
        assert_eq!(judge(Some(&second), &[first]), Verdict::FillIn);
    }

    #[test]
    fn a_reflog_that_goes_on_from_the_status_is_followed() {
        let first = head(None, 1);
        let second = head(Some(&first), 2);
        let third = head(Some(&second), 3);
        let tail = [third.clone(), first.clone(), second.clone()];
        assert_eq!(judge(Some(&first), &tail), Verdict::FastForward(third.clone()));
        assert_eq!(judge(None, &tail), Verdict::FastForward(third));
    }

    #[test]
    fn two_histories_are_for_people_to_decide() {
        let first = head(None, 1);
        let second = head(Some(&first), 2);
        let other = head(Some(&head(None, 9)), 10);
        let third = head(Some(&second), 3);
        for (head, tail) in [
            (Some(&other), vec![first.clone(), second.clone()]),
            (Some(&other), vec![first.clone(), second.clone(), third.clone()]),
            (Some(&third), vec![first.clone()]),
            (Some(&second), vec![]),
            (None, vec![second.clone(), third.clone()]),
        ] {
            assert!(matches!(judge(head, &tail), Verdict::Diverged(_)), "{head:?}");
        }
    }
}
