//! Stores written by earlier versions, which every later one still reads. Read-only: a change here that makes one of
//! them unreadable is a change of format.
//!
//! `fixtures/v1` was written by `write_v1` below, with a clock and ids that count. `VARVE_WRITE_FIXTURES=1` writes it
//! again, into an empty folder, when a new fixture is added; never to make a failing test pass.

mod support;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use support::{Place, noise};
use uuid::Uuid;
use varve_format::commit::Parent;
use varve_format::records::{DatumResult, MemoEntry, Plan, PlanDatum, PlanShard, ShardResults};
use varve_format::{BranchName, CommitIdentity, CommitName, Hash, Head, MapKind, RepoName, RepoPath, plan};
use varve_store::{Entry, NodeRef, Owner, ResultKey, Session, Store, TreeEdit, Value, backend};

/// Everything that is known of the fixture without reading it.
mod known {
    pub(crate) const STORE: &str = "018bcfe5-6800-7000-8000-000000000000";
    pub(crate) const FIRST_SEAL: &str = "9d586f7aa25708d95cd2f6088358b7e2447538208ac4a4b2ec50ad94266d2d99";
    pub(crate) const SECOND_SEAL: &str = "6a566f041e003a084c48dd44c453d5a074414368bffc64ad65a4bc423dd0ecc7";
    pub(crate) const FIRST_TREE: &str = "f76032ed53e85de5d2dd8031ec8c18bf07ced70f9a4dd9e50817ef8031f2d942";
    pub(crate) const SECOND_TREE: &str = "b1de7eb8ed0a08371d593ccb178a34bd637e466a145e5716a392980c9f9c7df9";
    pub(crate) const PLAN: &str = "2a8a0bccb4784ae83a8ee7343c50534ddccbea94461f28a37d9e728175d47a0b";
    pub(crate) const PROV: &str = "e344482602e2c370c16e3c40d071502ee5df26806c391d96ea411872263c8998";
}

const JOB: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const POD: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
const LARGE_BYTES: usize = 1_200_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

fn uid(n: u128) -> Uuid {
    Uuid::from_u128(0x018b_cfe5_6800_7000_9000_0000_0000_0000 + n)
}

/// Bytes that compress well, so that a file of several chunks stays small in the repository.
fn large() -> Bytes {
    let mut out = Vec::with_capacity(LARGE_BYTES);
    for n in 0_u32.. {
        if out.len() >= LARGE_BYTES {
            break;
        }
        out.extend_from_slice(format!("line {n} of a file of several chunks\n").as_bytes());
    }
    out.truncate(LARGE_BYTES);
    out.into()
}

fn identity(repo: Uuid, sequence: u64, parents: Vec<Parent>) -> CommitIdentity {
    let uid = uid(sequence.into());
    CommitIdentity {
        uid: uid.as_bytes().to_vec(),
        repo_uid: repo.as_bytes().to_vec(),
        repo_name: "images".to_owned(),
        name: format!("images-{sequence}"),
        spec_hash: Some(Hash::of_content(b"a spec").to_vec()),
        branch: "main".to_owned(),
        sequence,
        parents,
        author: "somebody".to_owned(),
        time_ns: 1_700_000_000_000_000_000 + i64::try_from(sequence).unwrap_or(0),
        message: "as it was in the beginning".to_owned(),
        run: uid.as_bytes().to_vec(),
        ..CommitIdentity::default()
    }
}

async fn commit(
    store: &Store,
    session: &Session,
    identity: CommitIdentity,
    maps: Vec<(MapKind, NodeRef)>,
    previous: Hash,
) -> Result<Head> {
    let repo = identity.repo_uid()?;
    let seq = identity.sequence;
    let written = session.write_commit(identity, maps, None).await?;
    session.flush().await?;
    let branch = BranchName::parse("main")?;
    let time_ns = 1_700_000_000_000_000_000;
    let (commit, seal, record) = (written.uid, written.seal, written.record);
    let head = Head { repo, branch, seq, commit, seal, record, time_ns, previous, is_deleted: false };
    store.put_reflog(&head).await?;
    store.record_commit(&head).await?;
    Ok(head)
}

