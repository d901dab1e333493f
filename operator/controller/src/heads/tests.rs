//! A head's move against a small API server and a store in memory, with every call failing in turn: before
//! it took effect, and after. Whatever fails, done again it stands once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::{Client, client::Body};
use object_store::{memory::InMemory, path::Path};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;
use varve_api::repo::{Repo, RepoSpec, RepoStatus};
use varve_format::{BranchName, CommitIdentity, CommitName, Hash, MapKind, commit::Provenance};
use varve_store::{NodeRef, Store, backend::Allowed};

use super::*;
use crate::{
    act::{FaultHook, NoFaults},
    cache::{Caches, Scope},
    clients::Clients,
    cx::{Settings, World},
    metrics::Metrics,
};

/// Fails one call, counted from 0, before or after it took effect; then no other.
struct FailAt {
    which: usize,
    is_after: bool,
    before: AtomicUsize,
    after: AtomicUsize,
}

impl FailAt {
    fn call(which: usize, is_after: bool) -> Arc<Self> {
        Arc::new(Self { which, is_after, before: AtomicUsize::new(0), after: AtomicUsize::new(0) })
    }
}

impl FaultHook for FailAt {
    fn fails_before(&self, _: &Call) -> bool {
        self.before.fetch_add(1, Ordering::SeqCst) == self.which && !self.is_after
    }
    fn fails_after(&self, _: &Call) -> bool {
        self.after.fetch_add(1, Ordering::SeqCst) == self.which && self.is_after
    }
}

/// One Repo, which can be read and whose status takes JSON patches, tests included; and Commits.
fn api_server(repo: Arc<Mutex<Value>>, commits: Arc<Mutex<Commits>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (repo, commits) = (repo.clone(), commits.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.expect("the body is in memory");
            let path = parts.uri.path().split_once("/commits").map(|(_, rest)| rest.to_owned());
            let (code, answer) = match path {
                None if parts.method == Method::POST => (StatusCode::CREATED, json!({})), // an Event
                Some(path) => answer_of_commits(&commits, (&parts.method, &path), &bytes),
                None => answer(&repo, &parts.method, &bytes),
            };
            let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&answer).unwrap()));
            Ok::<_, std::convert::Infallible>(response.unwrap())
        }
    });
    Client::new(service, "field")
}

/// Commit objects by name.
type Commits = BTreeMap<String, Value>;

/// Commits are made, read, and given a status.
fn answer_of_commits(commits: &Mutex<Commits>, (method, path): (&Method, &str), body: &[u8]) -> (StatusCode, Value) {
    let mut commits = commits.lock().unwrap();
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = path.trim_matches('/').split('/').next().unwrap_or_default();
    if method == Method::POST {
        let name = sent["metadata"]["name"].as_str().unwrap().to_owned();
        if commits.contains_key(&name) {
            let status = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "AlreadyExists", "message": "it is there"});
            return (StatusCode::CONFLICT, status);
        }
        commits.insert(name.clone(), sent);
        return (StatusCode::CREATED, commits[&name].clone());
    }
    let there = commits.get_mut(named).unwrap();
    if method == Method::PATCH {
        there["status"] = sent["status"].clone();
    }
    (StatusCode::OK, there.clone())
}

