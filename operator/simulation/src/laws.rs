//! What must hold of a life once it has come to rest, asked of the API server and of the bucket, by other ways than
//! those of the code under test where there are any.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use uuid::Uuid;
use varve_api::commit::Change;
use varve_api::conditions::{self, HasConditions as _, Reason, Type};
use varve_api::job::Snapshot;
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_format::Hash;
use varve_store::{Commit as StoredCommit, NodeRef, Store};

use crate::actors::SOURCE;
use crate::worker::output;
use crate::world::World;

/// Writes of an object to which nothing happens.
const WRITES: u32 = 12;
/// Writes of a Repo or Pipeline that come of what people do in a whole life.
const WRITES_OF_ALL_ACTS: u32 = 100;

type Fault = Box<dyn std::error::Error>;

/// The laws that are broken.
pub(crate) async fn ask(world: &World, acknowledged: &[String]) -> Vec<String> {
    let mut broken = world.workers.broken();
    broken.extend(world.witness.broken());
    match asked(world, acknowledged).await {
        Ok(more) => broken.extend(more),
        Err(error) => broken.push(format!("the laws can't be asked: {error}")),
    }
    broken
}

async fn asked(world: &World, acknowledged: &[String]) -> Result<Vec<String>, Fault> {
    let store = world.store().await?;
    let mut broken = Vec::new();
    let repos = world.all::<Repo>().await?;
    let commits = world.all::<Commit>().await?;
    for repo in &repos {
        let chain = chain(&store, repo).await?;
        broken.extend(is_consecutive(repo, &chain));
        if repo.name_any() == SOURCE {
            broken.extend(everything_acknowledged_is_there(acknowledged, &commits, &chain));
            broken.extend(nothing_that_failed_is_there(&commits, &chain));
            broken.extend(source_is_what_was_put(&store, &commits, &chain).await?);
        } else {
            broken.extend(nothing_is_published_twice(world, repo, &chain)?);
            for commit in &chain {
                broken.extend(output_equals_a_run_from_scratch(&store, repo, commit).await?);
            }
        }
    }
    broken.extend(all_is_up_to_date(world, &repos, &store).await?);
    broken.extend(every_datum_is_accounted_for(world).await?);
    broken.extend(nothing_is_orphaned(world).await?);
    broken.extend(writes_are_within_budget(world));
    Ok(broken)
}

/// All commits of the branch `main`, the oldest first.
async fn chain(store: &Store, repo: &Repo) -> Result<Vec<StoredCommit>, Fault> {
    let status = repo.status.clone().unwrap_or_default();
    let Some(head) = status.branches.iter().find(|head| head.name == "main") else { return Ok(Vec::new()) };
    let repo_uid: Uuid = status.uid.clone().unwrap_or_default().parse()?;
    let mut commit = read(store, repo_uid, head.head.commit.parse()?).await?;
    let mut chain = vec![commit.clone()];
    while let Some(parent) = commit.identity.parents.first() {
        commit = read(store, repo_uid, Uuid::from_slice(&parent.uid)?).await?;
        chain.push(commit.clone());
    }
    chain.reverse();
    Ok(chain)
}

/// The commit that the reflog knows by its uid, its seal compared.
async fn read(store: &Store, repo: Uuid, commit: Uuid) -> Result<StoredCommit, Fault> {
    let head = store.find_head(repo, commit).await?.ok_or_else(|| format!("commit {commit} is in no reflog"))?;
    Ok(store.read_head(&head).await?)
}

fn is_consecutive(repo: &Repo, chain: &[StoredCommit]) -> Vec<String> {
    let sequences: Vec<u64> = chain.iter().map(|commit| commit.identity.sequence).collect();
    let expected: Vec<u64> = (1..=chain.len() as u64).collect();
    let is_right = sequences == expected;
    if is_right {
        Vec::new()
    } else {
        vec![format!("Repo {}: its commits are numbered {sequences:?}", repo.name_any())]
    }
}

/// No two commits in a row were made of the same inputs by the same code, unless somebody deleted the Job of the first
/// (or its Pipeline) while it published, so that it was made again.
fn nothing_is_published_twice(world: &World, repo: &Repo, chain: &[StoredCommit]) -> Result<Vec<String>, Fault> {
    let mut broken = Vec::new();
    let was_deleted = |commit: &StoredCommit| {
        world.witness.was_deleted(&commit.identity.name) || world.witness.was_deleted(&repo.name_any())
    };
    for pair in chain.windows(2).filter(|pair| !was_deleted(&pair[0])) {
        let made_of = |commit: &StoredCommit| -> Result<_, Fault> {
            let provenance = commit.identity.provenance.as_ref().ok_or("a commit has no provenance")?;
            let inputs = provenance.inputs.iter().map(|input| Ok((input.name.clone(), input.commit()?)));
            Ok((provenance.spec_digest()?, inputs.collect::<Result<Vec<_>, Fault>>()?))
        };
        if made_of(&pair[0])? == made_of(&pair[1])? {
            let sequence = pair[1].identity.sequence;
            broken.push(format!("Repo {}: commit {sequence} is made of the same as that before it", repo.name_any()));
        }
    }
    Ok(broken)
}

