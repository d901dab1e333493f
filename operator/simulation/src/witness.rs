//! Somebody to whom nothing happens looks at every change at once: laws that must hold at each step, and what later
//! laws stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use varve_api::conditions::{self, HasConditions as _, Type};
use varve_api::{Job, Repo};
use varve_controller::heads;
use varve_format::{BranchName, Head, MapKind};
use varve_store::{Entry, Store};

use crate::world::{Kind, World};

/// The largest file of a life.
const LARGEST: u64 = 1 << 20;

/// What was seen.
#[derive(Default)]
pub(crate) struct Witness(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    heads: BTreeMap<(String, String), Head>,
    /// Names of what people have deleted.
    deleted: BTreeSet<String>,
    broken: Vec<String>,
}

impl Witness {
    fn of<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The laws that were broken at any step.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.of(|seen| seen.broken.clone())
    }

    /// People delete an object of this name.
    pub(crate) fn somebody_deletes(&self, name: &str) {
        self.of(|seen| seen.deleted.insert(name.to_owned()));
    }

    /// Whether people have deleted an object of this name.
    pub(crate) fn was_deleted(&self, name: &str) -> bool {
        self.of(|seen| seen.deleted.contains(name))
    }

    /// Looks until the end of the life.
    pub(crate) async fn run(&self, world: &World) {
        let repos = events::<Repo, _>(world, async |repo| {
            if let Err(error) = self.heads(world, &repo).await {
                let broken = format!("Repo {}: {error}", repo.name_any());
                world.trace.say("witness", &broken);
                self.of(|seen| seen.broken.push(broken));
            }
        });
        let jobs = events::<Job, _>(world, async |job| {
            let Some(uid) = job.uid().and_then(|uid| uid.parse().ok()) else { return };
            if world.workers.job_began(uid) {
                world.trace.say("witness", format!("Job {} begins, {uid}", job.name_any()));
            }
            let ended = conditions::find(job.conditions(), Type::Succeeded.as_str());
            // One that is cancelled while it can't be planned at all, ends all the same, and says that nothing is kept.
            let explanation = job.status.as_ref().and_then(|status| status.explanation.as_deref()).unwrap_or_default();
            let keeps_nothing = explanation.contains("could not be planned");
            if let Some(ended) = ended.filter(|ended| ended.status != "Unknown")
                && world.workers.job_ended(uid, !keeps_nothing)
            {
                world.trace.say("witness", format!("Job {} ends: {}", job.name_any(), ended.reason));
            }
        });
        tokio::join!(repos, jobs);
    }

    /// A head moves by whole commits alone, each on the one before it, which the reflog knows by then.
    async fn heads(&self, world: &World, repo: &Repo) -> Result<(), String> {
        if repo.status.as_ref().is_none_or(|status| status.uid.is_none()) {
            return Ok(()); // it is being set up
        }
        let branches = repo.status.iter().flat_map(|status| &status.branches);
        let branches = branches.filter_map(|branch| BranchName::parse(&branch.name).ok());
        for branch in branches.chain([BranchName::MEMO]) {
            let Some(head) = heads::read(repo, &branch).map_err(|error| error.to_string())? else { continue };
            // A Repo that is made anew may begin one commit earlier: that which nobody had written down yet.
            let place = (repo.uid().unwrap_or_default(), branch.to_string());
            let before = self.of(|seen| seen.heads.insert(place, head.clone()));
            if before.as_ref() == Some(&head) {
                continue;
            }
            let store = world.store().await.map_err(|error| error.to_string())?;
            let at = format!("branch {branch} at commit {}", head.seq);
            world.trace.say("witness", format!("Repo {}: {at}, {}", repo.name_any(), head.commit));
            if let Some(before) = &before {
                let is_next = head.seq == before.seq + 1 && head.previous == before.hash();
                if !is_next {
                    return Err(format!("{at} does not stand on commit {}, which was there before", before.seq));
                }
                let known = store.find_head(before.repo, before.commit).await.map_err(|error| error.to_string())?;
                if known.as_ref() != Some(before) {
                    return Err(format!("{at}, and the reflog does not know the commit before it"));
                }
            }
            whole(&store, &head).await.map_err(|error| format!("{at} is not whole: {error}"))?;
        }
        Ok(())
    }
}

/// Reads all that a commit holds.
async fn whole(store: &Store, head: &Head) -> varve_store::Result<()> {
    let commit = store.read_head(head).await?;
    if commit.map(&MapKind::TREE).is_none() {
        return Ok(()); // the memo's
    }
    let files: Vec<_> = store.walk(&commit.tree()).try_collect().await?;
    for (_, entry) in files {
        if let Entry::File { content, .. } = entry {
            store.read_all(&content, LARGEST).await?;
        }
    }
    Ok(())
}

/// Every state of every object of a kind, in order.
async fn events<K, F>(world: &World, mut look: F)
where
    K: Kind,
    F: AsyncFnMut(K),
{
    let api: Api<K> = world.api();
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
            look(object).await;
        }
    }
}
