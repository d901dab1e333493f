//! The rules of the API, each broken once, and the corners of what is allowed.
//!
//! A case is an object that breaks one rule, and the message that must come back. The table is shared: a real API server
//! answers to it here, and `varve-local`'s own in its tests.

mod pipelines;
mod right;

use serde_json::{Value, json};

use super::object;
use pipelines::{input_cases, pipeline_cases, pipeline_spec};
pub(crate) use right::right;

/// A case: what it is about, the object, and the message that the API server must give.
pub(crate) struct Case {
    pub(crate) object: Value,
    pub(crate) message: &'static str,
}

fn case(kind: &str, spec: &Value, message: &'static str) -> Case {
    Case { object: object(kind, "x", spec.clone()), message }
}

const UUID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

fn text(path: &str) -> Value {
    json!([{ "put": { "path": path, "text": "t" } }])
}

fn repo_cases() -> Vec<Case> {
    let branch = |branch: Value| json!({ "branches": [branch] });
    vec![
        case("Repo", &branch(json!({ "name": "Main", "head": "a" })), "name must be a branch"),
        case("Repo", &branch(json!({ "name": UUID, "head": "a" })), "name may not have the form of a UUID"),
        case("Repo", &branch(json!({ "name": "main", "head": "-x" })), "head must be a Commit's uid, a branch"),
        case("Repo", &branch(json!({ "name": "main" })), "spec.branches[0].head: Required value"),
        case(
            "Repo",
            &branch(json!({ "name": "", "head": "a" })),
            "spec.branches[0].name in body should be at least 1 chars long",
        ),
        case("Repo", &branch(json!({ "head": "a" })), "an element that omits all key fields [\"name\"]"),
        case(
            "Repo",
            &json!({ "branches": [{ "name": "a", "head": "b" }, { "name": "a", "head": "c" }] }),
            "duplicate entries for key [name=\"a\"]",
        ),
        case(
            "Repo",
            &json!({ "branches": vec![json!({}); 33].into_iter().enumerate().map(|(i, _)| json!({ "name": format!("b{i}"), "head": "a" })).collect::<Vec<_>>() }),
            "must have at most 32 items",
        ),
        case("Repo", &json!({ "historyLimit": 0 }), "spec.historyLimit in body should be greater than or equal to 1"),
        case(
            "Repo",
            &json!({ "historyLimit": 10_001 }),
            "spec.historyLimit in body should be less than or equal to 10000",
        ),
        case("Repo", &json!({ "deletionPolicy": "Keep" }), "supported values: \"Retain\", \"Delete\""),
        case("Repo", &json!({ "description": "d".repeat(1025) }), "may not be more than 1024"),
        case("Repo", &json!({ "storeRef": {} }), "spec.storeRef.name: Required value"),
        case("Repo", &json!({ "retention": { "days": 3 } }), "field not declared in schema"),
        Case { object: object("Repo", UUID, json!({})), message: "metadata.name may not have the form of a UUID" },
        Case {
            object: object("Repo", &"r".repeat(53), json!({})),
            message: "metadata.name must have at most 52 characters",
        },
        Case { object: object("Repo", "a..b", json!({})), message: "a lowercase RFC 1123 subdomain must consist of" },
    ]
}

