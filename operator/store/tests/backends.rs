//! What is wrong with a store's address or credentials is told apart, on a real S3 server where the environment names
//! one, and on loopback everywhere.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};

use varve_store::backend::{self, Allowed};
use varve_store::{Error, Store};

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The configuration of the bucket that the environment names: one of S3's kind.
fn bucket() -> BTreeMap<String, String> {
    let option =
        |(key, value): (String, String)| Some((key.strip_prefix("VARVE_TEST_STORE_")?.to_ascii_lowercase(), value));
    let config: BTreeMap<String, String> = std::env::vars().filter_map(option).collect();
    let is_bucket = config.get("url").is_some_and(|url| url.starts_with("s3://"));
    assert!(is_bucket, "VARVE_TEST_STORE_URL must name a bucket, s3://…");
    config
}

async fn opening(config: &BTreeMap<String, String>) -> varve_store::Result<Store> {
    let (store, prefix) = backend::connect(config, Allowed::default())?;
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

/// Answers every request with `answer` and hands on the requests' heads.
fn server(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (heads, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.extend(byte);
            }
            let _ = heads.send(String::from_utf8_lossy(&head).to_lowercase()); // before whoever waits for the answer looks
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, seen)
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How each kind of store is sent to an endpoint, and given credentials that need no second server.
fn kinds(endpoint: &str) -> [(BTreeMap<String, String>, BTreeMap<String, String>); 3] {
    let s3 = [("url", "s3://bucket/p"), ("aws_endpoint", endpoint), ("allow_http", "true")];
    let az =
        [("url", "az://bucket/p"), ("azure_storage_endpoint", endpoint), ("account_name", "a"), ("allow_http", "true")];
    let gs = [("url", "gs://bucket/p"), ("google_base_url", endpoint), ("allow_http", "true")];
    [
        (config(&s3), config(&[("access_key_id", "key"), ("secret_access_key", "secret")])),
        (config(&az), config(&[("account_key", "c2VjcmV0")])),
        (config(&gs), config(&[("bearer_token", "secret")])),
    ]
}

#[tokio::test]
async fn a_request_carries_the_secret_s_credentials_or_none() {
    for kind in 0..3 {
        let (address, seen) = server(NOT_FOUND);
        let (mut config, credentials) = kinds(&address)[kind].clone();
        for (credentials, is_signed) in [(BTreeMap::new(), false), (credentials, true)] {
            config.extend(credentials);
            let (store, prefix) = backend::connect(&config, Allowed::default()).expect("a configuration");
            backend::probe(&store, &prefix).await.expect("an object that need not be there");
            for head in seen.try_iter() {
                assert_eq!(head.contains("\r\nauthorization: "), is_signed, "{head}");
            }
        }
    }
}

#[tokio::test]
async fn no_store_is_asked_at_an_address_where_machines_get_credentials() {
    for (mut config, credentials) in kinds("http://169.254.169.254/latest") {
        config.extend(credentials);
        let error = opening(&config).await.expect_err("a link-local address");
        assert_eq!((error.reason(), error.is_retryable()), ("StoreConfigInvalid", false), "{error}");
        assert!(error.to_string().contains("169.254.169.254: link-local"), "{error}");
    }
    let (address, _) = server(
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
    for (mut config, credentials) in kinds(&address) {
        config.extend(credentials);
        let error = opening(&config).await.expect_err("a redirect to a link-local address");
        assert_eq!(error.reason(), "StoreConfigInvalid", "{error}");
        assert!(error.to_string().contains("redirected to http://169.254.169.254/latest"), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a bucket, named by VARVE_TEST_STORE_URL"]
async fn a_missing_bucket_is_told_from_a_missing_object() {
    let mut config = bucket();
    config.insert("url".to_owned(), "s3://there-is-no-such-bucket/prefix".to_owned());
    let error = opening(&config).await.expect_err("no such bucket");
    assert!(matches!(error, Error::BucketNotFound { .. }), "{error:?}");
    let (store, prefix) = backend::connect(&config, Allowed::default()).expect("a configuration");
    let error = backend::probe(&store, &prefix).await.expect_err("no such bucket");
    assert_eq!(error.reason(), "StoreBucketMissing", "{error}");
}

#[tokio::test]
#[ignore = "needs a bucket, named by VARVE_TEST_STORE_URL"]
async fn refused_credentials_are_told_from_an_unreachable_store() {
    let mut config = bucket();
    config.retain(|key, _| !key.contains("secret_access_key"));
    config.insert("aws_secret_access_key".to_owned(), "wrong".to_owned());
    let error = opening(&config).await.expect_err("wrong credentials");
    assert_eq!((error.reason(), error.is_retryable()), ("StoreUnauthorized", false), "{error}");
    assert!(error.is_about_the_store());
}