fn answer(repo: &Mutex<Value>, method: &Method, body: &[u8]) -> (StatusCode, Value) {
    let mut stored = repo.lock().unwrap();
    if method == Method::GET {
        return (StatusCode::OK, stored.clone());
    }
    let patch: json_patch::Patch = serde_json::from_slice(body).expect("heads move by JSON patch");
    let mut patched = stored.clone();
    if let Err(error) = json_patch::patch(&mut patched, &patch) {
        let status = json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": error.to_string()});
        return (StatusCode::UNPROCESSABLE_ENTITY, status);
    }
    let version: u64 = stored["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    patched["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    *stored = patched.clone();
    (StatusCode::OK, patched)
}

struct Ground {
    stored: Arc<Mutex<Value>>,
    commits: Arc<Mutex<Commits>>,
    client: Client,
    store: Store,
    repo_uid: Uuid,
}

impl Ground {
    async fn new() -> Self {
        let store = Store::open(Arc::new(InMemory::new()), Path::default()).await.unwrap();
        let repo_uid = Uuid::from_u128(77);
        let mut repo = Repo::new("images", RepoSpec { history_limit: 10, ..RepoSpec::default() });
        repo.metadata.namespace = Some("field".into());
        repo.metadata.uid = Some("k8s-uid".into());
        repo.metadata.resource_version = Some("1".into());
        repo.status = Some(RepoStatus { uid: Some(repo_uid.to_string()), ..RepoStatus::default() });
        let stored = Arc::new(Mutex::new(serde_json::to_value(repo).unwrap()));
        let commits = Arc::default();
        let client = api_server(stored.clone(), Arc::clone(&commits));
        Self { stored, commits, client, store, repo_uid }
    }

    fn repo(&self) -> Arc<Repo> {
        Arc::new(serde_json::from_value(self.stored.lock().unwrap().clone()).unwrap())
    }

    /// An operator that has just started.
    fn operator(&self, faults: Arc<dyn FaultHook>) -> Arc<Cx> {
        let client = &self.client;
        let clients = Clients { watch: client.clone(), write: client.clone() };
        let (caches, _never_filled) = Caches::new(client, &Scope::Cluster);
        let settings = Settings {
            image: "varve".into(),
            images: crate::image::Source::Registries { insecure: Vec::new() },
            concurrency: 1,
            allowed: Allowed { local_stores: true, ..Allowed::default() },
        };
        let (_, leading) = watch::channel(true);
        let world = World {
            cluster: Uuid::nil(),
            restarts_in_place: false,
            leading,
            faults,
            metrics: Arc::new(Metrics::new()),
            memory: varve_store::Caches::default(),
            outside: crate::Outside::default(),
        };
        Cx::new(clients, caches, settings, world)
    }

    /// Writes a commit onto `base`, and the move that makes it the head.
    async fn commit(&self, name: &str, base: Option<&Head>) -> HeadMove {
        self.commit_of(name, base, None).await
    }

    async fn commit_of(&self, name: &str, base: Option<&Head>, made_by: Option<Provenance>) -> HeadMove {
        let branch = BranchName::parse("main").unwrap();
        let uid = varve_format::commit_uid(1_000, name);
        let session = self.store.session();
        let identity = CommitIdentity {
            uid: uid.as_bytes().to_vec(),
            repo_uid: self.repo_uid.as_bytes().to_vec(),
            repo_name: "images".into(),
            name: name.into(),
            branch: "main".into(),
            sequence: base.map_or(1, |base| base.seq + 1),
            run: uid.as_bytes().to_vec(),
            provenance: made_by,
            ..CommitIdentity::default()
        };
        let maps = vec![(MapKind::TREE, NodeRef::empty(&MapKind::TREE))];
        let made = session.write_commit(identity, maps, None).await.unwrap();
        session.flush().await.unwrap();
        let next = next_head(self.repo_uid, &branch, base, made.uid, made.seal, made.record, Timestamp::UNIX_EPOCH);
        let name = NameClaim { name: CommitName::parse(name).unwrap(), spec_hash: Some(Hash::of_content(b"spec")) };
        HeadMove { branch, base: base.cloned(), next, files: 0, bytes: 0, name: Some(name) }
    }

    /// What the store and the status say, which must be the same.
    async fn history(&self) -> Vec<String> {
        let tail = self.store.reflog_tail(self.repo_uid, &BranchName::parse("main").unwrap()).await.unwrap();
        let mut previous = Hash::ZERO;
        for (index, entry) in tail.iter().enumerate() {
            assert_eq!((entry.seq, entry.previous), (index as u64 + 1, previous), "the reflog is a dense chain");
            previous = entry.hash();
            let pointed = self.store.find_commit(self.repo_uid, entry.commit).await.unwrap();
            let name = pointed.expect("every entry has its pointer").identity.name;
            let named = self.store.name_of(self.repo_uid, &CommitName::parse(&name).unwrap()).await.unwrap();
            assert_eq!(named.expect("every commit has its name").uid, entry.commit);
        }
        let repo = self.repo();
        let heads = repo.status.as_ref().map(|status| status.branches.len());
        assert_eq!(heads, Some(1), "one line for one branch");
        assert_eq!(read(&repo, &BranchName::parse("main").unwrap()).unwrap().as_ref(), tail.last());
        tail.iter().map(|entry| entry.commit.to_string()).collect()
    }
}

#[tokio::test]
async fn whichever_call_fails_a_move_made_again_stands_once_with_all_that_belongs_to_it() {
    for which in 0..8 {
        for is_after in [false, true] {
            let ground = Ground::new().await;
            let main = BranchName::parse("main").unwrap();
            let first = ground.commit("first", None).await;
            let cx = ground.operator(FailAt::call(which, is_after));
            let failed = cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&first)).await;
            if failed.is_err() {
                // Whoever finds the name takes the commit for landed: its entry must stand by then.
                let name = &first.name.as_ref().unwrap().name;
                let is_named = ground.store.name_of(ground.repo_uid, name).await.unwrap().is_some();
                let tail = ground.store.reflog_tail(ground.repo_uid, &main).await.unwrap();
                assert!(!is_named || tail == [first.next.clone()], "call {which} {is_after}");
                // The operator is restarted and does the same again.
                let cx = ground.operator(Arc::new(NoFaults));
                let again = cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&first)).await;
                assert!(matches!(again, Ok(Moved::Won(_))), "call {which} {is_after}");
            }
            let cx = ground.operator(Arc::new(NoFaults));
            let base = cx.heads.open(&cx, &ground.repo(), &ground.store, &main).await.unwrap();
            assert_eq!(base.as_ref(), Some(&first.next), "call {which} {is_after}");
            let second = ground.commit("second", base.as_ref()).await;
            cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&second)).await.unwrap();
            let uids = [first.next.commit.to_string(), second.next.commit.to_string()];
            assert_eq!(ground.history().await, uids, "call {which} {is_after}");
        }
    }
}