fn commit_cases() -> Vec<Case> {
    let with = |more: Value| {
        let mut spec = json!({ "repo": "r", "changes": text("/a") });
        spec.as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
        spec
    };
    let change = |change: Value| json!({ "repo": "r", "changes": [change] });
    let put = |put: Value| json!({ "repo": "r", "changes": [{ "put": put }] });
    let copy = |from: Value| json!({ "repo": "r", "changes": [{ "copy": { "path": "/a", "from": from } }] });
    vec![
        case("Commit", &json!({ "repo": "r" }), "exactly one of changes, tree and revertTo must be set"),
        case("Commit", &with(json!({ "revertTo": "main" })), "exactly one of changes, tree and revertTo must be set"),
        case("Commit", &json!({ "repo": "R", "revertTo": "main" }), "repo must be the name of an object"),
        case("Commit", &json!({ "repo": UUID, "revertTo": "main" }), "repo may not have the form of a UUID"),
        case("Commit", &json!({ "revertTo": "main" }), "spec.repo: Required value"),
        case("Commit", &with(json!({ "branch": "_memo" })), "branch must be a branch"),
        case("Commit", &with(json!({ "branch": UUID })), "branch may not have the form of a UUID"),
        case("Commit", &with(json!({ "parent": "Main" })), "parent must be a Commit's uid, a branch"),
        case("Commit", &json!({ "repo": "r", "revertTo": "x/y" }), "revertTo must be a Commit's uid, a branch"),
        case("Commit", &with(json!({ "message": "m".repeat(4097) })), "may not be more than 4096"),
        case("Commit", &with(json!({ "changes": [] })), "spec.changes in body should have at least 1 items"),
        case(
            "Commit",
            &with(json!({ "changes": vec![json!({ "delete": { "path": "/a" } }); 1001] })),
            "must have at most 1000 items",
        ),
        case(
            "Commit",
            &with(json!({ "changes": vec![json!({ "put": { "path": "/a", "text": "t".repeat(65_537) } }); 2] })),
            "the texts in changes may have at most 131072 characters together",
        ),
        case("Commit", &change(json!({})), "each entry of changes must have exactly one of put, copy and delete"),
        case(
            "Commit",
            &change(json!({ "delete": { "path": "/a" }, "put": { "path": "/a", "text": "" } })),
            "each entry of changes must have exactly one of put, copy and delete",
        ),
        case("Commit", &change(json!({ "delete": { "path": "a" } })), "path must begin with exactly one /"),
        case(
            "Commit",
            &put(json!({ "path": "/a" })),
            "put must have exactly one of text, url, objectStore and configMap",
        ),
        case(
            "Commit",
            &put(json!({ "path": "/a", "text": "t", "url": "https://example.org" })),
            "put must have exactly one of text, url, objectStore and configMap",
        ),
        case("Commit", &put(json!({ "path": "/", "text": "t" })), "path must name a file"),
        case("Commit", &put(json!({ "path": "a", "text": "t" })), "path must begin with exactly one /"),
        case("Commit", &put(json!({ "path": "//a", "text": "t" })), "path must begin with exactly one /"),
        case("Commit", &put(json!({ "path": "/a/", "text": "t" })), "path may not end in /"),
        case("Commit", &put(json!({ "path": "/a//b", "text": "t" })), "path may not have an empty part, '.' or '..'"),
        case("Commit", &put(json!({ "path": "/a/../b", "text": "t" })), "path may not have an empty part, '.' or '..'"),
        case("Commit", &put(json!({ "path": "/a/.", "text": "t" })), "path may not have an empty part, '.' or '..'"),
        case("Commit", &put(json!({ "path": "/a\0b", "text": "t" })), "path may not contain the character NUL"),
        case(
            "Commit",
            &put(json!({ "path": format!("/{}", "a".repeat(4096)), "text": "t" })),
            "may not be more than 4096",
        ),
        case(
            "Commit",
            &put(json!({ "path": "/a", "url": "ftp://example.org/a" })),
            "url must begin with https:// or http://",
        ),
        case(
            "Commit",
            &put(json!({ "path": "/a", "url": "file:///etc/passwd" })),
            "url must begin with https:// or http://",
        ),
        case(
            "Commit",
            &put(json!({ "path": "/a", "objectStore": { "url": "file:///etc" } })),
            "url must begin with s3://, gs:// or az://",
        ),
        case("Commit", &put(json!({ "path": "/", "configMap": { "name": "c", "key": "k" } })), "path must name a file"),
        case("Commit", &put(json!({ "path": "/a", "configMap": {} })), "configMap.name: Required value"),
        case("Commit", &copy(json!({ "path": "x" })), "path must begin with exactly one /"),
        case("Commit", &copy(json!({ "path": "/x", "repo": "_" })), "repo must be the name of an object"),
        case("Commit", &copy(json!({ "path": "/x", "commit": "A" })), "commit must be a Commit's uid, a branch"),
        case(
            "Commit",
            &json!({ "repo": "r", "tree": { "id": "x".repeat(64), "session": UUID, "root": { "pack": UUID, "offset": 0, "length": 1 } } }),
            "spec.tree.id in body should match",
        ),
        case(
            "Commit",
            &json!({ "repo": "r", "tree": { "id": "a".repeat(64), "session": UUID, "root": { "pack": UUID, "offset": -1, "length": 1 } } }),
            "should be greater than or equal to 0",
        ),
        Case {
            object: object("Commit", UUID, with(json!({}))),
            message: "metadata.name may not have the form of a UUID",
        },
    ]
}

