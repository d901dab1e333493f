//! The server on disk: what is there after a restart.

use futures::TryStreamExt;
use kube::api::PostParams;
use kube::api::WatchParams;

use super::{map, maps};
use crate::api::{OpenError, Server, Settings};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let server = Server::open(&path, Settings::default()).expect("opened");
    let made = maps(&server).create(&PostParams::default(), &map("a", "1")).await.expect("created");
    let uid = namespace_uid(&server).await;
    drop(server);
    // The client's task holds the server until it sees that the client is gone.
    let server = reopened(&path).await;
    assert_eq!(maps(&server).get("a").await.expect("found"), made);
    assert_eq!(namespace_uid(&server).await, uid);

    let version = made.metadata.resource_version.expect("a version");
    let events: Vec<_> = maps(&server)
        .watch(&WatchParams::default(), &version)
        .await
        .expect("watched")
        .map_ok(|event| matches!(event, kube::api::WatchEvent::Error(status) if status.code == 410))
        .try_collect()
        .await
        .expect("events");
    assert_eq!(events, [true], "a version of another life is expired");
}

async fn reopened(path: &std::path::Path) -> Server {
    loop {
        match Server::open(path, Settings::default()) {
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            opened => return opened.expect("opened"),
        }
    }
}

async fn namespace_uid(server: &Server) -> Option<String> {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(server.client("default"));
    namespaces.get("default").await.expect("found").metadata.uid
}

#[test]
fn a_file_that_is_in_use_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let _server = Server::open(&path, Settings::default()).expect("opened");
    assert!(matches!(Server::open(&path, Settings::default()), Err(OpenError::InUse { .. })));
}

#[test]
fn a_file_of_a_newer_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let database = redb::Database::create(&path).expect("made");
    let transaction = database.begin_write().expect("begun");
    let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
    transaction.open_table(numbers).expect("a table").insert("format", 2).expect("put");
    transaction.commit().expect("committed");
    drop(database);
    assert!(matches!(Server::open(&path, Settings::default()), Err(OpenError::Newer { found: 2, .. })));
}
