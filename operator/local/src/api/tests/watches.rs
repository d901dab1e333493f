//! Watches: what they show, where they start, when they end.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, InitialListStrategy, watcher};
use serde_json::json;

use super::{make_map, map, maps, server};

/// `added a`, `deleted b`.
fn said(event: &WatchEvent<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(map) => format!("added {}", name(map)),
        WatchEvent::Modified(map) => format!("modified {}", name(map)),
        WatchEvent::Deleted(map) => format!("deleted {}", name(map)),
        WatchEvent::Bookmark(bookmark) => format!("bookmark {}", bookmark.metadata.resource_version),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.message),
    }
}

#[tokio::test]
async fn a_watch_sees_what_happens_in_order() {
    let maps = maps(&server());
    let events = maps.watch(&WatchParams::default(), "3").await.expect("watched");
    maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let patch = Patch::Merge(json!({ "data": { "key": "2" } }));
    maps.patch("a", &PatchParams::default(), &patch).await.expect("patched");
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    let seen: Vec<_> = events.map_ok(|event| said(&event)).take(3).try_collect().await.expect("events");
    assert_eq!(seen, ["added a", "modified a", "deleted a"]);
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_to_the_watcher() {
    let server = server();
    make_map(&server, json!({ "name": "a", "labels": { "side": "left" } })).await;
    let params = WatchParams::default().labels("side=left");
    let events = maps(&server).watch(&params, "0").await.expect("watched");
    for side in ["right", "left"] {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "side": side } } }));
        maps(&server).patch("a", &PatchParams::default(), &patch).await.expect("patched");
    }
    let seen: Vec<_> = events.map_ok(|event| said(&event)).take(3).try_collect().await.expect("events");
    assert_eq!(seen, ["added a", "deleted a", "added a"]);
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_expired() {
    let server = server();
    let events = maps(&server).watch(&WatchParams::default(), "3").await.expect("watched");
    make_map(&server, json!({ "name": "a" })).await;
    for value in 0..5000 {
        let patch = Patch::Merge(json!({ "data": { "key": value.to_string() } }));
        maps(&server).patch("a", &PatchParams::default(), &patch).await.expect("patched");
    }
    let seen: Vec<_> = events.map_ok(|event| said(&event)).try_collect().await.expect("events");
    assert_eq!(seen, ["error 410 too old resource version: 3 (908)"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_until_its_time_is_over() {
    let server = server();
    let params = WatchParams::default().timeout(150);
    let events = maps(&server).watch(&params, "3").await.expect("watched");
    let seen: Vec<_> = events.map_ok(|event| said(&event)).try_collect().await.expect("events");
    assert_eq!(seen, ["bookmark 3", "bookmark 3"]);
}

#[tokio::test]
async fn kubes_watcher_starts_by_list_and_by_stream_alike() {
    for strategy in [InitialListStrategy::ListWatch, InitialListStrategy::StreamingList] {
        let config = watcher::Config { initial_list_strategy: strategy, ..watcher::Config::default() };
        let server = server();
        make_map(&server, json!({ "name": "a" })).await;
        let mut applied = watcher(maps(&server), config).applied_objects().boxed();
        let first = applied.try_next().await.expect("no failure").expect("an object");
        make_map(&server, json!({ "name": "b" })).await;
        let second = applied.try_next().await.expect("no failure").expect("an object");
        let names = [first, second].map(|map| map.metadata.name.unwrap_or_default());
        assert_eq!(names, ["a", "b"]);
    }
}

#[tokio::test]
async fn kubes_metadata_watcher_sees_metadata_alone() {
    let server = server();
    make_map(&server, json!({ "name": "a", "labels": { "side": "left" } })).await;
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(server.client("default"));
    let mut applied = watcher(metadata, watcher::Config::default()).applied_objects().boxed();
    let seen = applied.try_next().await.expect("no failure").expect("an object");
    assert_eq!(seen.metadata.labels.expect("labels")["side"], "left");
}