pub(crate) fn job_spec() -> Value {
    json!({
        "pipeline": "p",
        "inputs": [{ "name": "a", "repo": "a", "branch": "main", "commit": UUID }],
        "snapshot": {
            "uid": UUID, "generation": 1, "spec": pipeline_spec(&json!({})),
            "image": { "reference": "i:1", "configDigest": format!("sha256:{}", "0".repeat(64)), "resolvedGeneration": 1 },
        },
    })
}

fn job_cases() -> Vec<Case> {
    let mut bad_name = job_spec();
    bad_name["pipeline"] = "P".into();
    let mut bad_snapshot = job_spec();
    bad_snapshot["snapshot"]["spec"]["inputs"][0]["name"] = "out".into();
    let mut no_snapshot = job_spec();
    no_snapshot.as_object_mut().expect("a spec").remove("snapshot");
    vec![
        case("Job", &bad_name, "pipeline must be the name of a Pipeline"),
        case("Job", &bad_snapshot, "name may not be out, PATH, HOME"),
        case("Job", &no_snapshot, "spec.snapshot: Required value"),
        Case { object: object("Job", "a.b", job_spec()), message: "metadata.name must be the name of a Pipeline" },
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [repo_cases(), commit_cases(), input_cases(), pipeline_cases(), job_cases()].into_iter().flatten().collect()
}

/// What stands, what is made of it, and the message that must come back.
pub(crate) struct Change {
    pub(crate) before: Value,
    pub(crate) after: Value,
    pub(crate) message: &'static str,
}

fn change(kind: &str, spec: &Value, edit: impl FnOnce(&mut Value), message: &'static str) -> Change {
    let mut after = spec.clone();
    edit(&mut after);
    Change { before: object(kind, "x", spec.clone()), after: object(kind, "x", after), message }
}

pub(crate) fn changes() -> Vec<Change> {
    let commit = json!({ "repo": "r", "message": "m", "changes": text("/a") });
    let fixed = "a Commit can't be changed: make another Commit";
    let mut cancelled = job_spec();
    cancelled["cancel"] = true.into();
    vec![
        change("Commit", &commit, |spec| spec["changes"][0]["put"]["text"] = "u".into(), fixed),
        change("Commit", &commit, |spec| spec["branch"] = "other".into(), fixed),
        change("Commit", &commit, |spec| spec["parent"] = "main".into(), fixed),
        change("Commit", &commit, |spec| drop(spec.as_object_mut().expect("a spec").remove("message")), fixed),
        change(
            "Repo",
            &json!({}),
            |spec| spec["storeRef"] = json!({ "name": "other" }),
            "storeRef can't be changed, since this Repo's data lies in that store",
        ),
        change(
            "Job",
            &job_spec(),
            |spec| spec["pipeline"] = "q".into(),
            "pipeline can't be changed: of a Job only suspend and cancel can be",
        ),
        change(
            "Job",
            &job_spec(),
            |spec| spec["inputs"][0]["branch"] = "dev".into(),
            "inputs can't be changed: of a Job only suspend and cancel can be",
        ),
        change(
            "Job",
            &job_spec(),
            |spec| spec["inputs"][0]["name"] = "b".into(),
            "inputs can't be changed: of a Job only suspend and cancel can be",
        ),
        change(
            "Job",
            &job_spec(),
            |spec| spec["snapshot"]["spec"]["timeoutSeconds"] = 5.into(),
            "snapshot can't be changed: of a Job only suspend and cancel can be",
        ),
        change(
            "Job",
            &job_spec(),
            |spec| spec["snapshot"]["spec"]["container"]["args"] = json!(["a"]),
            "snapshot can't be changed: of a Job only suspend and cancel can be",
        ),
        change("Job", &cancelled, |spec| spec["cancel"] = false.into(), "cancel can't be taken back"),
    ]
}
