//! From the keys of a store's Secret to a connection: `url`, optionally `ca.crt`, and the allowed [`options`].
//!
//! The same URLs and option names as `object_store::parse_url_opts`; built by hand, since that function takes neither
//! retry settings nor certificates, passes over option names that it does not know, and lets a Secret read our files
//! and spend our machine's credentials. Requests go where [`guard`] lets them.

mod connector;
pub mod guard;
mod options;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use url::Url;

use self::connector::Guarded;
use self::options::Credentials;
use crate::error::{Error, Result};

/// The Secret's key that holds the address.
pub const URL: &str = "url";
/// The Secret's key that holds certificates to trust, PEM.
pub const CA_CERTIFICATES: &str = "ca.crt";
/// The Secret's key that says which store is to be taken over, an [`crate::Adopt`]; read by whoever claims it.
pub const ADOPT: &str = "adopt";

/// A connection that has not come about by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One request with its body: an 8 MiB part at 1 Mbit/s takes 67 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest silence within an answer that may be of any length.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Tries of one request after the first; with the back-off below about 6 s in all, so that a reconciler hears of a
/// dead store soon. (The library's default goes on for three minutes.)
const RETRIES: usize = 5;
/// No further try begins after this.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// What configurations may ask for beyond a bucket with credentials of its own. Decided by who runs the program,
/// never by who wrote the Secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Stores on this machine's disk (`file://`) and in memory (`memory://`): for development.
    pub local_stores: bool,
    /// The credentials of the machine or pod (its environment, workload identity, or metadata service), for buckets
    /// whose configuration holds none. Whoever may write such a Secret then reaches whatever they reach.
    pub machine_credentials: bool,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// So long in all: requests of a store are small.
    Request,
    /// As long as something comes: objects of others are of any size.
    Silence,
}

/// Connects to the store that a Secret's keys describe. Touches no network.
///
/// Returns the backend and the prefix below which the store lies.
pub fn connect(config: &BTreeMap<String, String>, allowed: Allowed) -> Result<(Arc<dyn ObjectStore>, Path)> {
    connect_with(config, allowed, Patience::Request)
}

/// Connects to a bucket to fetch whole objects from, of any size. Whatever is lent to stores is not for this: without
/// credentials of its own the bucket is read without any.
pub fn connect_to_fetch(config: &BTreeMap<String, String>, allowed: Allowed) -> Result<(Arc<dyn ObjectStore>, Path)> {
    connect_with(config, Allowed { machine_credentials: false, ..allowed }, Patience::Silence)
}

fn connect_with(
    config: &BTreeMap<String, String>,
    allowed: Allowed,
    patience: Patience,
) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let text = config.get(URL).map(|text| text.trim()).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| wrong("key `url` is missing: it must be an address like `s3://bucket/prefix`"))?;
    let url = Url::parse(text)
        .map_err(|error| wrong(format!("`url` must be an address like `s3://bucket/prefix`: {error}")))?;
    if !url.username().is_empty() && !matches!(url.scheme(), "az" | "abfs" | "abfss") || url.password().is_some() {
        return Err(wrong("`url` may not hold credentials: they have keys of their own"));
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(&url)
        .map_err(|_| wrong(format!("`url` must begin with `s3://`, `gs://` or `az://`, not `{}://`", url.scheme())))?;
    let options: Vec<_> = config
        .iter()
        .filter(|(key, _)| ![URL, CA_CERTIFICATES, ADOPT].contains(&key.as_str()))
        .map(|(key, value)| (key.as_str(), value.trim()))
        .collect();
    let certificates = config.get(CA_CERTIFICATES).map(String::as_str);

    macro_rules! bucket {
        ($options:path) => {{
            let chosen = $options(url.scheme(), &options, allowed)?;
            let client = client_options(certificates, chosen.allows_http)?;
            let mut builder = chosen.builder.with_url(url.as_str()).with_client_options(client).with_retry(retry());
            // The machine's credentials come from link-local addresses, and go to the provider's own alone.
            if chosen.credentials != Credentials::Machine {
                builder = builder.with_http_connector(guarded(certificates, chosen.allows_http, patience)?);
            }
            Arc::new(builder.build().map_err(|error| wrong(error.to_string()))?) as Arc<dyn ObjectStore>
        }};
    }

    match scheme {
        ObjectStoreScheme::AmazonS3 => Ok((bucket!(options::s3), prefix)),
        ObjectStoreScheme::GoogleCloudStorage => Ok((bucket!(options::google), prefix)),
        ObjectStoreScheme::MicrosoftAzure => Ok((bucket!(options::azure), prefix)),
        ObjectStoreScheme::Local | ObjectStoreScheme::Memory if !allowed.local_stores => Err(wrong(format!(
            "`{}://` is for one machine alone: `url` must begin with `s3://`, `gs://` or `az://`",
            url.scheme()
        ))),
        ObjectStoreScheme::Local => {
            options::none(url.scheme(), &options)?;
            let folder =
                url.to_file_path().map_err(|()| wrong("`url` must be an absolute path like `file:///data`"))?;
            Ok((local(&folder)?, Path::default()))
        }
        ObjectStoreScheme::Memory => Ok((memory(&url), prefix)),
        _ => Err(wrong(format!("`url` must begin with `s3://`, `gs://` or `az://`, not `{}://`", url.scheme()))),
    }
}

