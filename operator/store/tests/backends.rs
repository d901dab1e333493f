//! What is wrong with a store's address or credentials is told apart, on a real S3 server where the environment names
//! one, and on loopback everywhere.

mod support;

use std::collections::BTreeMap;

use varve_store::backend::{self, Schemes};
use varve_store::{Error, Store};

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The configuration of the bucket that the environment names, if it is one of S3's kind.
fn bucket() -> Option<BTreeMap<String, String>> {
    let option =
        |(key, value): (String, String)| Some((key.strip_prefix("VARVE_TEST_STORE_")?.to_ascii_lowercase(), value));
    let config: BTreeMap<String, String> = std::env::vars().filter_map(option).collect();
    config.get("url").is_some_and(|url| url.starts_with("s3://")).then_some(config)
}

async fn opening(config: &BTreeMap<String, String>) -> varve_store::Result<Store> {
    let (store, prefix) = backend::connect(config, Schemes::Buckets)?;
    Store::open(store, prefix).await
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unreachable() {
    // Bound and dropped: nobody else has it now.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback").port();
    let config = config(&[
        ("url", "s3://bucket/prefix"),
        ("endpoint", &format!("http://127.0.0.1:{port}")),
        ("allow_http", "true"),
        ("access_key_id", "key"),
        ("secret_access_key", "secret"),
        ("region", "here"),
    ]);
    let error = opening(&config).await.expect_err("nobody listens");
    assert_eq!((error.reason(), error.is_retryable()), ("StoreUnreachable", true), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn a_missing_bucket_is_told_from_a_missing_object() {
    let Some(mut config) = bucket() else { return eprintln!("VARVE_TEST_STORE_URL is no bucket: not run") };
    config.insert("url".to_owned(), "s3://there-is-no-such-bucket/prefix".to_owned());
    let error = opening(&config).await.expect_err("no such bucket");
    assert!(matches!(error, Error::BucketNotFound { .. }), "{error:?}");
    let (store, prefix) = backend::connect(&config, Schemes::Buckets).expect("a configuration");
    let error = backend::probe(&store, &prefix).await.expect_err("no such bucket");
    assert_eq!(error.reason(), "StoreBucketMissing", "{error}");
}

#[tokio::test]
async fn refused_credentials_are_told_from_an_unreachable_store() {
    let Some(mut config) = bucket() else { return eprintln!("VARVE_TEST_STORE_URL is no bucket: not run") };
    config.retain(|key, _| !key.contains("secret_access_key"));
    config.insert("aws_secret_access_key".to_owned(), "wrong".to_owned());
    let error = opening(&config).await.expect_err("wrong credentials");
    assert_eq!((error.reason(), error.is_retryable()), ("StoreUnauthorized", false), "{error}");
    assert!(error.is_about_the_store());
}
