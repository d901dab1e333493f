//! Every object key of the store, relative to its prefix; all begin with `v1/` and are made of `[a-z0-9_./-]`.

use uuid::Uuid;

use crate::hash::Hash;
use crate::name::{BranchName, CommitName, RepoName};
use crate::reflog::Head;

/// What all keys begin with.
pub const ROOT: &str = "v1";

/// `store.json`: the store's random id and format.
pub fn store() -> String {
    format!("{ROOT}/store.json")
}

/// `features/<n>`: what a reader and a writer must understand.
pub fn features(n: u64) -> String {
    format!("{ROOT}/features/{n}")
}

/// `owner/<n>`: who owns the store; n is the epoch.
pub fn owner(n: u64) -> String {
    format!("{ROOT}/owner/{n}")
}

/// `repos/<name>/<n>`: a repo's uid, live or deleted.
pub fn repo(name: &RepoName, n: u64) -> String {
    format!("{ROOT}/repos/{name}/{n}")
}

/// `names/<repo uid>/<commit name>`: which commit a Commit's name stands for.
pub fn name(repo: Uuid, name: &CommitName) -> String {
    format!("{ROOT}/names/{repo}/{name}")
}

/// `data/<ss>/<pack>`: a pack of contents.
pub fn data_pack(pack: Uuid) -> String {
    format!("{ROOT}/data/{}/{pack}", spread(pack))
}

/// `meta/<ss>/<pack>`: a pack of nodes, records and indexes.
pub fn meta_pack(pack: Uuid) -> String {
    format!("{ROOT}/meta/{}/{pack}", spread(pack))
}

/// The last byte of the id in hex: UUIDv7s begin with the time, and would all load one place.
fn spread(pack: Uuid) -> String {
    hex::encode(&pack.as_bytes()[15..])
}

/// `commits/<repo uid>/<commit uid>`: pointer to a commit's record.
pub fn commit(repo: Uuid, commit: Uuid) -> String {
    format!("{ROOT}/commits/{repo}/{commit}")
}

/// `reflog/<repo uid>/<branch>/<seq:020>-<first 16 hex of the entry's hash>`.
pub fn reflog(head: &Head) -> String {
    let hash = head.hash().to_string();
    format!("{}/{:020}-{}", reflog_prefix(head.repo, &head.branch), head.seq, &hash[..16])
}

/// `reflog/<repo uid>/<branch>`: what the entries of a branch lie under, in their order.
pub fn reflog_prefix(repo: Uuid, branch: &BranchName) -> String {
    format!("{ROOT}/reflog/{repo}/{branch}")
}

/// `reflog/<repo uid>`: what the branches of a repo lie under.
pub fn reflog_repo_prefix(repo: Uuid) -> String {
    format!("{ROOT}/reflog/{repo}")
}

/// `reflog/<repo uid>/<branch>/<seq:020>`: below all entries of this sequence and above all before it.
pub fn reflog_from(repo: Uuid, branch: &BranchName, seq: u64) -> String {
    format!("{}/{seq:020}", reflog_prefix(repo, branch))
}

/// `sessions/<id>`: what an open writer that is not a CR keeps its objects under.
pub fn session_prefix(id: Uuid) -> String {
    format!("{ROOT}/sessions/{id}")
}

/// `jobs/<job uid>`: what a Job's plans and results lie under.
pub fn job_prefix(job: Uuid) -> String {
    format!("{ROOT}/jobs/{job}")
}

/// `jobs/<job uid>/plan/<hash>`: a plan.
pub fn plan(job: Uuid, plan: &Hash) -> String {
    format!("{}/plan/{plan}", job_prefix(job))
}

/// `jobs/<commit uid>/fetch/<hash>`: what an import pod is to fetch, by the plain BLAKE3 of its bytes. The Commit
/// object stands in for the Job.
pub fn fetch_list(commit: Uuid, list: &Hash) -> String {
    format!("{}/fetch/{list}", job_prefix(commit))
}

/// `jobs/<job uid>/<shard>`: what the results of a shard lie under.
pub fn shard_prefix(job: Uuid, shard: u32) -> String {
    format!("{}/{shard}", job_prefix(job))
}

/// `jobs/<job uid>/<shard>/<pod uid>/<n>`: results of a shard, as one pod recorded them.
pub fn results(job: Uuid, shard: u32, pod: Uuid, n: u64) -> String {
    format!("{}/{pod}/{n}", shard_prefix(job, shard))
}

/// The shard, pod and number of a key of results below [`job_prefix`]; none for a plan's or a fetch list's.
pub fn parse_results(key: &str) -> Option<(u32, Uuid, u64)> {
    let mut parts = key.rsplit('/');
    let n = parts.next()?.parse().ok()?;
    let pod = parts.next()?.parse().ok()?;
    let shard = parts.next()?.parse().ok()?;
    Some((shard, pod, n))
}
