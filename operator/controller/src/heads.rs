//! Branch heads: reading, moving, and keeping the store's reflog in step.
//!
//! A head is a line in `Repo.status`, the only mutable pointer there is. It moves by JSON patch (see
//! [`patch`]); then the reflog's entry is written, then `names/` and `commits/` together; only then is a commit
//! acknowledged. Invariant: head n+1 is not written before everything of head n is durable, so at most the
//! newest head is unfinished, and whoever comes next finishes it. Before the first write to a branch after
//! a start or a change of leader, the store's reflog is compared with the status ([`verify`]).

mod patch;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use kube::{Api, ResourceExt};
use tokio::sync::Notify;
use uuid::Uuid;
use varve_api::{
    conditions::{HasConditions as _, Reason, Type, holds},
    repo::{BranchHead, Head as StatusHead, MAX_BRANCHES, Repo},
};
use varve_format::{BranchName, CommitName, Hash, Head, RecordAt};
use varve_store::Store;

use crate::{
    act::{Call, Verb},
    commit::record_ref,
    cx::Cx,
    error::{Error, Result},
    status::version,
};

/// How often a move whose base still stands is tried again after an answer that says nothing.
const MOVE_TRIES: u32 = 4;
/// How long somebody waits for a Repo to be compared with its store. After a change of leader that is a
/// moment for each; whoever did not wait would show itself unready each time.
const COMPARED_WITHIN: Duration = Duration::from_secs(3);

/// One head's move.
#[derive(Clone, Debug)]
pub struct HeadMove {
    /// The branch, or [`BranchName::MEMO`].
    pub branch: BranchName,
    /// What must stand there; `None`: nothing does.
    pub base: Option<Head>,
    /// What shall stand there. Make it by [`next_head`].
    pub next: Head,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// The Commit's name in the store, and the hash of its spec.
    pub name: Option<NameClaim>,
}

/// A Commit's name in the store: why a Commit applied twice commits once.
#[derive(Clone, Debug)]
pub struct NameClaim {
    /// The name.
    pub name: CommitName,
    /// `H_commit-spec` of the Commit CR's spec; none where no CR asked for the commit.
    pub spec_hash: Option<Hash>,
}

/// How a move ended.
#[derive(Clone, Debug)]
pub enum Moved {
    /// The heads are where they were to go, and everything about them is durable.
    Won(Arc<Repo>),
    /// Another moved the branch first: here is the Repo as it now stands. Decide again.
    Lost(Arc<Repo>),
}

impl HeadMove {
    fn as_branch_head(&self) -> BranchHead {
        BranchHead {
            name: self.branch.to_string(),
            head: status_head(&self.next),
            files: self.files,
            bytes: self.bytes,
        }
    }
}

/// The head that follows `base` on `branch`.
pub fn next_head(
    repo: Uuid,
    branch: &BranchName,
    base: Option<&Head>,
    commit: Uuid,
    seal: Hash,
    record: RecordAt,
    now: Timestamp,
) -> Head {
    Head {
        repo,
        branch: branch.clone(),
        seq: base.map_or(1, |base| base.seq + 1),
        commit,
        seal,
        record,
        time_ns: nanoseconds(now),
        previous: base.map_or(Hash::ZERO, Head::hash),
        is_deleted: false,
    }
}

/// The head of `branch` (or of [`BranchName::MEMO`]) as `repo` shows it, `None` where it has none.
/// Ask [`Heads::fresh`] for the Repo first: a cache lags behind our own moves.
pub fn read(repo: &Repo, branch: &BranchName) -> Result<Option<Head>> {
    let Some(status) = &repo.status else { return Ok(None) };
    let Some(head) = patch::find(status, branch.as_str()) else { return Ok(None) };
    let uid = uid(repo)?;
    parse_head(uid, branch, head).map(Some).map_err(|what| {
        Error::stalled(
            Reason::HeadDiverged,
            format!("status of Repo {}: branch {branch}: {what} is malformed", repo.name_any()),
        )
    })
}

/// The store's uid of a Repo, from its status.
pub fn uid(repo: &Repo) -> Result<Uuid> {
    let uid = repo.status.as_ref().and_then(|status| status.uid.as_deref());
    uid.and_then(|uid| uid.parse().ok()).ok_or_else(|| {
        Error::waiting(Reason::RepoNotReady, format!("Repo {} has not been set up in its store yet", repo.name_any()))
    })
}