fn everything_acknowledged_is_there(
    acknowledged: &[String],
    commits: &[Commit],
    chain: &[StoredCommit],
) -> Vec<String> {
    let own = commits.iter().filter(|commit| commit.spec.repo == SOURCE).map(ResourceExt::name_any);
    let own: BTreeSet<String> = own.filter(|name| acknowledged.contains(name)).collect();
    let is_there = |name: &String| chain.iter().filter(|commit| commit.identity.name == *name).count();
    let wrong = own.iter().map(|name| (name, is_there(name))).filter(|(_, count)| *count != 1);
    wrong.map(|(name, count)| format!("Commit {name} was acknowledged and is {count} times on its branch")).collect()
}

/// What is told to have failed is not on its branch.
fn nothing_that_failed_is_there(commits: &[Commit], chain: &[StoredCommit]) -> Vec<String> {
    let failed =
        commits.iter().filter(|it| it.spec.repo == SOURCE && conditions::holds(it.conditions(), Type::Stalled));
    let is_there = |commit: &&Commit| chain.iter().any(|it| it.identity.name == commit.name_any());
    let wrong = failed.filter(is_there);
    wrong.map(|commit| format!("Commit {} is told to have failed and is on its branch", commit.name_any())).collect()
}

/// Every commit of the source is its parent with the changes that its Commit asks for.
async fn source_is_what_was_put(
    store: &Store,
    commits: &[Commit],
    chain: &[StoredCommit],
) -> Result<Vec<String>, Fault> {
    let mut files: BTreeMap<String, Hash> = BTreeMap::new();
    let mut earlier: BTreeMap<String, BTreeMap<String, Hash>> = BTreeMap::new();
    for stored in chain {
        let found = contents(store, &stored.tree()).await?;
        let name = &stored.identity.name;
        // Of a Commit that somebody deleted the changes are known no more.
        if let Some(commit) = commits.iter().find(|commit| commit.name_any() == *name) {
            if let Some(name) = &commit.spec.revert_to {
                files = earlier.get(name).cloned().unwrap_or_default();
            }
            for change in commit.spec.changes.iter().flatten() {
                change_files(&mut files, change);
            }
            if found != files {
                return Ok(vec![format!("Commit {name}: its files are {found:?} and should be {files:?}")]);
            }
        }
        earlier.insert(name.clone(), found.clone());
        files = found;
    }
    Ok(Vec::new())
}

fn change_files(files: &mut BTreeMap<String, Hash>, change: &Change) {
    if let Some(put) = &change.put {
        let text = put.text.clone().unwrap_or_default();
        files.insert(put.path.trim_start_matches('/').to_owned(), Hash::of_content(text.as_bytes()));
    }
    if let Some(delete) = &change.delete {
        files.remove(delete.path.trim_start_matches('/'));
    }
}

async fn contents(store: &Store, tree: &NodeRef) -> varve_store::Result<BTreeMap<String, Hash>> {
    store.walk(tree).map_ok(|(path, entry)| (path.as_str().to_owned(), entry.id())).try_collect().await
}

/// What stands at a commit of an output is what its provenance makes, computed here by itself.
async fn output_equals_a_run_from_scratch(
    store: &Store,
    repo: &Repo,
    commit: &StoredCommit,
) -> Result<Vec<String>, Fault> {
    let Some(provenance) = &commit.identity.provenance else {
        return Ok(vec![format!("Repo {}: a commit has no provenance", repo.name_any())]);
    };
    let snapshot: Snapshot = serde_json::from_str(&provenance.spec)?;
    let mut inputs: Vec<Vec<(String, String)>> = Vec::new();
    for input in &snapshot.spec.inputs {
        let Some(used) = provenance.inputs.iter().find(|used| used.name == input.name) else {
            return Ok(vec![format!("Repo {}: input {} is not in the provenance", repo.name_any(), input.name)]);
        };
        let tree = read(store, used.repo_uid()?, used.commit()?).await?.tree();
        let is_whole = input.glob.as_deref() == Some("/");
        inputs.push(if is_whole {
            if tree.files == 0 { Vec::new() } else { vec![(String::new(), tree.id.to_string())] }
        } else {
            store.list(&tree).map_ok(|(name, entry)| (name, entry.id().to_string())).try_collect().await?
        });
    }
    let command = snapshot.spec.container.command.clone().unwrap_or_default().join(" ");
    let mut datums: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for members in inputs {
        datums = datums
            .iter()
            .flat_map(|datum| {
                members.iter().map(move |member| datum.iter().cloned().chain([member.clone()]).collect::<Vec<_>>())
            })
            .collect();
    }
    let outputs: Option<Vec<(String, String)>> = datums.iter().map(|members| output(&command, members)).collect();
    let Some(outputs) = outputs else {
        return Ok(vec![format!("Repo {}: a commit was made of a datum that fails", repo.name_any())]);
    };
    let expected: BTreeMap<String, Hash> =
        outputs.into_iter().map(|(name, text)| (name, Hash::of_content(text.as_bytes()))).collect();
    let found = contents(store, &commit.tree()).await?;
    let sequence = commit.identity.sequence;
    let is_right = found == expected;
    let words = || {
        format!("Repo {}, commit {sequence}: {found:?} stands there, from scratch it is {expected:?}", repo.name_any())
    };
    Ok(if is_right { Vec::new() } else { vec![words()] })
}

