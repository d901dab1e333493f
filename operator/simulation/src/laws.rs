//! What must hold of a life once it has come to rest, asked of the API server and of the bucket, by other ways than
//! those of the code under test where there are any.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use uuid::Uuid;
use varve_api::commit::Change;
use varve_api::conditions::{self, Reason, Type};
use varve_api::job::Snapshot;
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_format::Hash;
use varve_store::{Commit as StoredCommit, NodeRef, Store};

use crate::actors::SOURCE;
use crate::worker::output;
use crate::world::{NAMESPACE, World};

type Fault = Box<dyn std::error::Error>;

/// The laws that are broken.
pub(crate) async fn ask(world: &World, acknowledged: &[String]) -> Vec<String> {
    let mut broken = world.workers.broken();
    match asked(world, acknowledged).await {
        Ok(more) => broken.extend(more),
        Err(error) => broken.push(format!("the laws can't be asked: {error}")),
    }
    broken
}

async fn asked(world: &World, acknowledged: &[String]) -> Result<Vec<String>, Fault> {
    let store = world.store().await?;
    let mut broken = Vec::new();
    let repos = all::<Repo>(world).await?;
    let commits = all::<Commit>(world).await?;
    for repo in &repos {
        let chain = chain(&store, repo).await?;
        broken.extend(is_consecutive(repo, &chain));
        if repo.name_any() == SOURCE {
            broken.extend(everything_acknowledged_is_there(acknowledged, &commits, &chain));
            broken.extend(source_is_what_was_put(&store, &commits, &chain).await?);
        } else {
            for commit in &chain {
                broken.extend(output_equals_a_run_from_scratch(&store, repo, commit).await?);
            }
        }
    }
    broken.extend(all_is_up_to_date(world, &repos, &store).await?);
    broken.extend(every_datum_is_accounted_for(world).await?);
    broken.extend(nothing_is_orphaned(world).await?);
    Ok(broken)
}

async fn all<K>(world: &World) -> kube::Result<Vec<K>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(world.client(), NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items)
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

/// Every commit of the source is its parent with the changes that its Commit asks for.
async fn source_is_what_was_put(
    store: &Store,
    commits: &[Commit],
    chain: &[StoredCommit],
) -> Result<Vec<String>, Fault> {
    let mut files: BTreeMap<String, Hash> = BTreeMap::new();
    for stored in chain {
        let found = contents(store, &stored.tree()).await?;
        let name = &stored.identity.name;
        // Of a Commit that somebody deleted the changes are known no more.
        if let Some(commit) = commits.iter().find(|commit| commit.name_any() == *name) {
            for change in commit.spec.changes.iter().flatten() {
                change_files(&mut files, change);
            }
            if found != files {
                return Ok(vec![format!("Commit {name}: its files are {found:?} and should be {files:?}")]);
            }
        }
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
    let expected: BTreeMap<String, Hash> = datums
        .iter()
        .map(|members| output(&command, members))
        .map(|(name, text)| (name, Hash::of_content(text.as_bytes())))
        .collect();
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
    for pipeline in all::<Pipeline>(world).await? {
        let name = pipeline.name_any();
        let conditions = pipeline.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let ready = conditions::find(conditions, Type::Ready.as_str());
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
    for job in all::<Job>(world).await? {
        let status = job.status.clone().unwrap_or_default();
        let counts = status.datums.unwrap_or_default();
        let is_done = conditions::holds(&status.conditions, Type::Succeeded);
        if is_done && counts.total != counts.skipped + counts.processed {
            broken.push(format!("Job {} succeeded, and its datums are {counts:?}", job.name_any()));
        }
        if conditions::find(&status.conditions, Type::Succeeded.as_str()).is_none() {
            broken.push(format!("Job {} never ends: {:?}", job.name_any(), status.explanation));
        }
    }
    Ok(broken)
}

/// Whatever has an owner has one that is there; no pod is at work.
async fn nothing_is_orphaned(world: &World) -> Result<Vec<String>, Fault> {
    let jobs = all::<Job>(world).await?;
    let batches = all::<BatchJob>(world).await?;
    let pods = all::<Pod>(world).await?;
    let maps = all::<ConfigMap>(world).await?;
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
