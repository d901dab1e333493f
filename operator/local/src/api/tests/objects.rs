//! Objects: made, read, changed, deleted.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use super::{make_map, make_pod, map, maps, refusal, server};

#[tokio::test]
async fn what_was_made_is_read_again() {
    let maps = maps(&server());
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    assert_eq!(maps.get("a").await.expect("found"), made);
    assert_eq!(maps.list(&ListParams::default()).await.expect("listed").items, [made]);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_uids() {
    let one = make_map(&server(), json!({ "generateName": "map-" })).await;
    let other = make_map(&server(), json!({ "generateName": "map-" })).await;
    assert_eq!(one, other);
    assert_eq!(one.metadata.name.expect("a name").len(), "map-".len() + 5);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused() {
    let server = server();
    make_map(&server, json!({ "name": "a" })).await;
    let refused = refusal(maps(&server).create(&PostParams::default(), &map("a", "1")).await);
    assert_eq!(refused, (409, "AlreadyExists".into(), r#"configmaps "a" already exists"#.into()));
}

#[tokio::test]
async fn an_update_of_an_old_version_is_a_conflict() {
    let server = server();
    let old = make_map(&server, json!({ "name": "a" })).await;
    let patch = Patch::Merge(json!({ "data": { "key": "2" } }));
    maps(&server).patch("a", &PatchParams::default(), &patch).await.expect("patched");
    let (code, reason, message) = refusal(maps(&server).replace("a", &PostParams::default(), &old).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
}

#[tokio::test]
async fn a_json_patch_whose_test_fails_changes_nothing() {
    let server = server();
    let before = maps(&server).create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let patch = json!([
        { "op": "test", "path": "/data/key", "value": "2" },
        { "op": "replace", "path": "/data/key", "value": "3" },
    ]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).expect("a patch"));
    let refused = refusal(maps(&server).patch("a", &PatchParams::default(), &patch).await);
    assert_eq!((refused.0, refused.1.as_str()), (422, "Invalid"));
    assert_eq!(maps(&server).get("a").await.expect("found"), before);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_makes_no_version() {
    let server = server();
    let before = maps(&server).create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let patch = Patch::Merge(json!({ "data": { "key": "1" } }));
    assert_eq!(maps(&server).patch("a", &PatchParams::default(), &patch).await.expect("patched"), before);
}

#[tokio::test]
async fn a_dry_run_keeps_nothing() {
    let server = server();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let shown = maps(&server).create(&dry, &map("a", "1")).await.expect("shown");
    assert!(shown.metadata.uid.is_some() && shown.metadata.resource_version.is_none());
    assert_eq!(maps(&server).get_opt("a").await.expect("asked"), None);
}

#[tokio::test]
async fn an_object_with_a_finalizer_goes_when_the_finalizer_does() {
    let server = server();
    make_map(&server, json!({ "name": "a", "finalizers": ["example.org/hold"] })).await;
    let maps = maps(&server);
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(maps.get("a").await.expect("still there").metadata.deletion_timestamp.is_some());
    let add = Patch::Merge(json!({ "metadata": { "finalizers": ["example.org/hold", "example.org/more"] } }));
    assert_eq!(refusal(maps.patch("a", &PatchParams::default(), &add).await).0, 422);
    let release = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("a", &PatchParams::default(), &release).await.expect("patched");
    assert_eq!(maps.get_opt("a").await.expect("asked"), None);
}

#[tokio::test]
async fn a_deletion_that_means_another_object_is_refused() {
    let server = server();
    make_map(&server, json!({ "name": "a" })).await;
    let preconditions = Preconditions { uid: Some("other".into()), resource_version: None };
    let other = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    assert_eq!(refusal(maps(&server).delete("a", &other).await).0, 409);
}

#[tokio::test]
async fn texts_of_a_secret_become_data() {
    let secrets: Api<Secret> = Api::default_namespaced(server().client("default"));
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "url": "s3://x" }, "immutable": true });
    let made = secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await;
    let made = serde_json::to_value(made.expect("created")).expect("JSON");
    assert_eq!((&made["data"], &made["type"]), (&json!({ "url": "czM6Ly94" }), &json!("Opaque")));
    let patch = Patch::Merge(json!({ "stringData": { "url": "s3://y" } }));
    let (code, _, message) = refusal(secrets.patch("s", &PatchParams::default(), &patch).await);
    assert_eq!(code, 422);
    assert_eq!(message, r#"Secret "s" is invalid: data: Forbidden: field is immutable when `immutable` is set"#);
}

#[tokio::test]
async fn a_pod_that_runs_has_time_to_end() {
    let server = server();
    make_pod(&server, "free", None).await;
    make_pod(&server, "bound", Some("laptop")).await;
    let pods: Api<Pod> = Api::default_namespaced(server.client("default"));
    for name in ["free", "bound"] {
        pods.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
    assert_eq!(pods.get_opt("free").await.expect("asked"), None);
    let ending = pods.get("bound").await.expect("still there").metadata;
    assert_eq!(ending.deletion_grace_period_seconds, Some(30));
    pods.delete("bound", &DeleteParams::default().grace_period(0)).await.expect("deleted");
    assert_eq!(pods.get_opt("bound").await.expect("asked"), None);
}
