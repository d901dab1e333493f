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
                vec![
                    test("/metadata/resourceVersion", &repo.metadata.resource_version),
                    add("/status/branches", &[&next]),
                ]
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
        (None, None) => {
            Some(vec![test("/metadata/resourceVersion", &repo.metadata.resource_version), add("/status/memo", &next)])
        }
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use uuid::Uuid;
    use varve_api::repo::RepoSpec;
    use varve_format::{BranchName, Hash, Head, RecordAt};

    use super::{super::next_head, *};

    fn head(branch: &str, base: Option<&Head>, commit: u128) -> Head {
        next_head(
            Uuid::from_u128(7),
            &BranchName::parse_stored(branch).unwrap(),
            base,
            Uuid::from_u128(commit),
            Hash::of_content(&commit.to_le_bytes()),
            RecordAt { pack: Uuid::from_u128(commit + 100), offset: 42, length: 17 },
            Timestamp::UNIX_EPOCH,
        )
    }

    fn a_move(base: Option<Head>, next: Head) -> HeadMove {
        HeadMove { branch: next.branch.clone(), base, next, files: 3, bytes: 12, name: None }
    }

    fn repo(branches: &[&Head], memo: Option<&Head>) -> Repo {
        let mut repo = Repo::new("images", RepoSpec::default());
        repo.metadata.uid = Some("k8s-uid".into());
        repo.metadata.resource_version = Some("1234".into());
        let shown = |head: &&Head| a_move(None, (*head).clone()).as_branch_head();
        repo.status = Some(RepoStatus {
            branches: branches.iter().map(shown).collect(),
            memo: memo.map(super::super::status_head),
            ..RepoStatus::default()
        });
        repo
    }

    /// What the API server does with a patch.
    fn applied(repo: &Repo, patch: &Patch) -> Result<Value, json_patch::PatchError> {
        let mut document = json(repo);
        json_patch::patch(&mut document, patch).map(|()| document)
    }

    #[test]
    fn a_head_moves_only_from_where_it_is_believed_to_stand() {
        let (dev, main) = (head("dev", None, 1), head("main", None, 2));
        let next = head("main", Some(&main), 3);
        let before = repo(&[&dev, &main], None);
        let patch = moves(&before, &[a_move(Some(main.clone()), next.clone())]).unwrap();
        let operations = json(&patch);
        for (path, value) in [
            ("/metadata/uid", json!("k8s-uid")),
            ("/status/branches/1/name", json!("main")),
            ("/status/branches/1/seq", json!(1)),
            ("/status/branches/1/seal", json!(main.seal.to_string())),
        ] {
            let test = json!({"op": "test", "path": path, "value": value});
            assert!(operations.as_array().unwrap().contains(&test), "{path}");
        }
        let after = applied(&before, &patch).unwrap();
        assert_eq!(after["status"]["branches"][1]["commit"], next.commit.to_string());
        assert_eq!(after["status"]["branches"][0]["commit"], dev.commit.to_string(), "the other branch stands");
        assert_eq!(after["status"]["latest"]["branch"], "main");

        let mut made_anew = before.clone();
        made_anew.metadata.uid = Some("another".into());
        let moved_on = repo(&[&dev, &next], None);
        let reordered = repo(&[&main, &dev], None);
        for (why, other) in [("uid", &made_anew), ("seq", &moved_on), ("name", &reordered)] {
            assert!(applied(other, &patch).is_err(), "{why}");
        }
    }

    #[test]
    fn a_base_that_no_longer_stands_needs_no_patch_to_be_refused() {
        let main = head("main", None, 2);
        let next = head("main", Some(&main), 3);
        assert!(moves(&repo(&[&next], None), &[a_move(Some(main), next.clone())]).is_none());
        assert!(moves(&repo(&[], None), &[a_move(Some(head("main", None, 9)), next)]).is_none());
    }

    #[test]
    fn a_new_branch_leaves_the_others_alone() {
        let (dev, main) = (head("dev", None, 1), head("main", None, 2));
        let before = repo(&[&dev], None);
        let patch = moves(&before, &[a_move(None, main.clone())]).unwrap();
        let after = applied(&before, &patch).unwrap();
        let names: Vec<_> = after["status"]["branches"].as_array().unwrap().iter().map(|b| b["name"].clone()).collect();
        assert_eq!(names, ["dev", "main"]);
        assert!(!json(&patch).to_string().contains("resourceVersion"));
    }

    #[test]
    fn an_output_and_its_memo_move_in_one_patch() {
        let (main, memo) = (head("main", None, 2), head("_memo", None, 5));
        let before = repo(&[&main], Some(&memo));
        let (next, next_memo) = (head("main", Some(&main), 3), head("_memo", Some(&memo), 6));
        let both = [a_move(Some(main.clone()), next.clone()), a_move(Some(memo.clone()), next_memo.clone())];
        let after = applied(&before, &moves(&before, &both).unwrap()).unwrap();
        assert_eq!(after["status"]["branches"][0]["commit"], next.commit.to_string());
        assert_eq!(after["status"]["memo"]["commit"], next_memo.commit.to_string());
        let raced = repo(&[&main], Some(&next_memo));
        let patch = moves(&before, &both).unwrap();
        assert!(applied(&raced, &patch).is_err(), "neither moves where one has been overtaken");
    }

    #[test]
    fn a_head_comes_back_from_the_status_as_it_went() {
        let main = head("main", Some(&head("main", None, 2)), 3);
        let mut shown = repo(&[&main], None);
        shown.status.as_mut().unwrap().uid = Some(main.repo.to_string());
        assert_eq!(super::super::read(&shown, &main.branch).unwrap(), Some(main));
    }
}
