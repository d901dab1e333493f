//! The shape of a head's move: a JSON patch on a Repo's `/status`, with a `test` on all that it stands on.
//!
//! Never by resourceVersion, which any annotation changes, and never by apply, which would drop the other
//! branches. A branch is found in the list by index and tested by name, so a list that has changed since
//! is noticed. Pure.

use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use serde::Serialize;
use serde_json::Value;
use varve_api::repo::{BranchHead, Head as StatusHead, Latest, Repo, RepoStatus};

use super::HeadMove;

/// The patch that makes all `moves` at once on `repo`, or none: `None` where `repo` shows that a base no
/// longer stands.
pub(crate) fn moves(repo: &Repo, moves: &[HeadMove]) -> Option<Patch> {
    let status = repo.status.clone().unwrap_or_default();
    let mut branches = status.branches.clone();
    let mut operations = vec![test("/metadata/uid", &repo.metadata.uid)];
    for a_move in moves {
        if a_move.branch.is_hidden() {
            operations.extend(memo(repo, &status, a_move)?);
        } else {
            operations.extend(branch(repo, &mut branches, a_move)?);
        }
    }
    if moves.iter().any(|a_move| !a_move.branch.is_hidden()) {
        operations.push(add("/status/latest", &Latest::of(&branches)));
    }
    Some(Patch(operations))
}

fn branch(repo: &Repo, branches: &mut Vec<BranchHead>, a_move: &HeadMove) -> Option<Vec<PatchOperation>> {
    let name = a_move.branch.as_str();
    let next = a_move.as_branch_head();
    let place = branches.iter().position(|branch| branch.name == name);
    match (place, &a_move.base) {
        (Some(index), Some(base)) => {
            let there = &branches[index].head;
            if there.seq != base.seq || there.seal != base.seal.to_string() {
                return None;
            }
            let at = format!("/status/branches/{index}");
            let operations = vec![
                test(&format!("{at}/name"), &name),
                test(&format!("{at}/seq"), &there.seq),
                test(&format!("{at}/seal"), &there.seal),
                replace(&at, &next),
            ];
            branches[index] = next;
            Some(operations)
        }
        (None, None) => {
            let operations = if branches.is_empty() {
                // Nothing there to test: for this once, test the whole object.
                vec![test("/metadata/resourceVersion", &repo.metadata.resource_version), add("/status/branches", &[&next])]
            } else {
                // The API server refuses a second entry of the same name.
                vec![add("/status/branches/-", &next)]
            };
            branches.push(next);
            Some(operations)
        }
        _ => None,
    }
}

fn memo(repo: &Repo, status: &RepoStatus, a_move: &HeadMove) -> Option<Vec<PatchOperation>> {
    let next = super::status_head(&a_move.next);
    match (&status.memo, &a_move.base) {
        (Some(there), Some(base)) if there.seq == base.seq && there.seal == base.seal.to_string() => Some(vec![
            test("/status/memo/seq", &there.seq),
            test("/status/memo/seal", &there.seal),
            replace("/status/memo", &next),
        ]),
        (None, None) => Some(vec![
            test("/metadata/resourceVersion", &repo.metadata.resource_version),
            add("/status/memo", &next),
        ]),
        _ => None,
    }
}

/// What a Repo's status says of a branch (or of the memo).
pub(crate) fn find<'a>(status: &'a RepoStatus, name: &str) -> Option<&'a StatusHead> {
    if name == varve_format::BranchName::MEMO.as_str() {
        return status.memo.as_ref();
    }
    status.branches.iter().find(|branch| branch.name == name).map(|branch| &branch.head)
}

fn pointer(path: &str) -> PointerBuf {
    PointerBuf::parse(path).expect("paths are made from literals and indices")
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("status types are plain data")
}

fn test(path: &str, value: &impl Serialize) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: pointer(path), value: json(value) })
}

fn add(path: &str, value: &impl Serialize) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: pointer(path), value: json(value) })
}

fn replace(path: &str, value: &impl Serialize) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path: pointer(path), value: json(value) })
}
