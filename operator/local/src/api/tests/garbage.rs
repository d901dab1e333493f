//! What follows from a deletion: owners, dependents, namespaces.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{make_map, make_namespace, map, maps, refusal, server};
use crate::api::{Collection, Server, Settings};

fn owner(of: &ConfigMap) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": of.metadata.name,
        "uid": of.metadata.uid,
        "blockOwnerDeletion": true,
    })
}

async fn names(server: &Server) -> Vec<String> {
    let listed = maps(server).list(&ListParams::default()).await.expect("listed");
    listed.items.into_iter().filter_map(|map| map.metadata.name).collect()
}

/// `a` owns `b`, which owns `c`.
async fn family(server: &Server) {
    let a = make_map(server, json!({ "name": "a" })).await;
    let b = make_map(server, json!({ "name": "b", "ownerReferences": [owner(&a)] })).await;
    make_map(server, json!({ "name": "c", "ownerReferences": [owner(&b)] })).await;
}

#[tokio::test]
async fn dependents_go_after_their_owner() {
    for policy in [DeleteParams::background(), DeleteParams::foreground()] {
        let server = server();
        family(&server).await;
        maps(&server).delete("a", &policy).await.expect("deleted");
        assert_eq!(names(&server).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_foreground_deletion_waits_for_dependents() {
    let server = server();
    family(&server).await;
    let hold = Patch::Merge(json!({ "metadata": { "finalizers": ["example.org/hold"] } }));
    maps(&server).patch("c", &PatchParams::default(), &hold).await.expect("patched");
    maps(&server).delete("a", &DeleteParams::foreground()).await.expect("deleted");
    assert_eq!(names(&server).await, ["a", "b", "c"]);
    let release = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps(&server).patch("c", &PatchParams::default(), &release).await.expect("patched");
    assert_eq!(names(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let server = server();
    family(&server).await;
    maps(&server).delete("a", &DeleteParams::orphan()).await.expect("deleted");
    assert_eq!(names(&server).await, ["b", "c"]);
    assert_eq!(maps(&server).get("b").await.expect("found").metadata.owner_references, None);
}

#[tokio::test]
async fn a_dependent_of_two_owners_stays_with_the_other() {
    let server = server();
    let left = make_map(&server, json!({ "name": "left" })).await;
    let right = make_map(&server, json!({ "name": "right" })).await;
    make_map(&server, json!({ "name": "child", "ownerReferences": [owner(&left), owner(&right)] })).await;
    maps(&server).delete("left", &DeleteParams::default()).await.expect("deleted");
    let owners = maps(&server).get("child").await.expect("found").metadata.owner_references.expect("owners");
    assert_eq!(owners.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>(), ["right"]);
}

#[tokio::test]
async fn garbage_waits_for_a_simulation_to_ask() {
    let settings = Settings { collection: Collection::WhenAsked, ..Settings::default() };
    let server = Server::in_memory(settings);
    family(&server).await;
    maps(&server).delete("a", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(names(&server).await, ["b", "c"]);
    server.collect().await.expect("collected");
    assert_eq!(names(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_namespace_takes_its_contents_with_it() {
    let server = server();
    make_namespace(&server, "sea").await;
    let maps: Api<ConfigMap> = Api::namespaced(server.client("default"), "sea");
    let namespaces: Api<Namespace> = Api::all(server.client("default"));
    maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let mut held = map("b", "1");
    held.metadata.finalizers = Some(vec!["example.org/hold".into()]);
    maps.create(&PostParams::default(), &held).await.expect("created");

    namespaces.delete("sea", &DeleteParams::default()).await.expect("deleted");
    let ending = namespaces.get("sea").await.expect("still there").status.expect("a status");
    assert_eq!(ending.phase.as_deref(), Some("Terminating"));
    let refused = refusal(maps.create(&PostParams::default(), &map("c", "1")).await);
    let words =
        r#"configmaps "c" is forbidden: unable to create new content in namespace sea because it is being terminated"#;
    assert_eq!(refused, (403, "Forbidden".into(), words.into()));

    let release = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("b", &PatchParams::default(), &release).await.expect("patched");
    assert_eq!(namespaces.get_opt("sea").await.expect("asked"), None);
    let refused = refusal(maps.create(&PostParams::default(), &map("c", "1")).await);
    assert_eq!(refused, (404, "NotFound".into(), r#"namespaces "sea" not found"#.into()));
}