/// A folder as a store, created if absent. Synced to the disk before a write counts as done.
pub fn local(folder: &std::path::Path) -> Result<Arc<dyn ObjectStore>> {
    let folder: PathBuf = folder.to_owned();
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::io(format!("create folder {}", folder.display()), error))?;
    let local = LocalFileSystem::new_with_prefix(&folder)
        .map_err(|error| Error::backend(&format!("open folder {}", folder.display()), error))?;
    Ok(Arc::new(local.with_fsync(true)))
}

/// One store in memory per address and process, so that two connections to it see the same.
fn memory(url: &Url) -> Arc<dyn ObjectStore> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    stores.entry(url.to_string()).or_default().clone()
}

/// Asks the backend for an object that need not be there: tells a missing bucket, refused credentials and an
/// unreachable address apart before anything depends on them.
pub async fn probe(store: &Arc<dyn ObjectStore>, prefix: &Path) -> Result<()> {
    let path = prefix.clone().join("v1").join("store.json");
    // No HEAD: its answer has no body, and so no word on what is missing or why it is refused.
    match store.get(&path).await.map_err(|error| Error::backend("look at the store", error)) {
        Ok(_) | Err(Error::ObjectMissing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn client_options(certificates: Option<&str>, allows_http: bool) -> Result<ClientOptions> {
    let client = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    let bundle = certificates.map_or(Ok(Vec::new()), |pem| bundle(Certificate::from_pem_bundle(pem.as_bytes())))?;
    Ok(bundle.into_iter().fold(client.with_allow_http(allows_http), ClientOptions::with_root_certificate))
}

fn guarded(certificates: Option<&str>, allows_http: bool, patience: Patience) -> Result<Guarded> {
    let bundle =
        certificates.map_or(Ok(Vec::new()), |pem| bundle(reqwest::Certificate::from_pem_bundle(pem.as_bytes())))?;
    Ok(Guarded { certificates: bundle, allows_http, patience })
}

/// The certificates of `ca.crt`: at least one.
fn bundle<C, E: std::fmt::Display>(read: std::result::Result<Vec<C>, E>) -> Result<Vec<C>> {
    let bundle = read.map_err(|error| wrong(format!("`ca.crt` must hold certificates in PEM: {error}")))?;
    if bundle.is_empty() {
        return Err(wrong("`ca.crt` must hold at least one certificate in PEM"));
    }
    Ok(bundle)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::Config { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn refusal(pairs: &[(&str, &str)], allowed: Allowed) -> String {
        let error = connect(&config(pairs), allowed).expect_err("this configuration must be refused");
        assert_eq!(error.reason(), "StoreConfigInvalid");
        error.to_string()
    }

    #[test]
    fn a_configuration_that_cannot_be_right_names_the_key() {
        assert!(refusal(&[], Allowed::default()).contains("`url` is missing"));
        assert!(refusal(&[("url", "bucket/prefix")], Allowed::default()).contains("`url` must be an address"));
        assert!(refusal(&[("url", "https://example.org/x")], Allowed::default()).contains("must begin with `s3://`"));
        assert!(refusal(&[("url", "file:///tmp/x")], Allowed::default()).contains("one machine alone"));
        assert!(refusal(&[("url", "s3://b/p"), ("acess_key_id", "x")], Allowed::default()).contains("`acess_key_id`"));
        assert!(refusal(&[("url", "s3://b/p"), ("ca.crt", "nonsense")], Allowed::default()).contains("`ca.crt`"));
        assert!(refusal(&[("url", "s3://key:secret@b/p")], Allowed::default()).contains("may not hold credentials"));
    }

    #[test]
    fn a_bucket_s_prefix_is_what_follows_its_name() {
        let config = config(&[
            ("url", "s3://bucket/some/prefix"),
            ("aws_access_key_id", "a"),
            ("aws_secret_access_key", "b"),
            ("aws_region", "here"),
            ("allow_http", "true"),
            ("adopt", "0190a000-0000-7000-8000-000000000000"),
        ]);
        let (_, prefix) = connect(&config, Allowed::default()).expect("a complete configuration");
        assert_eq!(prefix.as_ref(), "some/prefix");
    }
}
