//! The first look at a branch since this replica leads: does the store tell the same as the status?
//!
//! Entries that extend the status are commits that were acknowledged before etcd lost them: the status is
//! moved on to them. A status one ahead of the reflog is a crash between two writes: the entry is filled
//! in. Anything else is two histories, and for people to decide.

use kube::ResourceExt;
use std::sync::Arc;

use uuid::Uuid;
use varve_api::{conditions::Reason, repo::Repo};
use varve_format::{BranchName, Hash, Head, MapKind};
use varve_store::{REFLOG_PAGE, Store};

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
    match compare(store, uid(repo)?, branch, head.as_ref()).await? {
        Verdict::Same | Verdict::FillIn => {
            if let Some(head) = &head {
                heads.finish_from_record(cx, store, head).await?;
            }
            Ok(head)
        }
        Verdict::FastForward(newest) => {
            let commit = store.read_head(&newest).await.map_err(|error| missing(&newest, error))?;
            let tree = commit.identity.map(&MapKind::TREE);
            let before = head.as_ref().map_or(0, |head| head.seq);
            tracing::info!(repo = repo.name_any(), %branch, seq = newest.seq, "the store is ahead of the status: moving on to it");
            if !branch.is_hidden() {
                // Before the head moves: once it has, nobody would know that their objects are to come back.
                crate::repo::bring_back_commits(repo, cx, store, (branch, before)).await?;
            }
            let a_move = HeadMove {
                branch: branch.clone(),
                base: head,
                next: newest.clone(),
                files: tree.map_or(0, |tree| tree.files),
                bytes: tree.map_or(0, |tree| tree.bytes),
                name: None,
            };
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

/// Reads as much of the reflog as the verdict needs: two keys and entries where all is well, what etcd has
/// lost where it was put back, a page where there is no status.
async fn compare(store: &Store, repo: Uuid, branch: &BranchName, head: Option<&Head>) -> Result<Verdict> {
    let failed = || Error::store("read the reflog");
    let after = head.map_or(0, |head| head.seq.saturating_sub(2)); // the entry before the head's, and on
    let mut reflog = store.reflog(repo, branch, after).await.map_err(failed())?;
    let mut page = reflog.older().await.map_err(failed())?;
    if page.is_empty() && after > 0 {
        // The reflog ends long before: where, is for the message.
        reflog = store.reflog(repo, branch, 0).await.map_err(failed())?;
        page = reflog.newest(1).await.map_err(failed())?;
    }
    let mut walk = match judge(head, &page) {
        Judged::Done(verdict) => return Ok(verdict),
        Judged::Back(walk) => walk,
    };
    loop {
        let is_whole = page.len() < REFLOG_PAGE;
        if let Some(verdict) = walk.on(head, &page, is_whole) {
            return Ok(verdict);
        }
        page = reflog.older().await.map_err(failed())?;
    }
}

/// What the newest entries tell.
#[derive(Debug, PartialEq)]
enum Judged {
    Done(Verdict),
    /// The reflog is ahead: whether it goes on from the status, its chain must tell.
    Back(Walk),
}

/// A way back along the hashes, from the newest entry to the status or to the branch's beginning.
#[derive(Debug, PartialEq)]
struct Walk {
    newest: Head,
    /// Hash of the entry that comes next.
    wanted: Hash,
}

/// `page` are the newest entries, by ascending number.
fn judge(head: Option<&Head>, page: &[Head]) -> Judged {
    let newest = page.last();
    Judged::Done(match (head, newest) {
        (None, None) => Verdict::Same,
        (Some(head), Some(newest)) if head == newest => Verdict::Same,
        (Some(head), None) if head.seq == 1 => Verdict::FillIn,
        (Some(head), Some(newest)) if head.seq == newest.seq + 1 && head.previous == newest.hash() => Verdict::FillIn,
        (head, Some(newest)) if newest.seq > head.map_or(0, |head| head.seq) => {
            return Judged::Back(Walk { newest: newest.clone(), wanted: newest.hash() });
        }
        (Some(head), newest) => Verdict::Diverged(format!(
            "its head is commit {} (number {}), but the store's reflog ends at {}: was the bucket put back to an \
             earlier state?",
            head.commit,
            head.seq,
            newest.map_or("nothing".into(), |newest| format!("commit {} (number {})", newest.commit, newest.seq)),
        )),
        (None, Some(_)) => unreachable!("an entry's number is at least 1"),
    })
}

impl Walk {
    /// Goes on along a page of entries. None: the page holds, and older ones must be asked.
    ///
    /// With no status there is nothing to reach: a whole page that holds is proof enough, since what is older
    /// was history when the newest commits were acknowledged, and is not read to build on them.
    fn on(&mut self, head: Option<&Head>, page: &[Head], is_last: bool) -> Option<Verdict> {
        let newest = &self.newest;
        for entry in page.iter().rev() {
            if entry.hash() != self.wanted {
                return Some(Verdict::Diverged(format!(
                    "the store's reflog forks before commit {} (number {}): entry {} is not of its past",
                    newest.commit, newest.seq, entry.seq
                )));
            }
            if head == Some(entry) {
                return Some(Verdict::FastForward(newest.clone()));
            }
            self.wanted = entry.previous;
        }
        match head {
            None if !is_last || self.wanted == Hash::ZERO => Some(Verdict::FastForward(newest.clone())),
            None => Some(Verdict::Diverged("the oldest entries of its reflog are missing in the store".into())),
            Some(_) if !is_last => None,
            Some(head) => Some(Verdict::Diverged(format!(
                "the store goes on to commit {} (number {}) from another past than commit {} (number {}), where the \
                 branch's head is",
                newest.commit, newest.seq, head.commit, head.seq
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use object_store::{memory::InMemory, path::Path};
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

    /// A branch of `length` commits.
    fn chain(length: u128) -> Vec<Head> {
        let mut heads: Vec<Head> = Vec::new();
        for commit in 1..=length {
            heads.push(head(heads.last(), commit));
        }
        heads
    }

    /// The verdict over a reflog that holds these entries.
    async fn verdict(head: Option<&Head>, entries: &[Head]) -> Verdict {
        let store = Store::open(Arc::new(InMemory::new()), Path::default()).await.unwrap();
        for entry in entries {
            store.put_reflog(entry).await.unwrap();
        }
        compare(&store, Uuid::from_u128(7), &BranchName::parse("main").unwrap(), head).await.unwrap()
    }

    #[tokio::test]
    async fn a_status_and_a_reflog_that_agree_need_nothing() {
        let all = chain(3);
        assert_eq!(verdict(None, &[]).await, Verdict::Same);
        for length in 1..=all.len() {
            assert_eq!(verdict(Some(&all[length - 1]), &all[..length]).await, Verdict::Same);
        }
    }

    #[tokio::test]
    async fn one_missing_entry_is_filled_in() {
        let all = chain(4);
        for length in 1..=all.len() {
            assert_eq!(verdict(Some(&all[length - 1]), &all[..length - 1]).await, Verdict::FillIn);
        }
    }

    #[tokio::test]
    async fn a_reflog_that_goes_on_from_the_status_is_followed_however_far() {
        let all = chain(2 * REFLOG_PAGE as u128 + 50);
        let newest = all.last().unwrap();
        for seen in [0, 1, 2, 49, 1_000, 1_050, 1_051, 2_049] {
            let head = all[..seen].last();
            assert_eq!(verdict(head, &all).await, Verdict::FastForward(newest.clone()), "from {seen}");
        }
    }

    #[tokio::test]
    async fn two_histories_are_for_people_to_decide() {
        let all = chain(3);
        let other = head(Some(&head(None, 9)), 10);
        let long = chain(REFLOG_PAGE as u128 + 2);
        for (head, entries) in [
            (Some(&other), &all[..2]),
            (Some(&other), &all[..]),
            (Some(&other), &long[..]),
            (Some(&all[2]), &all[..1]),
            (Some(&all[1]), &[]),
            (None, &all[1..]),
            (None, &[long[0].clone(), long[2].clone()]),
        ] {
            assert!(matches!(verdict(head, entries).await, Verdict::Diverged(_)), "{head:?}");
        }
    }

    #[tokio::test]
    async fn a_gap_in_the_newest_page_is_noticed_without_a_status_too() {
        let mut all = chain(REFLOG_PAGE as u128 + 20);
        all.remove(REFLOG_PAGE);
        assert!(matches!(verdict(None, &all).await, Verdict::Diverged(_)));
    }
}
