//! What every backend must do. Each test runs on a local folder, in memory, and on the bucket that
//! `VARVE_TEST_STORE_URL` names (with `VARVE_TEST_STORE_<option>` for its options); where it is not set, the third says
//! so and passes.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload};
use support::{Place, noise};
use uuid::Uuid;
use varve_format::commit::Parent;
use varve_format::records::{DatumResult, MemoEntry, Plan, PlanDatum, PlanShard, ShardResults, Task};
use varve_format::reference::{File, tree_id};
use varve_format::{BranchName, CommitIdentity, CommitName, Hash, Head, Kind, MapKind, RepoName, RepoPath, plan};
use varve_store::{
    Adopt, CommitRef, ContentRef, Depth, Entry, Error, NodeRef, Owner, ResultKey, Session, Store, TreeEdit, TreeFault,
    Value,
};

macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (place, _folder) = super::support::Place::folder();
                super::$test(place).await.unwrap();
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::support::Place::memory()).await.unwrap();
            })*
        }
        mod bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                match super::support::Place::from_environment() {
                    Some(place) => super::$test(place).await.unwrap(),
                    None => eprintln!("VARVE_TEST_STORE_URL is not set: not run on a bucket"),
                }
            })*
        }
    };
}

on_every_backend!(
    a_store_opened_again_is_the_same_store,
    a_store_is_its_owner_s_until_somebody_adopts_it,
    who_was_relieved_of_a_store_takes_it_back_by_a_new_word_alone,
    a_feature_of_a_later_version_is_refused_by_name,
    a_repo_made_anew_under_an_old_name_has_a_new_uid,
    a_commit_s_name_stands_for_the_first_that_claims_it,
    contents_of_every_size_come_back_and_by_ranges,
    equal_chunks_of_a_session_are_stored_once,
    a_changed_byte_of_a_pack_is_an_error_and_never_wrong_bytes,
    a_frame_moved_to_another_place_is_an_error,
    a_tree_is_checked_out_with_its_modes_and_links,
    a_tree_is_found_listed_and_walked_in_the_order_of_paths,
    a_diff_stops_at_its_depth,
    a_commit_comes_back_with_its_maps_and_its_seal,
    a_reflog_is_read_back_in_order_and_from_any_sequence,
    a_keeper_reads_its_shard_of_a_plan_and_records_results_once,
    a_memo_finds_what_any_of_its_jobs_found,
    an_honest_upload_becomes_edits_of_what_changed,
    an_upload_that_lies_is_refused_by_path_and_fault,
    a_value_larger_than_a_row_is_kept_beside_its_map,
);

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).expect("a path of this test")
}

async fn put(session: &Session, files: &[(&str, &[u8])]) -> Result<Vec<(RepoPath, TreeEdit)>> {
    let mut edits = Vec::new();
    for (name, content) in files {
        let content = session.write_bytes(content.to_vec()).await?;
        edits.push((path(name), TreeEdit::Put(Entry::file(content))));
    }
    Ok(edits)
}

async fn tree(session: &Session, files: &[(&str, &[u8])]) -> Result<NodeRef> {
    let edits = put(session, files).await?;
    Ok(session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?)
}

fn expected(files: &[(&str, &[u8])]) -> Hash {
    let files: BTreeMap<RepoPath, File> =
        files.iter().map(|(name, content)| (path(name), File::of(Kind::File, content))).collect();
    tree_id(&files).expect("a tree of this test").0
}

async fn a_store_opened_again_is_the_same_store(place: Place) -> Result<()> {
    let first = place.open().await;
    let second = place.open().await;
    ensure!(first.id() == second.id());
    Ok(())
}

async fn a_store_is_its_owner_s_until_somebody_adopts_it(place: Place) -> Result<()> {
    let store = place.open().await;
    let ours = Owner { cluster: Uuid::from_u128(1), namespace: Uuid::from_u128(2) };
    let theirs = Owner { cluster: Uuid::from_u128(3), namespace: Uuid::from_u128(4) };
    store.claim(ours, None).await?;
    store.claim(ours, None).await?;
    let another = Adopt { store: Uuid::from_u128(5), epoch: None };
    let adopt = Adopt { store: store.id(), epoch: None };
    let refused = store.claim(theirs, Some(another)).await.expect_err("another's store");
    ensure!(refused.reason() == "StoreOwnedElsewhere" && refused.to_string().contains(&format!("adopt: {adopt}`")));
    store.claim(theirs, Some(adopt)).await?;
    store.claim(theirs, None).await?;
    ensure!(matches!(store.claim(ours, None).await, Err(Error::OwnedElsewhere { .. })));
    Ok(())
}

