//! Every rule of the API, broken once on the real API server: what a user then reads.
//!
//! A case is a kind, a spec that breaks one rule, and the message that must come back. The last test but one
//! compares the cases with the rules in the CRDs, so that no rule goes without a case.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};
use varve_e2e::{Space, object};

/// A case: what it is about, the object, and the message that the API server must give.
struct Case {
    object: Value,
    message: &'static str,
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

fn pipeline_spec(more: &Value) -> Value {
    let mut spec = json!({ "inputs": [{ "name": "a", "glob": "/*" }], "container": { "image": "i:1" } });
    spec.as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
    spec
}

fn input_cases() -> Vec<Case> {
    let inputs = |inputs: Value| pipeline_spec(&json!({ "inputs": inputs }));
    let one = |input: Value| inputs(json!([input]));
    let reserved = "name may not be out, PATH, HOME, LD_*, VARVE_*, PACH_*, KUBERNETES_* or *_COMMIT";
    let mut cases = vec![
        case("Pipeline", &inputs(json!([])), "spec.inputs in body should have at least 1 items"),
        case(
            "Pipeline",
            &inputs((0..65).map(|i| json!({ "name": format!("i{i}"), "glob": "/" })).collect()),
            "must have at most 64 items",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "glob": "/" }, { "name": "a", "glob": "/*" }])),
            "duplicate entries for key [name=\"a\"]",
        ),
        case(
            "Pipeline",
            &one(json!({ "name": "a" })),
            "each entry of inputs must have exactly one of glob, cross and union",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "glob": "/" }, { "name": "b", "glob": "/", "cross": ["a"] }])),
            "each entry of inputs must have exactly one of glob, cross and union",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "glob": "/" }, { "name": "b", "repo": "r", "cross": ["a"] }])),
            "repo, branch, as and optional belong to an input with a glob",
        ),
        case(
            "Pipeline",
            &one(json!({ "name": "a b", "glob": "/" })),
            "name must be up to 63 letters, digits, '-' and '_'",
        ),
        case(
            "Pipeline",
            &one(json!({ "name": "a", "as": "../x", "glob": "/" })),
            "as must be up to 63 letters, digits, '-' and '_'",
        ),
        case("Pipeline", &one(json!({ "name": "a", "as": "out", "glob": "/" })), "as may not be out, PATH, HOME"),
        case("Pipeline", &one(json!({ "name": "a", "glob": "*" })), "glob must begin with /"),
        case("Pipeline", &one(json!({ "name": "a", "glob": "/", "repo": "R" })), "repo must be the name of an object"),
        case("Pipeline", &one(json!({ "name": "a", "glob": "/", "branch": "B" })), "branch must be a branch"),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "cross": ["a"] }])),
            "an entry of inputs may not name itself in cross or union",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "union": ["a"] }])),
            "an entry of inputs may not name itself in cross or union",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "cross": ["b"] }])),
            "each name in cross must be the name of another entry of inputs",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "union": ["b"] }])),
            "each name in union must be the name of another entry of inputs",
        ),
        case(
            "Pipeline",
            &inputs(
                json!([{ "name": "a", "glob": "/" }, { "name": "b", "cross": ["a"] }, { "name": "c", "union": ["a"] }]),
            ),
            "an entry of inputs may be a member of one cross or union only",
        ),
        case(
            "Pipeline",
            &inputs(json!([{ "name": "a", "glob": "/" }, { "name": "b", "cross": ["a", "a"] }])),
            "duplicate entries",
        ),
        case("Pipeline", &pipeline_spec(&json!({ "input": "b" })), "input must be the name of an entry of inputs"),
        case("Pipeline", &one(json!({ "name": "a", "cron": "* * * * *" })), "field not declared in schema"),
    ];
    for name in
        ["out", "PATH", "HOME", "LD_PRELOAD", "VARVE_JOB", "PACH_JOB_ID", "KUBERNETES_SERVICE_HOST", "images_COMMIT"]
    {
        cases.push(case("Pipeline", &one(json!({ "name": name, "glob": "/" })), reserved));
    }
    cases
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn pipeline_cases() -> Vec<Case> {
    let container = |more: Value| {
        let mut container = json!({ "image": "i:1" });
        container.as_object_mut().expect("a container").extend(more.as_object().expect("fields").clone());
        pipeline_spec(&json!({ "container": container }))
    };
    let env = |entry: Value| container(json!({ "env": [entry] }));
    let volume = |volume: Value| pipeline_spec(&json!({ "pod": { "volumes": [volume] } }));
    let mount = |path: &str| container(json!({ "volumeMounts": [{ "name": "v", "mountPath": path }] }));
    let datum = |datum: Value| pipeline_spec(&json!({ "datum": datum }));
    let not_ours = "mountPath must begin with /, and may not be /pfs or /.varve or lie in them";
    let one_source =
        "each entry of volumes must have exactly one of configMap, secret, emptyDir and persistentVolumeClaim";
    vec![
        case("Pipeline", &json!({ "inputs": [{ "name": "a", "glob": "/" }] }), "spec.container: Required value"),
        case("Pipeline", &pipeline_spec(&json!({ "container": {} })), "spec.container.image: Required value"),
        case(
            "Pipeline",
            &container(json!({ "command": [] })),
            "spec.container.command in body should have at least 1 items",
        ),
        case("Pipeline", &container(json!({ "workingDir": "app" })), "workingDir must begin with /"),
        case(
            "Pipeline",
            &env(json!({ "name": "VARVE_JOB", "value": "x" })),
            "env may not set VARVE_*, PACH_* or *_COMMIT",
        ),
        case(
            "Pipeline",
            &env(json!({ "name": "a_COMMIT", "value": "x" })),
            "env may not set VARVE_*, PACH_* or *_COMMIT",
        ),
        case(
            "Pipeline",
            &env(json!({ "name": "A", "value": "x", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } })),
            "an entry of env may have value or valueFrom, not both",
        ),
        case(
            "Pipeline",
            &env(json!({ "name": "A", "valueFrom": {} })),
            "valueFrom must have exactly one of configMapKeyRef, secretKeyRef and fieldRef",
        ),
        case(
            "Pipeline",
            &env(json!({ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "x" } } })),
            "field not declared in schema",
        ),
        case(
            "Pipeline",
            &container(json!({ "envFrom": [{}] })),
            "each entry of envFrom must have exactly one of configMapRef and secretRef",
        ),
        case("Pipeline", &container(json!({ "resources": { "limits": { "cpu": "lots" } } })), "should match"),
        case(
            "Pipeline",
            &container(json!({ "resources": { "limits": { "cpu": 0.5 } } })),
            "must be of type integer,string",
        ),
        case(
            "Pipeline",
            &container(json!({ "resources": { "claims": [{ "name": "x" }] } })),
            "field not declared in schema",
        ),
        case("Pipeline", &mount("/pfs"), not_ours),
        case("Pipeline", &mount("/pfs/out"), not_ours),
        case("Pipeline", &mount("/.varve"), not_ours),
        case("Pipeline", &mount("data"), not_ours),
        case(
            "Pipeline",
            &container(json!({ "securityContext": { "runAsUser": 0 } })),
            "should be greater than or equal to 1",
        ),
        case(
            "Pipeline",
            &container(json!({ "securityContext": { "privileged": true } })),
            "field not declared in schema",
        ),
        case("Pipeline", &container(json!({ "lifecycle": {} })), "field not declared in schema"),
        case("Pipeline", &volume(json!({ "name": "v" })), one_source),
        case("Pipeline", &volume(json!({ "name": "v", "emptyDir": {}, "secret": { "secretName": "s" } })), one_source),
        case("Pipeline", &volume(json!({ "name": "v", "hostPath": { "path": "/" } })), "field not declared in schema"),
        case(
            "Pipeline",
            &volume(json!({ "name": "varve", "emptyDir": {} })),
            "the names varve, varve-store and varve-tmp are taken by Varve's own volumes",
        ),
        case("Pipeline", &pipeline_spec(&json!({ "pod": { "hostNetwork": true } })), "field not declared in schema"),
        case(
            "Pipeline",
            &pipeline_spec(&json!({ "pod": { "shareProcessNamespace": true } })),
            "field not declared in schema",
        ),
        case(
            "Pipeline",
            &pipeline_spec(&json!({ "pod": { "terminationGracePeriodSeconds": 1 } })),
            "should be greater than or equal to 5",
        ),
        case(
            "Pipeline",
            &pipeline_spec(&json!({ "parallelism": 0 })),
            "spec.parallelism in body should be greater than or equal to 1",
        ),
        case(
            "Pipeline",
            &pipeline_spec(&json!({ "parallelism": 10_001 })),
            "spec.parallelism in body should be less than or equal to 10000",
        ),
        case(
            "Pipeline",
            &datum(json!({ "tries": 0 })),
            "spec.datum.tries in body should be greater than or equal to 1",
        ),
        case("Pipeline", &datum(json!({ "timeoutSeconds": 0 })), "should be greater than or equal to 1"),
        case("Pipeline", &datum(json!({ "acceptExitCodes": [256] })), "should be less than or equal to 255"),
        case("Pipeline", &datum(json!({ "acceptExitCodes": [3, 3] })), "duplicate entries"),
        case("Pipeline", &datum(json!({ "limit": 0 })), "should be greater than or equal to 1"),
        case("Pipeline", &pipeline_spec(&json!({ "timeoutSeconds": 0 })), "should be greater than or equal to 1"),
        case("Pipeline", &pipeline_spec(&json!({ "output": { "repo": "R" } })), "repo must be the name of an object"),
        case(
            "Pipeline",
            &pipeline_spec(&json!({ "output": { "branch": UUID } })),
            "branch may not have the form of a UUID",
        ),
        case("Pipeline", &pipeline_spec(&json!({ "historyLimit": 0 })), "should be greater than or equal to 1"),
        Case {
            object: object("Pipeline", "a.b", pipeline_spec(&json!({}))),
            message: "metadata.name must be the name of a Pipeline",
        },
    ]
}

