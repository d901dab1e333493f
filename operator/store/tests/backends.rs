//! What is wrong with a store's address, credentials or state is told apart, and requests go out as the options say: on
//! the bucket that the environment names, and on loopback everywhere.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use varve_store::backend::{self, Allowed};
use varve_store::{Error, Store};

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The configuration of the bucket that the environment names, and the scheme of its address.
fn bucket() -> (BTreeMap<String, String>, String) {
    let option =
        |(key, value): (String, String)| Some((key.strip_prefix("VARVE_TEST_STORE_")?.to_ascii_lowercase(), value));
    let config: BTreeMap<String, String> = std::env::vars().filter_map(option).collect();
    let scheme = config.get("url").and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme.to_owned());
    let scheme = scheme.filter(|scheme| ["s3", "az", "gs"].contains(&scheme.as_str()));
    (config, scheme.expect("VARVE_TEST_STORE_URL must name a bucket: s3://…, az://… or gs://…"))
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
fn server(answer: impl Into<String>) -> (String, Receiver<String>) {
    let (address, heads) = listen(answer.into(), Some);
    (format!("http://{address}"), heads)
}

/// The same behind whatever `wrap` makes of a connection.
fn listen<S: Read + Write>(
    answer: String,
    wrap: impl Fn(TcpStream) -> Option<S> + Send + 'static,
) -> (SocketAddr, Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    let (heads, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(mut stream) = wrap(stream.expect("a connection")) else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            // A client that does not trust us says nothing.
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
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

/// An answer of S3's kind.
fn refusal(status: &str, code: &str) -> String {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as it is</Message><Key>v1/store.json</Key></Error>"
    );
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_store_s_answers_are_told_apart_by_what_can_be_done() {
    let cases = [
        ("503 Slow Down", "SlowDown", "StoreThrottled", true),
        ("429 Too Many Requests", "Anything", "StoreThrottled", true),
        ("503 Service Unavailable", "ServiceUnavailable", "StoreError", true),
        ("507 Insufficient Storage", "XMinioStorageFull", "StoreFull", true),
        ("507 Insufficient Storage", "Anything", "StoreFull", true),
        ("403 Forbidden", "QuotaExceeded", "StoreFull", true),
        ("403 Forbidden", "RequestTimeTooSkewed", "StoreClockSkewed", true),
        ("403 Forbidden", "InvalidAccessKeyId", "StoreUnauthorized", false),
        ("400 Bad Request", "ExpiredToken", "StoreUnauthorized", false),
    ];
    // At once, since those that may pass are tried again for some seconds.
    let opened = cases.map(|(status, code, reason, is_retryable)| async move {
        let (address, _seen) = server(refusal(status, code));
        let (mut config, credentials) = kinds(&address)[0].clone();
        config.extend(credentials);
        let error = opening(&config).await.expect_err(code);
        assert_eq!((error.reason(), error.is_retryable()), (reason, is_retryable), "{status}: {error}");
        assert!(error.is_about_the_store() && error.to_string().contains(code), "{error}");
    });
    futures::future::join_all(opened).await;
}

#[tokio::test]
async fn a_bucket_stands_in_the_path_or_in_the_host_and_a_session_s_token_beside_the_signature() {
    for (is_virtual, path) in [("false", "get /bucket/p/v1/store.json "), ("true", "get /p/v1/store.json ")] {
        let (address, seen) = server(NOT_FOUND);
        let (mut config, credentials) = kinds(&address)[0].clone();
        config.extend(credentials);
        config.insert("aws_virtual_hosted_style_request".to_owned(), is_virtual.to_owned());
        config.insert("aws_session_token".to_owned(), "of-this-hour".to_owned());
        let (store, prefix) = backend::connect(&config, Allowed::default()).expect("a configuration");
        backend::probe(&store, &prefix).await.expect("an object that need not be there");
        let head = seen.try_recv().expect("a request");
        assert!(head.starts_with(path), "{head}");
        assert!(head.contains(&format!("\r\nhost: {}\r\n", address.trim_start_matches("http://"))), "{head}");
        assert!(head.contains("\r\nx-amz-security-token: of-this-hour\r\n"), "{head}");
        assert!(head.contains("x-amz-security-token, signature=") || head.contains("x-amz-security-token;"), "{head}");
    }
}

/// An authority of nobody's and a certificate of 127.0.0.1's that it signed: the authority's PEM, and a server's
/// settings with the certificate.
fn private_authority(folder: &Path) -> (String, Arc<ServerConfig>) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(folder).output().expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt"));
    openssl(&format!("req {key} -subj /CN=store -keyout store.key -out store.csr"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    openssl("x509 -req -in store.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out store.crt");

    let certificate = CertificateDer::from_pem_file(folder.join("store.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("store.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![certificate], key);
    let authority = std::fs::read_to_string(folder.join("ca.crt")).expect("the authority's certificate");
    (authority, Arc::new(config.expect("a certificate and its key")))
}

#[tokio::test]
async fn a_store_behind_a_private_authority_is_trusted_by_its_certificate_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, tls) = private_authority(folder.path());
    let (another, _) = private_authority(tempfile::tempdir().expect("a folder").path());
    let (address, seen) = listen(NOT_FOUND.to_owned(), move |stream| {
        Some(StreamOwned::new(ServerConnection::new(tls.clone()).ok()?, stream))
    });
    for kind in 0..3 {
        let (mut config, credentials) = kinds(&format!("https://{address}"))[kind].clone();
        config.extend(credentials);
        config.remove("allow_http");
        config.insert("ca.crt".to_owned(), authority.clone());
        let (store, prefix) = backend::connect(&config, Allowed::default()).expect("a configuration");
        backend::probe(&store, &prefix).await.expect("a server that we trust");
        assert!(seen.try_iter().any(|head| head.starts_with("get /bucket/p")));
    }
    let refused = [None, Some(another)].map(|certificate| async {
        let (mut config, credentials) = kinds(&format!("https://{address}"))[0].clone();
        config.extend(credentials);
        config.extend(certificate.map(|certificate| ("ca.crt".to_owned(), certificate)));
        let error = opening(&config).await.expect_err("a certificate of an authority that nobody named");
        assert_eq!(error.reason(), "StoreUnreachable", "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    });
    futures::future::join_all(refused).await;
}

#[tokio::test]
#[ignore = "needs a bucket, named by VARVE_TEST_STORE_URL"]
async fn a_missing_bucket_is_told_from_a_missing_object() {
    let (mut config, scheme) = bucket();
    config.insert("url".to_owned(), format!("{scheme}://there-is-no-such-bucket/prefix"));
    let error = opening(&config).await.expect_err("no such bucket");
    assert!(matches!(error, Error::BucketNotFound { .. }), "{error:?}");
    let (store, prefix) = backend::connect(&config, Allowed::default()).expect("a configuration");
    let error = backend::probe(&store, &prefix).await.expect_err("no such bucket");
    assert_eq!(error.reason(), "StoreBucketMissing", "{error}");
}

#[tokio::test]
#[ignore = "needs a bucket, named by VARVE_TEST_STORE_URL"]
async fn a_bucket_that_refuses_credentials_is_told_from_an_unreachable_one() {
    let (mut config, scheme) = bucket();
    let (theirs, key, wrong) = match scheme.as_str() {
        "s3" => ("secret_access_key", "aws_secret_access_key", "wrong"),
        "az" => ("_key", "azure_storage_account_key", "d3Jvbmc="),
        _ => ("service_account", "google_bearer_token", "wrong"),
    };
    config.retain(|key, _| !key.contains(theirs));
    config.insert(key.to_owned(), wrong.to_owned());
    let error = opening(&config).await.expect_err("wrong credentials");
    assert_eq!((error.reason(), error.is_retryable()), ("StoreUnauthorized", false), "{error}");
    assert!(error.is_about_the_store());
}