async fn write_v1(place: &Place) -> Result<()> {
    let store = place.open_counting().await;
    store.claim(Owner { cluster: uid(100), namespace: uid(101) }, None).await?;
    let repo = store.create_repo(&RepoName::parse("images")?).await?.uid;
    store.claim_name(repo, &CommitName::parse("images-first")?, Some(Hash::of_content(b"a spec")), uid(1)).await?;

    let session = store.session();
    let mut edits = Vec::new();
    for n in 0..700_u32 {
        let content = session.write_bytes(format!("file {n}").into_bytes()).await?;
        edits.push((RepoPath::parse(&format!("many/file-{n:04}"))?, TreeEdit::Put(Entry::file(content))));
    }
    let content = session.write_bytes(noise(1, 5_000)).await?;
    edits.push((RepoPath::parse("photo.png")?, TreeEdit::Put(Entry::file(content))));
    let content = session.write_content(large().as_ref()).await?;
    edits.push((RepoPath::parse("large.txt")?, TreeEdit::Put(Entry::file(content))));
    let content = session.write_bytes(&b"#!/bin/sh\n"[..]).await?;
    edits.push((RepoPath::parse("small/run")?, TreeEdit::Put(Entry::File { executable: true, content })));
    let target = session.write_bytes(&b"../photo.png"[..]).await?;
    edits.push((RepoPath::parse("small/link")?, TreeEdit::Put(Entry::Symlink { target })));
    let tree = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
    let prov = NodeRef::empty(&MapKind::PROV);
    let values = vec![
        (Bytes::from_static(b"/"), Some(Value::new(&b"a short value"[..]))),
        (Bytes::from_static(b"many/"), Some(Value::new(noise(2, 1_000)))),
    ];
    let prov = session.edit_map(&MapKind::PROV, &prov, values).await?;
    let entry = MemoEntry { hash: Hash::of_content(b"a datum").to_vec(), state: 1, ..MemoEntry::default() };
    let memo = session.write_memo(&NodeRef::empty(&MapKind::MEMO), JOB, vec![entry]).await?;
    let maps = vec![(MapKind::TREE, tree.clone()), (MapKind::PROV, prov), (MapKind::MEMO, memo)];
    let first = commit(&store, &session, identity(repo, 1, Vec::new()), maps, Hash::ZERO).await?;

    let session = store.session();
    let tree = session.edit_tree(&tree, vec![(RepoPath::parse("many/file-0007")?, TreeEdit::Delete)]).await?;
    let parents = vec![Parent::new(first.commit, first.seal)];
    let maps = vec![(MapKind::TREE, tree)];
    commit(&store, &session, identity(repo, 2, parents), maps, first.hash()).await?;

    let datum = PlanDatum { key: b"k".to_vec(), hash: Hash::ZERO.to_vec(), ..PlanDatum::default() };
    let header = Plan { job_uid: JOB.as_bytes().to_vec(), spec_digest: Hash::ZERO.to_vec(), ..Plan::default() };
    store.put_plan(JOB, plan::encode(header, &[PlanShard { datums: vec![datum] }])).await?;
    let results = ShardResults { format: 1, datums: vec![DatumResult { tries: 3, ..DatumResult::default() }] };
    store.put_results(JOB, ResultKey { shard: 0, pod: POD, n: 0 }, &results).await?;
    let session = store.begin_client_session().await?;
    store.end_client_session(session).await?;
    Ok(())
}