fn parse_head(repo: Uuid, branch: &BranchName, head: &StatusHead) -> Result<Head, &'static str> {
    Ok(Head {
        repo,
        branch: branch.clone(),
        seq: head.seq,
        commit: head.commit.parse().map_err(|_| "commit")?,
        seal: head.seal.parse().map_err(|_| "seal")?,
        record: RecordAt {
            pack: head.record.pack.parse().map_err(|_| "record.pack")?,
            offset: head.record.offset,
            length: head.record.length,
        },
        time_ns: head.time.parse().map(nanoseconds).map_err(|_| "time")?,
        previous: head.previous.parse().map_err(|_| "previous")?,
        is_deleted: false,
    })
}

fn status_head(head: &Head) -> StatusHead {
    StatusHead {
        commit: head.commit.to_string(),
        seq: head.seq,
        seal: head.seal.to_string(),
        record: record_ref(head.record),
        previous: head.previous.to_string(),
        time: time_text(head.time_ns),
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// RFC 3339, UTC, nine digits of a second: exact, so that the reflog entry is a function of the status.
pub fn time_text(unix_ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    format!("{time:.9}")
}

/// What this replica knows of heads beyond its caches.
#[derive(Default)]
pub struct Heads {
    inner: Mutex<Known>,
    /// Something was compared with the store.
    compared: Notify,
}

#[derive(Default)]
struct Known {
    /// Repos as our own last write returned them, by Kubernetes uid, until the cache shows them.
    latest: HashMap<String, Arc<Repo>>,
    /// Newest head of a branch about which everything is durable.
    finished: HashMap<(Uuid, BranchName), Head>,
    /// One writer of a branch at a time: the others would upload only to lose.
    turns: HashMap<(Uuid, BranchName), Arc<tokio::sync::Mutex<()>>>,
    /// Repos (by Kubernetes uid) whose branches have all been compared with the store since this replica leads.
    adopted: HashSet<String>,
}

impl Heads {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything: call it when this replica becomes the leader.
    pub fn forget(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest of `repo` and what our own moves have made of it.
    pub fn fresh(&self, repo: &Arc<Repo>) -> Arc<Repo> {
        let known = self.known();
        let latest = known.latest.get(repo.metadata.uid.as_deref().unwrap_or_default());
        latest.filter(|latest| version(latest.as_ref()) > version(repo.as_ref())).unwrap_or(repo).clone()
    }

    /// The newest of `repo`, of what the cache has come to show since, and of what our own moves have made
    /// of it: for whoever has waited since looking `repo` up.
    pub(crate) fn newest(&self, cx: &Cx, repo: &Arc<Repo>) -> Arc<Repo> {
        let shown = self.repo(cx, &repo.namespace().unwrap_or_default(), &repo.name_any());
        let newer = shown.filter(|shown| shown.uid() == repo.uid() && version(shown.as_ref()) > version(repo.as_ref()));
        newer.unwrap_or_else(|| self.fresh(repo))
    }

    /// The newest of what the cache and our own moves show of a Repo.
    pub fn repo(&self, cx: &Cx, namespace: &str, name: &str) -> Option<Arc<Repo>> {
        let cached = cx.caches.repos.get(namespace, name)?;
        let mut known = self.known();
        let key = cached.metadata.uid.as_deref().unwrap_or_default();
        match known.latest.get(key) {
            Some(latest) if version(latest.as_ref()) > version(cached.as_ref()) => Some(latest.clone()),
            _ => {
                // The cache alone says that it has caught up: somebody else may pass on what a move returned.
                known.latest.remove(key);
                drop(known);
                Some(cached)
            }
        }
    }

    /// Whether this Repo has been compared with its store since this replica leads.
    pub(crate) fn is_adopted(&self, repo: &Repo) -> bool {
        self.known().adopted.contains(repo.metadata.uid.as_deref().unwrap_or_default())
    }

    /// This Repo has been compared with its store.
    pub(crate) fn set_adopted(&self, repo: &Repo) {
        self.known().adopted.insert(repo.uid().unwrap_or_default());
        self.compared.notify_waiters();
    }

    /// Waits until this branch has been compared with the store since this replica leads, since before that
    /// its status may show an earlier day. Soon, as a rule: after a start all Repos are.
    pub(crate) async fn wait_until_compared(&self, repo: &Repo, branch: &BranchName) -> Result<()> {
        let key = (uid(repo)?, branch.clone());
        // A Repo that was made anew shows nothing yet of what its branch is known to have come to.
        let shown = read(repo, branch)?.map_or(0, |head| head.seq);
        let is_shown = || self.known().finished.get(&key).is_some_and(|finished| finished.seq <= shown);
        let is_compared = || self.is_adopted(repo) || is_shown();
        let comparing = async {
            let mut news = pin!(self.compared.notified());
            loop {
                news.as_mut().enable();
                if is_compared() {
                    return;
                }
                news.as_mut().await;
                news.set(self.compared.notified());
            }
        };
        let patience = if holds(repo.conditions(), Type::Stalled) { Duration::ZERO } else { COMPARED_WITHIN };
        tokio::time::timeout(patience, comparing).await.map_err(|_| {
            let name = repo.name_any();
            Error::waiting(
                Reason::RepoNotReady,
                format!("branch {branch} of Repo {name} has not been compared with its store yet: see kubectl describe vrepo {name}"),
            )
        })
    }

    /// Keeps what a write of ours has returned, until the cache shows it, and answers with the newest that is
    /// known: of two branches that move at once, the later answer may be of the earlier write.
    pub(crate) fn remember(&self, repo: Repo) -> Arc<Repo> {
        let repo = Arc::new(repo);
        let mut known = self.known();
        let latest = known.latest.entry(repo.uid().unwrap_or_default()).or_insert_with(|| repo.clone());
        if version(latest.as_ref()) < version(repo.as_ref()) {
            *latest = repo;
        }
        latest.clone()
    }

    /// Waits for the turn to write to a branch. Hold it from reading the head until [`Heads::advance`].
    pub async fn turn(&self, repo: Uuid, branch: &BranchName) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.known().turns.entry((repo, branch.clone())).or_default().clone();
        turn.lock_owned().await
    }

    /// The head of `branch` to build on: verified against the reflog and finished, if this is the first
    /// look since this replica leads.
    pub async fn open(&self, cx: &Cx, repo: &Arc<Repo>, store: &Store, branch: &BranchName) -> Result<Option<Head>> {
        let repo = self.newest(cx, repo);
        let head = read(&repo, branch)?;
        let key = (uid(&repo)?, branch.clone());
        let finished = self.known().finished.get(&key).cloned();
        match (&head, finished) {
            (Some(head), Some(finished)) if *head == finished => Ok(Some(finished)),
            // Our own newest move, if it could not be finished then.
            (Some(head), Some(finished)) if head.previous == finished.hash() => {
                self.finish_from_record(cx, store, head).await?;
                Ok(Some(head.clone()))
            }
            _ => match verify::branch(self, cx, &repo, store, branch, head).await? {
                None => may_begin(&repo, branch).map(|()| None),
                head => Ok(head),
            },
        }
    }

    /// Moves heads: all of `moves` in one patch or none, then makes everything about them durable.
    /// Idempotent: run again after a crash it finds its own work and completes it.
    pub async fn advance(&self, cx: &Cx, repo: &Arc<Repo>, store: &Store, moves: &[HeadMove]) -> Result<Moved> {
        let mut repo = self.newest(cx, repo);
        for attempt in 1.. {
            let sent = match patch::moves(&repo, moves) {
                Some(patch) => cx.act.patch_status(repo.as_ref(), patch).await,
                None => Err(Error::HeadMoved {
                    repo: repo.name_any(),
                    branch: moves.first().map(|a_move| a_move.branch.to_string()).unwrap_or_default(),
                }),
            };
            match sent {
                Ok(answer) => {
                    let repo = self.remember(answer);
                    self.finish(cx, store, moves).await?;
                    return Ok(Moved::Won(repo));
                }
                Err(error) if is_refusal(&error) || error.is_ambiguous() => {
                    let now = self.reread(cx, &repo).await?;
                    if now.uid() != repo.uid() {
                        return Err(Error::waiting(
                            Reason::RepoNotFound,
                            format!("Repo {} was deleted and made anew", repo.name_any()),
                        ));
                    }
                    if self.has_landed(&now, store, moves).await? {
                        self.finish(cx, store, moves).await?;
                        return Ok(Moved::Won(now));
                    }
                    if !stands(&now, moves)? {
                        return Ok(Moved::Lost(now));
                    }
                    if attempt >= MOVE_TRIES {
                        return Err(error);
                    }
                    repo = now;
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// The Repo as the API server has it.
    async fn reread(&self, cx: &Cx, repo: &Repo) -> Result<Arc<Repo>> {
        let name = repo.name_any();
        let api: Api<Repo> = Api::namespaced(cx.clients.write.clone(), &repo.namespace().unwrap_or_default());
        let now = api.get(&name).await.map_err(Error::api(format_args!("get Repo {name}")))?;
        Ok(self.remember(now))
    }

    /// Whether the first of `moves` (and with it all: they go in one patch) stands in the branch's past.
    ///
    /// FORMAT walks the parents of commits; the reflog tells the same (an entry is written only after its
    /// head stood, and before the next head does), in one request, and it also knows the heads that a pin
    /// has rolled back.
    async fn has_landed(&self, repo: &Repo, store: &Store, moves: &[HeadMove]) -> Result<bool> {
        let Some(first) = moves.first() else { return Ok(true) };
        let Some(head) = read(repo, &first.branch)? else { return Ok(false) };
        if head.seq <= first.next.seq {
            return Ok(head == first.next);
        }
        let since = store
            .reflog_after(head.repo, &head.branch, first.next.seq - 1)
            .await
            .map_err(Error::store("list the reflog"))?;
        Ok(since.contains(&first.next))
    }

    /// Makes everything about the heads that `moves` made durable: the reflog, then `names/` and `commits/`.
    async fn finish(&self, cx: &Cx, store: &Store, moves: &[HeadMove]) -> Result<()> {
        let mut all = Vec::with_capacity(moves.len());
        for a_move in moves {
            all.push(self.finish_one(cx, store, &a_move.next, a_move.name.as_ref()));
        }
        // Each to its end, also where another fails: what is written need not be finished by somebody else.
        join_all(all).await.into_iter().collect()
    }

    async fn finish_one(&self, cx: &Cx, store: &Store, head: &Head, name: Option<&NameClaim>) -> Result<()> {
        let key = |sort: &str| format!("{sort} {} {} {}", head.repo, head.branch, head.seq);
        let reflog = cx.act.step(Call::new(Verb::Store, "reflog", key("reflog")), || async {
            store.put_reflog(head).await.map_err(Error::store("write the reflog"))
        });
        let pointer = cx.act.step(Call::new(Verb::Store, "commits", key("commits")), || async {
            store.record_commit(head).await.map_err(Error::store("write the commit's pointer"))
        });
        let names = cx.act.step(Call::new(Verb::Store, "names", key("names")), || async {
            let Some(claim) = name else { return Ok(()) };
            // What stands there is ours: the name was looked up before the commit was made, and one
            // replica writes. If it is not, the reflog has the commit all the same.
            store
                .claim_name(head.repo, &claim.name, claim.spec_hash, head.commit)
                .await
                .map(|_| ())
                .map_err(Error::store("write the commit's name"))
        });
        // Whoever finds the name takes the commit for landed. Were the status lost with its Repo before the entry stands,
        // nothing else would know of it.
        reflog.await?;
        let (pointer, names) = futures::join!(pointer, names);
        pointer.and(names)?;
        self.known().finished.insert((head.repo, head.branch.clone()), head.clone());
        self.compared.notify_waiters();
        Ok(())
    }

    /// Finishes a head of which only the status is known: the name stands in the commit's record.
    async fn finish_from_record(&self, cx: &Cx, store: &Store, head: &Head) -> Result<()> {
        let commit = store.read_head(head).await.map_err(|error| missing(head, error))?;
        let name = (!commit.identity.name.is_empty() && commit.identity.uid().ok() == Some(head.commit))
            .then(|| CommitName::parse(&commit.identity.name).ok())
            .flatten();
        let spec_hash = commit.identity.spec_hash.as_deref().and_then(|bytes| Hash::from_slice(bytes).ok());
        let claim = name.map(|name| NameClaim { name, spec_hash });
        self.finish_one(cx, store, head, claim.as_ref()).await
    }
}

/// A head whose objects are not in the store is an answer of its own: never rewound, never guessed.
fn missing(head: &Head, error: varve_store::Error) -> Error {
    match error {
        varve_store::Error::ObjectMissing { key } => Error::stalled(
            Reason::HeadMissing,
            format!(
                "branch {} points at commit {}, whose record {key} is not in the store: bring the object back, \
                 or pin the branch to an earlier commit (spec.branches[].head)",
                head.branch, head.commit
            ),
        ),
        error => Error::store(format_args!("read commit {}", head.commit))(error),
    }
}

/// Whether the Repo has room for a branch that it has not: told before anything is built and stored for it.
fn may_begin(repo: &Repo, branch: &BranchName) -> Result<()> {
    let has = repo.status.as_ref().map_or(0, |status| status.branches.len());
    if branch.is_hidden() || has < MAX_BRANCHES {
        return Ok(());
    }
    let name = repo.name_any();
    Err(Error::stalled(
        Reason::TooManyBranches,
        format!(
            "Repo {name} has {has} branches, as many as a Repo may have, and {branch} would be one more: name one of \
             those (kubectl describe vrepo {name}), or create another Repo for it. Branches are not deleted yet"
        ),
    ))
}

/// The server's answers to a patch whose tests fail (422), or that raced another (409), and our own.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::HeadMoved { .. }) || matches!(error.api_code(), Some(409 | 422))
}

/// Whether all bases still stand.
fn stands(repo: &Repo, moves: &[HeadMove]) -> Result<bool> {
    for a_move in moves {
        if read(repo, &a_move.branch)? != a_move.base {
            return Ok(false);
        }
    }
    Ok(true)
}