#[tokio::test]
async fn of_two_that_build_on_one_head_the_later_is_told() {
    let ground = Ground::new().await;
    let cx = ground.operator(Arc::new(NoFaults));
    let (one, other) = (ground.commit("one", None).await, ground.commit("other", None).await);
    let stale = ground.repo();
    cx.heads.advance(&cx, &stale, &ground.store, std::slice::from_ref(&one)).await.unwrap();
    // Another operator, which has seen nothing of it.
    let cx = ground.operator(Arc::new(NoFaults));
    let lost = cx.heads.advance(&cx, &stale, &ground.store, std::slice::from_ref(&other)).await.unwrap();
    assert!(matches!(lost, Moved::Lost(_)));
    assert_eq!(ground.history().await, [one.next.commit.to_string()]);
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_found_though_others_have_followed() {
    let ground = Ground::new().await;
    let cx = ground.operator(Arc::new(NoFaults));
    let first = ground.commit("first", None).await;
    let before = ground.repo();
    cx.heads.advance(&cx, &before, &ground.store, std::slice::from_ref(&first)).await.unwrap();
    let second = ground.commit("second", Some(&first.next)).await;
    cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&second)).await.unwrap();
    let cx = ground.operator(Arc::new(NoFaults));
    let again = cx.heads.advance(&cx, &before, &ground.store, std::slice::from_ref(&first)).await.unwrap();
    assert!(matches!(again, Moved::Won(_)));
    assert_eq!(ground.history().await.len(), 2);
}

#[tokio::test]
async fn a_status_that_was_put_back_is_moved_on_to_what_the_store_holds() {
    let ground = Ground::new().await;
    let main = BranchName::parse("main").unwrap();
    let cx = ground.operator(Arc::new(NoFaults));
    let first = ground.commit("first", None).await;
    cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&first)).await.unwrap();
    let backup = ground.stored.lock().unwrap().clone();
    let second = ground.commit("second", Some(&first.next)).await;
    cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&second)).await.unwrap();
    *ground.stored.lock().unwrap() = backup;
    let cx = ground.operator(Arc::new(NoFaults));
    let head = cx.heads.open(&cx, &ground.repo(), &ground.store, &main).await.unwrap();
    assert_eq!(head, Some(second.next));
    assert_eq!(ground.history().await.len(), 2);
}