fn job_spec() -> Value {
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

fn cases() -> Vec<Case> {
    [repo_cases(), commit_cases(), input_cases(), pipeline_cases(), job_cases()].into_iter().flatten().collect()
}

/// What stands, what is made of it, and the message that must come back.
struct Change {
    before: Value,
    after: Value,
    message: &'static str,
}

fn change(kind: &str, spec: &Value, edit: impl FnOnce(&mut Value), message: &'static str) -> Change {
    let mut after = spec.clone();
    edit(&mut after);
    Change { before: object(kind, "x", spec.clone()), after: object(kind, "x", after), message }
}

fn changes() -> Vec<Change> {
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

/// What the API server answered.
fn answer(result: kube::Result<kube::api::DynamicObject>) -> String {
    match result {
        Ok(object) => format!("accepted: {}", varve_e2e::show(&object)),
        Err(kube::Error::Api(status)) => status.message,
        Err(error) => format!("{error}"),
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_a_message_that_names_the_field() -> Result<()> {
    let space = Space::new("rules").await?;
    let mut wrong = Vec::new();
    for case in cases() {
        let answer = answer(space.try_apply(&case.object).await);
        if !answer.contains(case.message) {
            wrong.push(format!("{}\n  wanted: {}\n  got:    {answer}", short(&case.object), case.message));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn short(object: &Value) -> String {
    object.to_string().chars().take(300).collect()
}

#[tokio::test]
async fn what_may_not_change_does_not() -> Result<()> {
    let space = Space::new("transitions").await?;
    for (i, change) in changes().into_iter().enumerate() {
        let (mut before, mut after) = (change.before, change.after);
        for object in [&mut before, &mut after] {
            object["metadata"]["name"] = format!("x{i}").into();
        }
        space.apply(&before).await?;
        let answer = answer(space.try_apply(&after).await);
        assert!(answer.contains(change.message), "{}\n  wanted: {}\n  got:    {answer}", short(&after), change.message);
    }
    Ok(())
}

#[tokio::test]
async fn what_may_change_of_a_job_does() -> Result<()> {
    let space = Space::new("job").await?;
    let mut spec = job_spec();
    // Held back from the start, so that no operator takes it up.
    spec["suspend"] = true.into();
    space.apply(&object("Job", "j", spec.clone())).await?;
    for field in ["suspend", "cancel"] {
        spec[field] = (spec[field] != true).into();
        space.try_apply(&object("Job", "j", spec.clone())).await?;
    }
    Ok(())
}

/// The messages of the rules of a schema and of all below it.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert(rule["message"].as_str().expect("every rule has a message").into());
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            messages(&schema[key], found);
        }
    }
    for property in schema["properties"].as_object().into_iter().flat_map(|p| p.values()) {
        messages(property, found);
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut rules = BTreeSet::new();
    for crd in varve_api::crds() {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        messages(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut rules);
    }
    let tried: Vec<&str> = cases().iter().map(|c| c.message).chain(changes().iter().map(|c| c.message)).collect();
    // One rule under several names (`name`, `head`, `repo` …) is one rule: the field's name is its first word.
    let is_tried = |rule: &str| {
        let rest = rule.split_once(' ').map_or(rule, |(_, rest)| rest);
        tried
            .iter()
            .any(|message| rule.contains(message) || message.split_once(' ').is_some_and(|(_, m)| rest.starts_with(m)))
    };
    let untried: Vec<&String> = rules.iter().filter(|rule| !is_tried(rule)).collect();
    assert_eq!(untried, Vec::<&String>::new());
}

/// The examples of the documentation, and the corners of what is allowed.
#[tokio::test]
async fn what_is_right_is_accepted() -> Result<()> {
    let space = Space::new("accepted").await?;
    let right = [
        object(
            "Repo",
            "v1.2-data",
            json!({ "description": "d", "branches": [{ "name": "main", "head": "main" }, { "name": "v1.0", "head": UUID }], "historyLimit": 5, "storeRef": { "name": "s" }, "deletionPolicy": "Delete" }),
        ),
        json!({ "apiVersion": varve_api::API_VERSION, "kind": "Repo", "metadata": { "name": "bare" } }),
        object(
            "Commit",
            "v1.2",
            json!({ "repo": "r", "parent": UUID, "changes": [
            { "put": { "path": "/readme.txt", "text": "as they came\n" } },
            { "put": { "path": "/a.png", "url": "https://example.org/a.png" } },
            { "put": { "path": "/2026", "objectStore": { "url": "s3://field/2026/", "secretName": "field" } } },
            { "put": { "path": "/", "objectStore": { "url": "gs://field/" } } },
            { "put": { "path": "/c", "configMap": { "name": "c", "key": "k" } } },
            { "put": { "path": "/", "configMap": { "name": "c" } } },
            { "copy": { "path": "/old.png", "from": { "repo": "archive", "commit": "main", "path": "/x.png" } } },
            { "copy": { "path": "/old", "from": { "path": "/" } } },
            { "delete": { "path": "/scratch/**" } },
        ] }),
        ),
        object(
            "Commit",
            "texts",
            json!({ "repo": "r", "changes": [
            { "put": { "path": "/a", "text": "a".repeat(65_536) } }, { "put": { "path": "/b", "text": "b".repeat(65_536) } },
        ] }),
        ),
        object("Commit", "odd-names", json!({ "repo": "r", "changes": text("/...a/..b/c..d/ é\n\u{1}") })),
        object("Commit", "back", json!({ "repo": "r", "revertTo": "v1.2" })),
        object(
            "Commit",
            "tree",
            json!({ "repo": "r", "tree": { "id": "a".repeat(64), "session": UUID, "root": { "pack": UUID, "offset": 0, "length": 1 } } }),
        ),
        object(
            "Pipeline",
            &"p".repeat(52),
            pipeline_spec(&json!({
                "inputs": [
                    { "name": "by-pair", "cross": ["a", "u"] }, { "name": "a", "repo": "r", "branch": "dev", "glob": "/*", "as": "A_1", "optional": true },
                    { "name": "u", "union": ["b", "c"] }, { "name": "b", "glob": "/" }, { "name": "c", "glob": "/**" },
                ],
                "input": "by-pair",
                "container": {
                    "image": "registry.example:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                    "command": ["python3"], "args": [], "workingDir": "/",
                    "env": [{ "name": "EMPTY" }, { "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
                    "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "c", "optional": true } }],
                    "resources": { "limits": { "nvidia.com/gpu": 1, "cpu": "1500m", "memory": "2Gi" }, "requests": { "cpu": "0.5", "memory": "1e9" } },
                    "volumeMounts": [{ "name": "v", "mountPath": "/data", "readOnly": true }],
                    "securityContext": { "runAsUser": 1000, "runAsGroup": 1000, "readOnlyRootFilesystem": true },
                },
                "pod": {
                    "nodeSelector": { "kubernetes.io/arch": "amd64" },
                    "tolerations": [{ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" }],
                    "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "z", "operator": "In", "values": ["a"] }] }] } } },
                    "priorityClassName": "batch", "serviceAccountName": "runner", "imagePullSecrets": [{ "name": "registry" }],
                    "volumes": [{ "name": "v", "configMap": { "name": "c", "items": [{ "key": "k", "path": "p" }] } }, { "name": "e", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } }],
                    "securityContext": { "fsGroup": 1000, "supplementalGroups": [44] }, "terminationGracePeriodSeconds": 60,
                },
                "parallelism": 4, "datum": { "tries": 1, "timeoutSeconds": 60, "acceptExitCodes": [3, 4], "limit": 100 },
                "timeoutSeconds": 3600, "output": { "repo": "out", "branch": "main" }, "suspend": true, "historyLimit": 3,
            })),
        ),
        object(
            "Pipeline",
            "widest",
            pipeline_spec(&json!({
                "inputs": (0..63).map(|i| json!({ "name": format!("i{i}"), "glob": "/" })).chain([json!({ "name": "all", "cross": (0..63).map(|i| format!("i{i}")).collect::<Vec<_>>() })]).collect::<Vec<_>>(),
            })),
        ),
        object("Job", "p-aaaaaaaaaa", job_spec()),
    ];
    for object in right {
        let answer = answer(space.try_apply(&object).await);
        assert!(answer.starts_with("accepted"), "{}\n  {answer}", short(&object));
    }
    Ok(())
}