async fn who_was_relieved_of_a_store_takes_it_back_by_a_new_word_alone(place: Place) -> Result<()> {
    let store = place.open().await;
    let owner = |n| Owner { cluster: Uuid::from_u128(n), namespace: Uuid::from_u128(n + 10) };
    let adopt = |epoch| Some(Adopt { store: store.id(), epoch });
    store.claim(owner(1), adopt(None)).await?;
    store.claim(owner(2), adopt(None)).await?;
    // The word that stands in both clusters' Secrets was for the second.
    let Err(Error::OwnedElsewhere { adopt: wanted }) = store.claim(owner(1), adopt(None)).await else {
        bail!("it was taken back")
    };
    ensure!(Some(wanted) == adopt(Some(1)));
    store.claim(owner(1), Some(wanted)).await?;
    store.claim(owner(1), Some(wanted)).await?;
    ensure!(store.claim(owner(2), adopt(None)).await.is_err());
    ensure!(store.claim(owner(2), adopt(Some(1))).await.is_err());
    // A third that never had it needs no epoch.
    store.claim(owner(3), adopt(None)).await?;
    ensure!(store.claim(owner(1), Some(wanted)).await.is_err());
    Ok(())
}

async fn a_feature_of_a_later_version_is_refused_by_name(place: Place) -> Result<()> {
    let store = place.open().await;
    let key = place.prefix.clone().join("v1").join("features").join("0");
    place.backend.put(&key, PutPayload::from_static(br#"{"read":[],"write":["encrypted-packs"]}"#)).await?;
    // A reader that knows enough goes on, a writer does not.
    let again = place.open().await;
    let session = again.session();
    let refused = session.flush().await.expect_err("a feature that this version does not know");
    ensure!(matches!(&refused, Error::FeatureUnknown { feature } if feature == "encrypted-packs"));
    ensure!(store.id() == again.id());
    Ok(())
}

async fn a_repo_made_anew_under_an_old_name_has_a_new_uid(place: Place) -> Result<()> {
    let store = place.open().await;
    let name = RepoName::parse("images")?;
    ensure!(store.repo(&name).await?.is_none());
    let first = store.create_repo(&name).await?;
    ensure!(store.create_repo(&name).await? == first && first.live);
    store.delete_repo(&name).await?;
    store.delete_repo(&name).await?;
    let deleted = store.repo(&name).await?;
    ensure!(deleted.is_some_and(|repo| repo.uid == first.uid && !repo.live));
    let second = store.create_repo(&name).await?;
    ensure!(second.uid != first.uid && place.open().await.repo(&name).await? == Some(second));
    Ok(())
}

async fn a_commit_s_name_stands_for_the_first_that_claims_it(place: Place) -> Result<()> {
    let store = place.open().await;
    let (repo, name) = (Uuid::from_u128(7), CommitName::parse("images-first")?);
    ensure!(store.name_of(repo, &name).await?.is_none());
    let spec = Some(Hash::of_content(b"spec"));
    let first = store.claim_name(repo, &name, spec, Uuid::from_u128(8)).await?;
    ensure!(first.uid == Uuid::from_u128(8) && first.spec_hash == spec);
    ensure!(store.claim_name(repo, &name, spec, Uuid::from_u128(8)).await? == first);
    ensure!(store.claim_name(repo, &name, None, Uuid::from_u128(9)).await? == first);
    ensure!(store.name_of(repo, &name).await? == Some(first));
    Ok(())
}

async fn contents_of_every_size_come_back_and_by_ranges(place: Place) -> Result<()> {
    let store = place.open().await;
    let session = store.session();
    let mut written: Vec<(Bytes, ContentRef)> = Vec::new();
    for size in [0, 1, 256, 257, 70_000, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let incompressible = noise(size as u64, size);
        let compressible = Bytes::from(vec![b'v'; size]);
        for bytes in [incompressible, compressible] {
            let content = session.write_content(bytes.as_ref()).await?;
            ensure!(content.id == Hash::of_content(&bytes) && content.size == size as u64);
            written.push((bytes, content));
        }
    }
    session.flush().await?;
    let reader = place.open().await;
    for (bytes, content) in &written {
        ensure!(reader.read_all(content, u64::MAX).await? == *bytes, "all of {} bytes", bytes.len());
        let size = bytes.len() as u64;
        for range in [0..1, 100..300, size / 2..size / 2 + 300_000, size.saturating_sub(5)..size + 5, size..size] {
            let parts = reader.read(content, range.clone()).try_fold(Vec::new(), |mut all, part| async move {
                all.extend_from_slice(&part);
                Ok(all)
            });
            let cut = |at: u64| usize::try_from(at.min(size)).expect("a small test");
            ensure!(parts.await? == bytes[cut(range.start)..cut(range.end)], "{range:?} of {size}");
        }
    }
    let (_, large) = &written[14];
    ensure!(matches!(reader.read_all(large, 100).await, Err(Error::TooLarge { .. })));
    Ok(())
}

async fn equal_chunks_of_a_session_are_stored_once(place: Place) -> Result<()> {
    let store = place.open().await;
    let session = store.session();
    let bytes = noise(1, 3_000_000);
    let first = session.write_content(bytes.as_ref()).await?;
    let longer = [bytes.as_ref(), b"and some more"].concat();
    session.write_content(longer.as_slice()).await?;
    ensure!(session.write_content(bytes.as_ref()).await? == first);
    session.flush().await?;
    let packs: Vec<_> = place.backend.list(Some(&place.prefix.clone().join("v1").join("data"))).try_collect().await?;
    let stored: u64 = packs.iter().map(|pack| pack.size).sum();
    ensure!(stored < 4_500_000, "{stored} bytes stored: the common chunks twice");
    Ok(())
}

/// Changes an object of a kind of pack, if `change` does.
async fn damage(place: &Place, area: &str, change: impl Fn(&mut Vec<u8>)) -> Result<()> {
    let folder = place.prefix.clone().join("v1").join(area);
    let packs: Vec<_> = place.backend.list(Some(&folder)).try_collect().await?;
    for pack in packs {
        let mut bytes = place.backend.get(&pack.location).await?.bytes().await?.to_vec();
        change(&mut bytes);
        place.backend.put(&pack.location, bytes.into()).await?;
    }
    Ok(())
}

async fn a_changed_byte_of_a_pack_is_an_error_and_never_wrong_bytes(place: Place) -> Result<()> {
    let session = place.open().await.session();
    let content = session.write_bytes(noise(2, 10_000)).await?;
    let names: Vec<String> = (0..200).map(|n| format!("file-{n:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let root = tree(&session, &files).await?;
    session.flush().await?;
    damage(&place, "data", |bytes| bytes[5_000] ^= 1).await?;
    damage(&place, "meta", |bytes| bytes[500] ^= 1).await?;
    let reader = place.open().await;
    let error = reader.read_all(&content, u64::MAX).await.expect_err("a changed byte");
    ensure!(error.reason() == "StoreCorrupt" && error.to_string().contains("offset"), "{error}");
    let error = reader.find(&root, &path("file-0001")).await.expect_err("a changed byte");
    ensure!(error.reason() == "StoreCorrupt", "{error}");
    Ok(())
}

async fn a_frame_moved_to_another_place_is_an_error(place: Place) -> Result<()> {
    let session = place.open().await.session();
    let first = session.write_bytes(noise(3, 5_000)).await?;
    let second = session.write_bytes(noise(4, 5_000)).await?;
    session.flush().await?;
    // Both frames are of one length: swapped, each is whole, and at the wrong offset.
    damage(&place, "data", |bytes| {
        let (start, length) = (45, 5_000 + 17);
        let (a, b) = bytes[start..start + 2 * length].split_at_mut(length);
        a.swap_with_slice(b);
    })
    .await?;
    let reader = place.open().await;
    for content in [first, second] {
        let error = reader.read_all(&content, u64::MAX).await.expect_err("a frame that was moved");
        ensure!(error.reason() == "StoreCorrupt", "{error}");
    }
    Ok(())
}

async fn a_tree_is_checked_out_with_its_modes_and_links(place: Place) -> Result<()> {
    let session = place.open().await.session();
    let large = noise(5, 2_000_000);
    let mut edits = put(&session, &[("tiny", b"tiny"), ("large", &large), ("deep.txt", b"between")]).await?;
    let mut small = session.small_contents();
    let mut placed = Vec::new();
    for n in 0..50 {
        placed.extend(small.add(format!("deep/{n}.txt"), noise(n, 5_000)).await?);
    }
    placed.extend(small.finish().await?);
    edits.extend(placed.into_iter().map(|(name, content)| (path(&name), TreeEdit::Put(Entry::file(content)))));
    let content = session.write_bytes(&b"#!/bin/sh\n"[..]).await?;
    edits.push((path("deep/deeper/run"), TreeEdit::Put(Entry::File { executable: true, content })));
    let target = session.write_bytes(&b"../large"[..]).await?;
    edits.push((path("deep/link"), TreeEdit::Put(Entry::Symlink { target })));
    let root = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
    session.flush().await?;

    let folder = tempfile::tempdir()?;
    let dest = folder.path().join("dest");
    place.open().await.checkout(&Entry::Directory(root.clone()), &dest).await?;
    ensure!(std::fs::read(dest.join("large"))? == large);
    for n in 0..50 {
        ensure!(std::fs::read(dest.join(format!("deep/{n}.txt")))? == noise(n, 5_000));
    }
    ensure!(std::fs::read_link(dest.join("deep/link"))?.as_os_str() == "../large");
    let mode = |name: &str| std::fs::metadata(dest.join(name)).map(|found| found.permissions().mode() & 0o777);
    ensure!((mode("tiny")?, mode("deep/deeper/run")?, mode("deep")?) == (0o444, 0o555, 0o755));
    let one = Entry::file(session.write_bytes(&b"alone"[..]).await?);
    place.open().await.checkout(&one, &folder.path().join("one")).await?;
    ensure!(std::fs::read(folder.path().join("one"))? == b"alone");
    let again = place.open().await.checkout(&one, &folder.path().join("one")).await;
    ensure!(matches!(again, Err(Error::Io { .. })));
    Ok(())
}

async fn a_tree_is_found_listed_and_walked_in_the_order_of_paths(place: Place) -> Result<()> {
    let session = place.open().await.session();
    let files: [(&str, &[u8]); 5] = [("a.txt", b"1"), ("a/b", b"2"), ("a/c/d", b"3"), ("a0", b"4"), ("z", b"5")];
    let root = tree(&session, &files).await?;
    ensure!(root.id == expected(&files) && (root.files, root.bytes) == (5, 5));
    session.flush().await?;
    let store = place.open().await;
    let walked: Vec<(RepoPath, Entry)> = store.walk(&root).try_collect().await?;
    let paths: Vec<&str> = walked.iter().map(|(path, _)| path.as_str()).collect();
    ensure!(paths == ["a.txt", "a/b", "a/c/d", "a0", "z"]);
    let listed: Vec<(String, Entry)> = store.list(&root).try_collect().await?;
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == ["a.txt", "a", "a0", "z"]);
    let at_two: Vec<(RepoPath, Entry)> = store.walk_to(&root, Depth::Components(2)).try_collect().await?;
    let at_two: Vec<(&str, u64)> = at_two.iter().map(|(path, entry)| (path.as_str(), entry.files())).collect();
    ensure!(at_two == [("a.txt", 1), ("a/b", 1), ("a/c", 1), ("a0", 1), ("z", 1)]);
    ensure!(store.find(&root, &path("a/c/d")).await?.is_some_and(|entry| entry.id() == Hash::of_content(b"3")));
    ensure!(store.find(&root, &path("a/c")).await?.is_some_and(|entry| entry.files() == 1));
    ensure!(store.find(&root, &RepoPath::ROOT).await? == Some(Entry::Directory(root.clone())));
    for missing in ["b", "a/x", "a.txt/below", "a/c/d/e"] {
        ensure!(store.find(&root, &path(missing)).await?.is_none(), "{missing}");
    }
    Ok(())
}

async fn a_diff_stops_at_its_depth(place: Place) -> Result<()> {
    let store = place.open().await;
    let session = store.session();
    let before =
        tree(&session, &[("kept/x", b"1"), ("changed/x/1", b"1"), ("changed/y/1", b"1"), ("gone", b"1")]).await?;
    let after =
        tree(&session, &[("kept/x", b"1"), ("changed/x/1", b"2"), ("changed/y/1", b"1"), ("new/a", b"1")]).await?;
    let paths = |depth| {
        let changes = store.diff(Some(&before), Some(&after), depth);
        changes
            .map_ok(|change| (change.path.as_str().to_owned(), change.before.is_some(), change.after.is_some()))
            .try_collect::<Vec<_>>()
    };
    let row = |path: &str, before, after| (path.to_owned(), before, after);
    ensure!(
        paths(Depth::Full).await?
            == [row("changed/x/1", true, true), row("gone", true, false), row("new/a", false, true)]
    );
    ensure!(
        paths(Depth::Components(1)).await?
            == [row("changed", true, true), row("gone", true, false), row("new", false, true)]
    );
    ensure!(
        paths(Depth::Components(2)).await?
            == [row("changed/x", true, true), row("gone", true, false), row("new/a", false, true)]
    );
    ensure!(paths(Depth::Components(0)).await? == [row("", true, true)]);
    let from_nothing: Vec<_> = store.diff(None, Some(&after), Depth::Full).try_collect().await?;
    ensure!(from_nothing.len() == 4);
    Ok(())
}

fn identity(uid: Uuid, repo: Uuid, sequence: u64) -> CommitIdentity {
    CommitIdentity {
        uid: uid.as_bytes().to_vec(),
        repo_uid: repo.as_bytes().to_vec(),
        repo_name: "images".to_owned(),
        name: "images-first".to_owned(),
        branch: "main".to_owned(),
        sequence,
        parents: vec![Parent::new(Uuid::from_u128(77), Hash::of_content(b"a parent's seal"))],
        author: "somebody".to_owned(),
        time_ns: 1_700_000_000_123_456_789,
        message: "first three".to_owned(),
        run: uid.as_bytes().to_vec(),
        ..CommitIdentity::default()
    }
}

async fn a_commit_comes_back_with_its_maps_and_its_seal(place: Place) -> Result<()> {
    let (repo, uid) = (Uuid::from_u128(0x1111), Uuid::from_u128(0x2222));
    let session = place.open().await.session();
    let names: Vec<String> = (0..1_000).map(|n| format!("file-{n:07}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let root = tree(&session, &files).await?;
    let prov = NodeRef::empty(&MapKind::PROV);
    let value = Value::new(&b"the datum's key"[..]);
    let prov = session.edit_map(&MapKind::PROV, &prov, vec![(Bytes::from_static(b"/"), Some(value.clone()))]).await?;
    let job_record = session.write_record(noise(6, 100_000)).await?;
    let maps = vec![(MapKind::TREE, root.clone()), (MapKind::PROV, prov)];
    let written = session.write_commit(identity(uid, repo, 1), maps, Some(&job_record)).await?;
    session.flush().await?;

    let store = place.open().await;
    let commit = store.read_commit_unchecked(&written.record).await?;
    ensure!((commit.uid, commit.seal, commit.record) == (uid, written.seal, written.record));
    ensure!(commit.identity.message == "first three" && commit.identity.maps.len() == 2);
    ensure!(commit.tree().id == root.id && commit.tree().files == 1_000);
    let stored = commit.map(&MapKind::PROV).expect("the commit has a map of this kind");
    ensure!(store.map_get(stored, &MapKind::PROV, b"/").await? == Some(value));
    let record = commit.job_record.as_ref().expect("the commit names its Job's record");
    ensure!(store.read_all(record, u64::MAX).await? == noise(6, 100_000));

    let head = head(repo, &written, 1, Hash::ZERO);
    ensure!(store.find_commit(repo, uid).await?.is_none());
    store.record_commit(&head).await?;
    ensure!(store.find_commit(repo, uid).await? == Some(commit.clone()));
    ensure!(store.read_head(&head).await? == commit);
    // A branch that is pinned to it adds nothing, and overwrites nothing.
    let pinned = Head { branch: BranchName::parse("dev")?, seq: 9, ..head.clone() };
    store.record_commit(&pinned).await?;
    ensure!(store.find_head(repo, uid).await? == Some(head.clone()));
    let forged = Head { seal: Hash::ZERO, ..head };
    ensure!(matches!(store.record_commit(&forged).await, Err(Error::Conflict { .. })));
    ensure!(matches!(store.read_head(&forged).await, Err(Error::SealMismatch { .. })));
    Ok(())
}

fn head(repo: Uuid, commit: &CommitRef, seq: u64, previous: Hash) -> Head {
    Head {
        repo,
        branch: BranchName::parse("main").expect("a branch"),
        seq,
        commit: commit.uid,
        seal: commit.seal,
        record: commit.record,
        time_ns: 1_700_000_000_000_000_000,
        previous,
        is_deleted: false,
    }
}

async fn a_reflog_is_read_back_in_order_and_from_any_sequence(place: Place) -> Result<()> {
    let store = place.open().await;
    let repo = Uuid::from_u128(0x3333);
    let session = store.session();
    let root = NodeRef::empty(&MapKind::TREE);
    let mut heads: Vec<Head> = Vec::new();
    for seq in 1..=12 {
        let identity = identity(Uuid::from_u128(seq.into()), repo, seq);
        let written = session.write_commit(identity, vec![(MapKind::TREE, root.clone())], None).await?;
        let previous = heads.last().map_or(Hash::ZERO, Head::hash);
        heads.push(head(repo, &written, seq, previous));
    }
    session.flush().await?;
    for head in heads.iter().rev() {
        store.put_reflog(head).await?;
        store.put_reflog(head).await?;
    }
    let main = BranchName::parse("main")?;
    store.put_reflog(&Head { branch: BranchName::MEMO, ..heads[0].clone() }).await?;
    store.put_reflog(&Head { branch: BranchName::parse("main.old")?, ..heads[0].clone() }).await?;
    ensure!(store.reflog_tail(repo, &main).await? == heads);
    ensure!(store.reflog_after(repo, &main, 9).await? == heads[9..]);
    ensure!(store.reflog_after(repo, &main, 12).await?.is_empty());
    let branches: Vec<String> = store.reflog_branches(repo).await?.iter().map(ToString::to_string).collect();
    ensure!(branches == ["_memo", "main", "main.old"], "{branches:?}");
    ensure!(store.reflog_tail(Uuid::from_u128(1), &main).await?.is_empty());
    Ok(())
}

async fn a_keeper_reads_its_shard_of_a_plan_and_records_results_once(place: Place) -> Result<()> {
    let store = place.open().await;
    let job = Uuid::from_u128(0x4444);
    let datum = |key: &str| PlanDatum {
        key: key.as_bytes().to_vec(),
        hash: Hash::of_content(key.as_bytes()).to_vec(),
        ..PlanDatum::default()
    };
    let shards = [PlanShard { datums: vec![datum("a"), datum("b")] }, PlanShard { datums: vec![datum("c")] }];
    let header = Plan {
        job_uid: job.as_bytes().to_vec(),
        spec_digest: Hash::ZERO.to_vec(),
        task: Some(Task { argv: vec!["x".repeat(100_000)], ..Task::default() }),
        ..Plan::default()
    };
    let id = store.put_plan(job, plan::encode(header, &shards)).await?;
    let reader = place.open().await;
    ensure!(reader.get_plan_header(job, &id).await?.shard_index.len() == 2);
    ensure!(reader.get_plan_shard(job, &id, 1).await? == shards[1]);
    ensure!(matches!(reader.get_plan_shard(job, &id, 2).await, Err(Error::Decode { .. })));
    let missing = reader.get_plan_header(job, &Hash::ZERO).await;
    ensure!(matches!(missing, Err(Error::ObjectMissing { .. })));

    let pods = [Uuid::from_u128(2), Uuid::from_u128(1)];
    let results = |tries| ShardResults { format: 1, datums: vec![DatumResult { tries, ..DatumResult::default() }] };
    for (shard, pod, n, tries) in [(1, pods[0], 0, 1), (0, pods[0], 10, 2), (0, pods[0], 9, 3), (0, pods[1], 0, 4)] {
        store.put_results(job, ResultKey { shard, pod, n }, &results(tries)).await?;
    }
    store.put_results(job, ResultKey { shard: 1, pod: pods[0], n: 0 }, &results(1)).await?;
    let again = store.put_results(job, ResultKey { shard: 1, pod: pods[0], n: 0 }, &results(9)).await;
    ensure!(matches!(again, Err(Error::Conflict { .. })));
    let listed = reader.list_results(job).await?;
    let read: Vec<(ResultKey, ShardResults)> = reader.read_results(job, listed).try_collect().await?;
    let tries: Vec<u32> = read.iter().map(|(_, results)| results.datums[0].tries).collect();
    ensure!(tries == [4, 3, 2, 1]);
    let first = ResultKey { shard: 1, pod: pods[0], n: 0 };
    let at = varve_format::keys::results(job, 1, pods[0], 0);
    let at = object_store::path::Path::parse(format!("{}/{at}", place.prefix).trim_start_matches('/'))?;
    let mut bytes = place.backend.get(&at).await?.bytes().await?.to_vec();
    bytes[6] ^= 4;
    place.backend.put(&at, bytes.into()).await?;
    ensure!(matches!(reader.get_results(job, first).await, Err(Error::Decode { .. })));
    ensure!(reader.list_shard_results(job, 1).await? == [ResultKey { shard: 1, pod: pods[0], n: 0 }]);
    ensure!(reader.list_shard_results(job, 10).await?.is_empty());
    Ok(())
}

async fn a_memo_finds_what_any_of_its_jobs_found(place: Place) -> Result<()> {
    let store = place.open().await;
    let session = store.session();
    let hash = |n: u64| Hash::of_content(&n.to_le_bytes());
    let entry = |n: u64, state| MemoEntry { hash: hash(n).to_vec(), state, ..MemoEntry::default() };
    let mut memo = NodeRef::empty(&MapKind::MEMO);
    for job in 0..3_u64 {
        let entries = (job * 5_000..(job + 1) * 5_000).rev().map(|n| entry(n, 1)).collect();
        memo = session.write_memo(&memo, Uuid::from_u128(job.into()), entries).await?;
    }
    let again = session.write_memo(&memo, Uuid::from_u128(9), vec![entry(99_999, 1), entry(99_999, 2)]).await?;
    session.flush().await?;
    let reader = place.open().await;
    let wanted = [hash(0), hash(4_999), hash(5_000), hash(14_999), hash(15_000), hash(99_999), hash(0)];
    let found = reader.memo_lookup(&memo, &wanted).await?;
    ensure!(found.len() == 4 && found[&hash(14_999)] == entry(14_999, 1));
    let found = reader.memo_lookup(&again, &wanted).await?;
    ensure!(found.len() == 5 && found[&hash(99_999)] == entry(99_999, 2));
    ensure!(reader.memo_lookup(&NodeRef::empty(&MapKind::MEMO), &wanted).await?.is_empty());
    Ok(())
}

async fn an_honest_upload_becomes_edits_of_what_changed(place: Place) -> Result<()> {
    let client = place.open().await;
    let session = client.session();
    let open = client.begin_client_session().await?;
    let parent = tree(&session, &[("kept/a", b"1"), ("was-file", b"2"), ("was-dir/x", b"3"), ("gone", b"4")]).await?;
    let large = noise(8, 3_000_000);
    let uploaded: [(&str, &[u8]); 4] = [("kept/a", b"1"), ("was-file/y", b"5"), ("was-dir", b"6"), ("large", &large)];
    let uploaded_root = session.place_root(&tree(&session, &uploaded).await?).await?;
    session.flush().await?;
    client.end_client_session(open).await?;

    let operator = place.open().await;
    let edits = operator.verify_tree(Some(&parent), &NodeRef { files: 0, bytes: 0, ..uploaded_root.clone() }).await?;
    ensure!(edits.len() == 7 - 1 && edits.iter().all(|(path, _)| !path.as_str().starts_with("kept")), "{edits:?}");
    let ours = operator.session().edit_tree(&parent, edits).await?;
    ensure!(ours.id == uploaded_root.id && ours.id == expected(&uploaded));
    Ok(())
}

async fn an_upload_that_lies_is_refused_by_path_and_fault(place: Place) -> Result<()> {
    let store = place.open().await;
    let session = store.session();
    let files: [(&str, &[u8]); 2] = [("dir/file", &[7; 400]), ("other", b"x")];
    let root = session.place_root(&tree(&session, &files).await?).await?;
    session.flush().await?;
    let refusal = |refused: varve_store::Result<Vec<(RepoPath, TreeEdit)>>| match refused {
        Err(Error::TreeRefused { fault, .. }) => Ok(fault),
        other => anyhow::bail!("not refused: {other:?}"),
    };
    // An id that the stored node does not have.
    let lie = NodeRef { id: Hash::ZERO, ..root.clone() };
    ensure!(refusal(store.verify_tree(None, &lie).await)? == TreeFault::Id(Hash::ZERO));
    // A place where nothing is.
    let varve_store::Location::Pack(at) = &root.at else { anyhow::bail!("placed in a pack") };
    for nowhere in [
        varve_format::PackLocation { pack: Uuid::from_u128(1), ..*at },
        varve_format::PackLocation { offset: at.offset + (1 << 30), ..*at },
        varve_format::PackLocation { stored: at.stored + 1, ..*at },
        varve_format::PackLocation { stored: 0, ..*at },
    ] {
        let lie = NodeRef { at: varve_store::Location::Pack(nowhere), ..root.clone() };
        let reader = place.open().await;
        let fault = refusal(reader.verify_tree(None, &lie).await).with_context(|| format!("{nowhere:?}"))?;
        ensure!(matches!(fault, TreeFault::Content(_) | TreeFault::Unreadable(_)), "{nowhere:?}: {fault:?}");
    }
    // Content that is other than its id says.
    let content = session.write_bytes(vec![8; 400]).await?;
    let claimed = ContentRef { id: Hash::of_content(&[7; 400]), ..content };
    let edits = vec![(path("bad"), TreeEdit::Put(Entry::file(claimed)))];
    let lie = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
    session.flush().await?;
    let refused = store.verify_tree(None, &lie).await;
    ensure!(matches!(&refused, Err(Error::TreeRefused { path, .. }) if path.contains("bad")), "{refused:?}");
    ensure!(matches!(refusal(refused)?, TreeFault::Content(_)));
    // A symlink's target that may not be.
    let target = session.write_bytes(&b"with\0nul"[..]).await?;
    let edits = vec![(path("link"), TreeEdit::Put(Entry::Symlink { target }))];
    let lie = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
    ensure!(refusal(store.verify_tree(None, &lie).await)? == TreeFault::Target);
    Ok(())
}

async fn a_value_larger_than_a_row_is_kept_beside_its_map(place: Place) -> Result<()> {
    let session = place.open().await.session();
    let refs = vec![varve_store::Location::Erased];
    let values: Vec<(Bytes, Value)> = [0, 1, 256, 257, 100_000]
        .map(|size| (Bytes::from(format!("key-{size:06}")), Value { bytes: noise(9, size), refs: refs.clone() }))
        .into();
    let edits = values.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let map = session.edit_map(&MapKind::DATUMS, &NodeRef::empty(&MapKind::DATUMS), edits).await?;
    session.flush().await?;
    let store: Store = place.open().await;
    let scanned: Vec<(Bytes, Value)> = store.map_scan(&map, &MapKind::DATUMS, None).try_collect().await?;
    ensure!(scanned == values);
    let from: Vec<(Bytes, Value)> =
        store.map_scan(&map, &MapKind::DATUMS, Some("key-000002".into())).try_collect().await?;
    ensure!(from == values[2..]);
    Ok(())
}