#[tokio::test]
async fn whichever_call_fails_all_output_commits_come_back_with_a_branch() {
    for which in 0..12 {
        for is_after in [false, true] {
            let ground = Ground::new().await;
            let main = BranchName::parse("main").unwrap();
            let cx = ground.operator(Arc::new(NoFaults));
            let backup = ground.stored.lock().unwrap().clone();
            let mut base = None;
            for name in ["edges-1", "edges-2", "edges-3"] {
                let made_by = Provenance {
                    pipeline: "edges".into(),
                    job: name.into(),
                    spec_digest: Hash::of_content(b"spec").to_vec(),
                    ..Provenance::default()
                };
                let a_move = ground.commit_of(name, base.as_ref(), Some(made_by)).await;
                cx.heads
                    .advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&a_move))
                    .await
                    .unwrap_or_else(|error| panic!("{error}"));
                base = Some(a_move.next);
            }
            *ground.stored.lock().unwrap() = backup;
            // Killed at one call; a new operator begins again.
            let cx = ground.operator(FailAt::call(which, is_after));
            let _ = cx.heads.open(&cx, &ground.repo(), &ground.store, &main).await;
            let cx = ground.operator(Arc::new(NoFaults));
            let head = cx.heads.open(&cx, &ground.repo(), &ground.store, &main).await.unwrap();
            assert_eq!(head, base, "call {which} {is_after}");
            let commits = ground.commits.lock().unwrap();
            let ready = commits.values().filter(|commit| commit["status"]["conditions"][0]["type"] == "Ready");
            assert_eq!(ready.count(), 3, "call {which} {is_after}");
        }
    }
}

#[tokio::test]
async fn a_branch_too_many_is_told_before_anything_is_built_for_it() {
    let ground = Ground::new().await;
    let cx = ground.operator(Arc::new(NoFaults));
    let first = ground.commit("first", None).await;
    cx.heads.advance(&cx, &ground.repo(), &ground.store, std::slice::from_ref(&first)).await.unwrap();
    let mut full = (*ground.repo()).clone();
    let branches = &mut full.status.as_mut().unwrap().branches;
    for number in 1..MAX_BRANCHES {
        branches.push(BranchHead { name: format!("b-{number}"), ..branches[0].clone() });
    }
    full.metadata.resource_version = Some("100".into());
    let full = Arc::new(full);
    let open = |name: &'static str| {
        let (cx, full, store) = (&cx, &full, &ground.store);
        async move { cx.heads.open(cx, full, store, &BranchName::parse_stored(name).unwrap()).await }
    };
    assert_eq!(open("main").await.unwrap(), Some(first.next));
    assert_eq!(open("_memo").await.unwrap(), None);
    let refused = open("dev").await.unwrap_err();
    assert!(matches!(refused, Error::Told { reason: Reason::TooManyBranches, .. }), "{refused}");
}

#[tokio::test]
async fn an_answer_that_comes_late_does_not_hide_a_newer_one() {
    let ground = Ground::new().await;
    let cx = ground.operator(Arc::new(NoFaults));
    let at = |version: &str| {
        let mut repo = (*ground.repo()).clone();
        repo.metadata.resource_version = Some(version.into());
        repo
    };
    cx.heads.remember(at("10"));
    assert_eq!(cx.heads.remember(at("9")).metadata.resource_version.as_deref(), Some("10"));
    assert_eq!(cx.heads.fresh(&Arc::new(at("8"))).metadata.resource_version.as_deref(), Some("10"));
    assert_eq!(cx.heads.remember(at("11")).metadata.resource_version.as_deref(), Some("11"));
    // Who passes on what a move returned does not say that the cache shows it.
    assert_eq!(cx.heads.fresh(&Arc::new(at("11"))).metadata.resource_version.as_deref(), Some("11"));
    assert_eq!(cx.heads.fresh(&Arc::new(at("8"))).metadata.resource_version.as_deref(), Some("11"));
}

#[tokio::test]
async fn a_replica_that_does_not_lead_moves_nothing() {
    let ground = Ground::new().await;
    let cx = ground.operator(Arc::new(NoFaults));
    let first = ground.commit("first", None).await;
    let (_, deposed) = watch::channel(false);
    let act = crate::act::Act::new(ground.client.clone(), deposed, Arc::new(NoFaults), cx.metrics.clone());
    let patch = patch::moves(&ground.repo(), std::slice::from_ref(&first)).unwrap();
    let refused = act.patch_status(ground.repo().as_ref(), patch).await;
    assert!(matches!(refused, Err(Error::NotLeading)));
    assert!(ground.repo().status.as_ref().unwrap().branches.is_empty());
}
