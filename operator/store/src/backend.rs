//! From the keys of a store's Secret to a connection: `url`, optionally `ca.crt`, and any option of `object_store`.
//!
//! The same URLs and option names as `object_store::parse_url_opts`; built by hand, since that function takes neither
//! retry settings nor certificates, and passes over option names that it does not know.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use url::Url;

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
/// Tries of one request after the first; with the back-off below about 6 s in all, so that a reconciler hears of a
/// dead store soon. (The library's default goes on for three minutes.)
const RETRIES: usize = 5;
/// No further try begins after this.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// Which kinds of address are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// `s3://`, `gs://`, `az://`: a cluster's store.
    Buckets,
    /// Also `file://` and `memory://`: one machine's.
    BucketsAndLocal,
}

/// Connects to the store that a Secret's keys describe. Touches no network.
///
/// Returns the backend and the prefix below which the store lies.
pub fn connect(config: &BTreeMap<String, String>, schemes: Schemes) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let text = config.get(URL).map(|text| text.trim()).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| wrong("key `url` is missing: it must be an address like `s3://bucket/prefix`"))?;
    let url = Url::parse(text)
        .map_err(|error| wrong(format!("`url` must be an address like `s3://bucket/prefix`: {error}")))?;
    if !url.username().is_empty() && !matches!(url.scheme(), "az" | "abfs" | "abfss") || url.password().is_some() {
        return Err(wrong("`url` may not hold credentials: they have keys of their own"));
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(&url)
        .map_err(|_| wrong(format!("`url` must begin with `s3://`, `gs://` or `az://`, not `{}://`", url.scheme())))?;
    let options = || {
        config
            .iter()
            .filter(|(key, _)| ![URL, CA_CERTIFICATES, ADOPT].contains(&key.as_str()))
            .map(|(key, value)| (key.as_str(), value.trim()))
    };
    let client = client_options(config.get(CA_CERTIFICATES).map(String::as_str))?;

    macro_rules! bucket {
        ($builder:ty) => {{
            let mut builder = <$builder>::new().with_url(url.as_str()).with_client_options(client).with_retry(retry());
            for (key, value) in options() {
                let known = key.to_ascii_lowercase().parse().map_err(|_| unknown_key(key, url.scheme()))?;
                builder = builder.with_config(known, value);
            }
            Arc::new(builder.build().map_err(|error| wrong(error.to_string()))?) as Arc<dyn ObjectStore>
        }};
    }

    match (scheme, schemes) {
        (ObjectStoreScheme::AmazonS3, _) => Ok((bucket!(AmazonS3Builder), prefix)),
        (ObjectStoreScheme::GoogleCloudStorage, _) => Ok((bucket!(GoogleCloudStorageBuilder), prefix)),
        (ObjectStoreScheme::MicrosoftAzure, _) => Ok((bucket!(MicrosoftAzureBuilder), prefix)),
        (ObjectStoreScheme::Local, Schemes::BucketsAndLocal) => {
            if let Some((key, _)) = options().next() {
                return Err(unknown_key(key, url.scheme()));
            }
            let folder =
                url.to_file_path().map_err(|()| wrong("`url` must be an absolute path like `file:///data`"))?;
            Ok((local(&folder)?, Path::default()))
        }
        (ObjectStoreScheme::Memory, Schemes::BucketsAndLocal) => Ok((memory(&url), prefix)),
        (ObjectStoreScheme::Local | ObjectStoreScheme::Memory, Schemes::Buckets) => Err(wrong(format!(
            "`{}://` is for one machine alone: `url` must begin with `s3://`, `gs://` or `az://`",
            url.scheme()
        ))),
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
    match store.head(&path).await {
        Ok(_) => Ok(()),
        // HEAD answers carry no body, and so no word on what is missing: ask again with a GET.
        Err(object_store::Error::NotFound { .. }) => match store.get(&path).await {
            Ok(_) => Ok(()),
            Err(error) => match Error::backend("look at the store", error) {
                Error::ObjectMissing { .. } => Ok(()),
                error => Err(error),
            },
        },
        Err(error) => Err(Error::backend("look at the store", error)),
    }
}

fn client_options(certificates: Option<&str>) -> Result<ClientOptions> {
    let mut client = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    if let Some(pem) = certificates {
        let bundle = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| wrong(format!("`ca.crt` must hold certificates in PEM: {error}")))?;
        if bundle.is_empty() {
            return Err(wrong("`ca.crt` must hold at least one certificate in PEM"));
        }
        for certificate in bundle {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
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

fn unknown_key(key: &str, scheme: &str) -> Error {
    wrong(format!("key `{key}` is not an option of a `{scheme}://` store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn refusal(pairs: &[(&str, &str)], schemes: Schemes) -> String {
        let error = connect(&config(pairs), schemes).expect_err("this configuration must be refused");
        assert_eq!(error.reason(), "StoreConfigInvalid");
        error.to_string()
    }

    #[test]
    fn a_configuration_that_cannot_be_right_names_the_key() {
        assert!(refusal(&[], Schemes::Buckets).contains("`url` is missing"));
        assert!(refusal(&[("url", "bucket/prefix")], Schemes::Buckets).contains("`url` must be an address"));
        assert!(refusal(&[("url", "https://example.org/x")], Schemes::Buckets).contains("must begin with `s3://`"));
        assert!(refusal(&[("url", "file:///tmp/x")], Schemes::Buckets).contains("one machine alone"));
        assert!(refusal(&[("url", "s3://b/p"), ("acess_key_id", "x")], Schemes::Buckets).contains("`acess_key_id`"));
        assert!(refusal(&[("url", "s3://b/p"), ("ca.crt", "nonsense")], Schemes::Buckets).contains("`ca.crt`"));
        assert!(refusal(&[("url", "s3://key:secret@b/p")], Schemes::Buckets).contains("may not hold credentials"));
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
        let (_, prefix) = connect(&config, Schemes::Buckets).expect("a complete configuration");
        assert_eq!(prefix.as_ref(), "some/prefix");
    }
}
