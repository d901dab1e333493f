//! The server on a socket.

use futures::TryStreamExt;
use kube::api::{ListParams, PostParams, WatchParams};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{map, server};

async fn served(token: &str) -> (Client, CancellationToken, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    let task = tokio::spawn(server().serve(listener, "right".into(), stop.clone()));
    let mut config = Config::new(url.parse().expect("a URL"));
    config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    (Client::try_from(config).expect("a client"), stop, task)
}

#[tokio::test]
async fn who_has_the_token_is_served_until_the_end() {
    let (client, stop, task) = served("right").await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.expect("created");
    assert_eq!(maps.list(&ListParams::default()).await.expect("listed").items, [made]);
    let events = maps.watch(&WatchParams::default(), "0").await.expect("watched");
    stop.cancel();
    let seen: Vec<_> = events.try_collect().await.expect("a watch that ends");
    assert_eq!(seen.len(), 1);
    drop(maps);
    task.await.expect("joined").expect("served");
}

#[tokio::test]
async fn who_has_not_is_turned_away() {
    let (client, _stop, _task) = served("wrong").await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, "default");
    assert_eq!(super::refusal(maps.list(&ListParams::default()).await).0, 401);
}
