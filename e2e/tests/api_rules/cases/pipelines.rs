//! The rules of Pipelines, each broken once.

use serde_json::{Value, json};

use super::{Case, UUID, case, object};

pub(super) fn pipeline_spec(more: &Value) -> Value {
    let mut spec = json!({ "inputs": [{ "name": "a", "glob": "/*" }], "container": { "image": "i:1" } });
    spec.as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
    spec
}

pub(super) fn input_cases() -> Vec<Case> {
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
    for name in ["IFS", "ENV", "BASH_ENV", "PYTHONSTARTUP", "PERL5OPT", "RUBYLIB", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS"]
    {
        let told = "name may not be IFS, ENV, PS4,";
        cases.push(case("Pipeline", &one(json!({ "name": name, "glob": "/" })), told));
    }
    let mounted = one(json!({ "name": "a", "as": "BASH_ENV", "glob": "/" }));
    cases.push(case("Pipeline", &mounted, "as may not be IFS, ENV, PS4,"));
    cases
}

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn pipeline_cases() -> Vec<Case> {
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
            &container(json!({ "securityContext": { "runAsUser": -1 } })),
            "should be greater than or equal to 0",
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