/// Every Pipeline says that it is up to date, and its output was made of what stands at the heads of its inputs.
async fn all_is_up_to_date(world: &World, repos: &[Repo], store: &Store) -> Result<Vec<String>, Fault> {
    let mut broken = Vec::new();
    for pipeline in world.all::<Pipeline>().await? {
        let name = pipeline.name_any();
        let ready = conditions::find(pipeline.conditions(), Type::Ready.as_str());
        if ready.is_none_or(|ready| ready.status != "True" || ready.reason != Reason::UpToDate.as_str()) {
            broken.push(format!("Pipeline {name} is not up to date: {ready:?}"));
            continue;
        }
        let Some(output) = repos.iter().find(|repo| repo.name_any() == name) else { continue };
        let chain = chain(store, output).await?;
        let provenance = chain.last().and_then(|commit| commit.identity.provenance.clone()).unwrap_or_default();
        for input in &provenance.inputs {
            let used = input.commit()?.to_string();
            let repo = repos.iter().find(|repo| {
                repo.status.as_ref().is_some_and(|it| it.uid == input.repo_uid().ok().map(|uid| uid.to_string()))
            });
            let heads =
                repo.and_then(|repo| repo.status.as_ref()).map(|status| status.branches.clone()).unwrap_or_default();
            if heads.iter().all(|head| head.head.commit != used) {
                broken.push(format!(
                    "Pipeline {name} says that it is up to date, and was made of {used} of {}",
                    input.name
                ));
            }
        }
    }
    Ok(broken)
}

async fn every_datum_is_accounted_for(world: &World) -> Result<Vec<String>, Fault> {
    let mut broken = Vec::new();
    for job in world.all::<Job>().await? {
        let name = job.name_any();
        let status = job.status.clone().unwrap_or_default();
        let counts = status.datums.unwrap_or_default();
        let Some(ended) = conditions::find(&status.conditions, Type::Succeeded.as_str()) else {
            broken.push(format!("Job {name} never ends: {:?}", status.explanation));
            continue;
        };
        let done = counts.skipped + counts.processed;
        let is_right = match ended.reason.as_str() {
            _ if ended.status == "True" => counts.total == done && counts.failed == 0,
            reason if reason == Reason::DatumsFailed.as_str() => {
                counts.total == done + counts.failed && counts.failed > 0
            }
            _ => counts.total >= done + counts.failed, // cancelled: what was not begun is nowhere
        };
        if !is_right {
            broken.push(format!("Job {name} ended ({}), and its datums are {counts:?}", ended.reason));
        }
    }
    Ok(broken)
}

/// Whatever has an owner has one that is there; no pod is at work.
async fn nothing_is_orphaned(world: &World) -> Result<Vec<String>, Fault> {
    let jobs = world.all::<Job>().await?;
    let batches = world.all::<BatchJob>().await?;
    let pods = world.all::<Pod>().await?;
    let maps = world.all::<ConfigMap>().await?;
    let there: BTreeSet<String> =
        jobs.iter().filter_map(ResourceExt::uid).chain(batches.iter().filter_map(ResourceExt::uid)).collect();
    let owned = batches.iter().map(|it| ("batch Job", it.name_any(), it.owner_references()));
    let owned = owned.chain(pods.iter().map(|it| ("pod", it.name_any(), it.owner_references())));
    let owned = owned.chain(maps.iter().map(|it| ("ConfigMap", it.name_any(), it.owner_references())));
    let orphans = owned.filter(|(_, _, owners)| owners.iter().any(|owner| !there.contains(&owner.uid)));
    let mut broken: Vec<String> = orphans.map(|(kind, name, _)| format!("{kind} {name} has lost its owner")).collect();
    let at_work = pods.iter().filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    });
    broken.extend(at_work.map(|pod| format!("pod {} is left at work", pod.name_any())));
    Ok(broken)
}

/// No object is written more often than what happens to it explains: a few times, once more for each fault, each pod
/// that ends badly and each killed operator, and now and then for progress while it lives.
fn writes_are_within_budget(world: &World) -> Vec<String> {
    let counts = world.counts();
    let mishaps = 2 * counts.faults + 2 * world.workers.mishaps() + 8 * counts.kills;
    let hours = u32::try_from(counts.seconds / 3600).unwrap_or(u32::MAX) + 1;
    let budget = |path: &str| {
        let acts = if path.contains("/repos/") || path.contains("/pipelines/") { WRITES_OF_ALL_ACTS } else { 0 };
        WRITES + acts + mishaps + hours
    };
    let over = world.ledger.by_object().into_iter().filter(|(path, writes)| *writes > budget(path));
    over.map(|(path, writes)| format!("{path} was written {writes} times, its budget is {}", budget(&path))).collect()
}