#[tokio::test]
async fn what_version_1_wrote_is_read_by_this_version() -> Result<()> {
    if std::env::var_os("VARVE_WRITE_FIXTURES").is_some() {
        let place = Place { backend: backend::local(&folder())?, prefix: object_store::path::Path::default() };
        write_v1(&place).await?;
    }
    // A copy, so that nothing can ever be written to the original.
    let copy = tempfile::tempdir()?;
    copy_folder(&folder(), copy.path())?;
    let place = Place { backend: backend::local(copy.path())?, prefix: object_store::path::Path::default() };
    let store = place.open().await;
    ensure!(store.id().to_string() == known::STORE);
    store.claim(Owner { cluster: uid(100), namespace: uid(101) }, None).await?;
    let repo = store.repo(&RepoName::parse("images")?).await?.filter(|repo| repo.live);
    let repo = repo.ok_or_else(|| anyhow::anyhow!("the repo is there"))?.uid;
    let named = store.name_of(repo, &CommitName::parse("images-first")?).await?;
    ensure!(named.is_some_and(|named| named.uid == uid(1)));

    let heads = store.reflog_tail(repo, &BranchName::parse("main")?).await?;
    let seals: Vec<String> = heads.iter().map(|head| head.seal.to_string()).collect();
    ensure!(seals == [known::FIRST_SEAL, known::SECOND_SEAL], "{seals:?}");
    ensure!(heads[1].previous == heads[0].hash());
    let first = store.read_head(&heads[0]).await?;
    let second = store.read_head(&heads[1]).await?;
    let trees = [first.tree(), second.tree()].map(|tree| tree.id.to_string());
    ensure!(trees == [known::FIRST_TREE, known::SECOND_TREE], "{trees:?}");
    ensure!(store.find_commit(repo, uid(2)).await? == Some(second.clone()));

    let files: Vec<(RepoPath, Entry)> = store.walk(&first.tree()).try_collect().await?;
    ensure!(files.len() == 704);
    for (path, entry) in &files {
        if let Some(content) = entry.content() {
            store.read_all(content, 1 << 24).await.map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        }
    }
    let find = async |path: &str| store.find(&first.tree(), &RepoPath::parse(path)?).await.map_err(anyhow::Error::from);
    let content = |entry: Option<Entry>| {
        entry.and_then(|entry| entry.content().cloned()).ok_or_else(|| anyhow::anyhow!("a file"))
    };
    ensure!(store.read_all(&content(find("large.txt").await?)?, 1 << 24).await? == large());
    ensure!(store.read_all(&content(find("photo.png").await?)?, 1 << 24).await? == noise(1, 5_000));
    ensure!(matches!(find("small/run").await?, Some(Entry::File { executable: true, .. })));
    ensure!(store.read_all(&content(find("small/link").await?)?, 100).await? == b"../photo.png"[..]);

    let prov = first.map(&MapKind::PROV).ok_or_else(|| anyhow::anyhow!("the commit has a map of this kind"))?;
    ensure!(prov.id.to_string() == known::PROV, "{}", prov.id);
    let values: Vec<(Bytes, Value)> = store.map_scan(prov, &MapKind::PROV, None).try_collect().await?;
    ensure!(values.len() == 2 && values[1].1 == Value::new(noise(2, 1_000)));
    let memo = first.map(&MapKind::MEMO).ok_or_else(|| anyhow::anyhow!("the commit has a map of this kind"))?;
    ensure!(store.memo_lookup(memo, &[Hash::of_content(b"a datum")]).await?.len() == 1);

    let listed = store.list_results(JOB).await?;
    ensure!(listed == [ResultKey { shard: 0, pod: POD, n: 0 }]);
    ensure!(store.get_results(JOB, listed[0]).await?.datums[0].tries == 3);
    let plan = known::PLAN.parse()?;
    ensure!(store.get_plan_header(JOB, &plan).await?.shard_index.len() == 1);
    ensure!(store.get_plan_shard(JOB, &plan, 0).await?.datums.len() == 1);
    Ok(())
}

#[tokio::test]
async fn writing_the_fixture_again_gives_the_same_bytes() -> Result<()> {
    let again = tempfile::tempdir()?;
    let place = Place { backend: backend::local(again.path())?, prefix: object_store::path::Path::default() };
    write_v1(&place).await?;
    // The format leaves compression and chunks free; ids, seals and names are not.
    let keys = |folder: &Path| -> Result<Vec<PathBuf>> {
        let mut keys = Vec::new();
        list(folder, folder, &mut keys)?;
        // A plan is read by its own version of Varve alone, or one soon after: its messages may gain fields.
        keys.retain(|key| !key.components().any(|name| name.as_os_str() == "plan"));
        keys.sort();
        Ok(keys)
    };
    ensure!(keys(again.path())? == keys(&folder())?);
    Ok(())
}

fn list(root: &Path, folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, into)?;
        } else {
            into.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut keys = Vec::new();
    list(from, from, &mut keys)?;
    for key in keys {
        let dest = to.join(&key);
        if let Some(parent) = dest.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(from.join(&key), dest)?;
    }
    Ok(())
}
