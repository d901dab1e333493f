//! Objects: made, read, changed, watched, deleted.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::api::{Server, Settings};

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "key": value } })).expect("a ConfigMap")
}

fn maps() -> Api<ConfigMap> {
    Api::default_namespaced(Server::in_memory(Settings::default()).client("default"))
}

#[tokio::test]
async fn what_was_made_is_read_again() {
    let maps = maps();
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    assert_eq!(maps.get("a").await.expect("found"), made);
    assert_eq!(maps.list(&ListParams::default()).await.expect("listed").items, [made]);
}

#[tokio::test]
async fn a_watch_sees_what_happens_in_order() {
    let maps = maps();
    let start = maps.list(&ListParams::default()).await.expect("listed").metadata.resource_version.expect("a version");
    let events = maps.watch(&WatchParams::default(), &start).await.expect("watched");
    maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let patch = Patch::Merge(json!({ "data": { "key": "2" } }));
    maps.patch("a", &PatchParams::default(), &patch).await.expect("patched");
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    let seen: Vec<_> = events.take(3).try_collect().await.expect("events");
    let kinds: Vec<_> = seen
        .iter()
        .map(|event| match event {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => "other",
        })
        .collect();
    assert_eq!(kinds, ["added", "modified", "deleted"]);
}
