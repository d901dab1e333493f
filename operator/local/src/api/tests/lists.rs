//! Lists: pages, selections, versions.

use kube::api::{DeleteParams, ListParams, VersionMatch};
use serde_json::json;

use super::{make_map, maps, refusal, server};

#[tokio::test]
async fn all_pages_of_a_list_tell_of_one_version() {
    let server = server();
    for name in ["a", "b", "c"] {
        make_map(&server, json!({ "name": name })).await;
    }
    let first = maps(&server).list(&ListParams::default().limit(2)).await.expect("listed");
    maps(&server).delete("c", &DeleteParams::default()).await.expect("deleted");
    make_map(&server, json!({ "name": "d" })).await;
    let token = first.metadata.continue_.clone().expect("more");
    let rest = maps(&server).list(&ListParams::default().limit(2).continue_token(&token)).await.expect("listed");
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
    let names: Vec<_> = first.items.into_iter().chain(rest.items).filter_map(|map| map.metadata.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_selection_by_labels_and_name() {
    let server = server();
    make_map(&server, json!({ "name": "a", "labels": { "side": "left" } })).await;
    make_map(&server, json!({ "name": "b", "labels": { "side": "right" } })).await;
    for params in [
        ListParams::default().labels("side notin (left)"),
        ListParams::default().fields("metadata.name=b"),
        ListParams::default().labels("side").fields("metadata.name!=a"),
    ] {
        let found = maps(&server).list(&params).await.expect("listed").items;
        assert_eq!(found.iter().filter_map(|map| map.metadata.name.as_deref()).collect::<Vec<_>>(), ["b"]);
    }
}

#[tokio::test]
async fn a_collection_is_deleted_by_selection() {
    let server = server();
    make_map(&server, json!({ "name": "a", "labels": { "side": "left" } })).await;
    make_map(&server, json!({ "name": "b" })).await;
    let left = ListParams::default().labels("side=left");
    maps(&server).delete_collection(&DeleteParams::default(), &left).await.expect("deleted");
    let rest = maps(&server).list(&ListParams::default()).await.expect("listed").items;
    assert_eq!(rest.iter().filter_map(|map| map.metadata.name.as_deref()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_version_that_is_not_yet_is_refused() {
    let params = ListParams::default().at("999").matching(VersionMatch::NotOlderThan);
    let refused = refusal(maps(&server()).list(&params).await);
    assert_eq!(refused, (504, "Timeout".into(), "Timeout: Too large resource version: 999, current: 3".into()));
}
