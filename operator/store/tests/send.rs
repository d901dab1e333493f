//! Every future and stream of the public surface can be sent between threads: reconcilers and keepers spawn them. Nothing
//! here runs; it compiles, or it does not.
#![allow(dead_code, unused_must_use, clippy::let_underscore_future)]

use std::path::Path;

use bytes::Bytes;
use uuid::Uuid;
use varve_format::{BranchName, CommitIdentity, CommitName, Hash, Head, MapKind, RecordAt, RepoName, RepoPath};
use varve_store::{ContentRef, Depth, Entry, NodeRef, Owner, ResultKey, Session, Store};

fn sent<T: Send>(_: T) {}

fn what_a_store_does(
    store: &Store,
    root: &NodeRef,
    content: &ContentRef,
    entry: &Entry,
    head: &Head,
    record: &RecordAt,
) {
    let (uid, hash) = (Uuid::nil(), Hash::ZERO);
    let names = (RepoName::parse("a").ok(), CommitName::parse("a").ok());
    let (Some(repo), Some(name)) = names else { return };
    sent(store.claim(Owner { cluster: uid, namespace: uid }, None));
    sent((store.repo(&repo), store.create_repo(&repo), store.delete_repo(&repo)));
    sent((store.name_of(uid, &name), store.claim_name(uid, &name, None, uid)));
    sent((store.find(root, &RepoPath::ROOT), store.list(root), store.walk(root), store.walk_to(root, Depth::Full)));
    sent(store.diff(None, Some(root), Depth::Full));
    sent((store.map_get(root, &MapKind::PROV, b"x"), store.map_scan(root, &MapKind::PROV, None)));
    sent((store.read(content, 0..1), store.read_all(content, 1), store.checkout(entry, Path::new("x"))));
    sent((
        store.put_reflog(head),
        store.record_commit(head),
        store.read_head(head),
        store.read_commit_unchecked(record),
    ));
    sent((store.reflog_tail(uid, &BranchName::MEMO), store.reflog_after(uid, &BranchName::MEMO, 1)));
    sent((store.reflog(uid, &BranchName::MEMO, 0), store.reflog_branches(uid)));
    sent((store.find_commit(uid, uid), store.find_head(uid, uid)));
    sent((store.put_plan(uid, Bytes::new()), store.get_plan_header(uid, &hash), store.get_plan_shard(uid, &hash, 0)));
    sent((store.list_results(uid), store.list_shard_results(uid, 0), store.read_results(uid, Vec::new())));
    sent((store.get_results(uid, ResultKey { shard: 0, pod: uid, n: 0 }), store.get_import(uid)));
    sent((store.memo_lookup(root, &[]), store.verify_tree(None, root), store.begin_client_session()));
}

fn what_a_session_does(session: &Session, root: &NodeRef, entries: Vec<varve_format::records::MemoEntry>) {
    sent((session.flush(), session.write_bytes(Bytes::new()), session.write_content(&b""[..])));
    sent((session.place_root(root), session.small_contents().add((), Bytes::new())));
    sent((session.edit_tree(root, Vec::new()), session.edit_map(&MapKind::PROV, root, Vec::new())));
    sent((session.write_record(Bytes::new()), session.write_commit(CommitIdentity::default(), Vec::new(), None)));
    sent(session.write_memo(root, Uuid::nil(), entries));
}
