//! Clients to the API server, apart, so that none can starve another.
//!
//! Watches hold their connections open for minutes; writes queue behind a slow server; the lease must
//! be renewed in time whatever the others do, and has a client on a thread of its own ([`crate::lease`]). Kube's defaults have no read time-out and retries that
//! may hold one call for five minutes; these have both bounded.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

use crate::clock::ServersTime;
use crate::error::{Error, Result};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence while a write or a read waits for its answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence on a watch: the server ends each after 290 s, which is the watcher's default.
const WATCH_TIMEOUT: Duration = Duration::from_secs(320);
/// Longest wait for the lease: well under the renew deadline, so that a second try fits.
const LEASE_TIMEOUT: Duration = Duration::from_secs(4);

/// The clients of the controllers.
#[derive(Clone)]
pub struct Clients {
    /// For lists and watches.
    pub watch: Client,
    /// For single reads and all writes.
    pub write: Client,
}

impl Clients {
    /// Clients for one configuration, whose answers tell the time.
    pub(crate) fn from_config(config: &Config, time: &ServersTime) -> Result<Self> {
        let client = |timeout| {
            let builder = ClientBuilder::try_from(patient(config, timeout)).map_err(Error::api("set up a client"))?;
            Ok::<_, Error>(builder.with_layer(&time.layer()).build())
        };
        Ok(Self { watch: client(WATCH_TIMEOUT)?, write: client(READ_TIMEOUT)? })
    }
}

/// Where the API server is: from the kubeconfig, or from the pod's service account.
pub async fn infer() -> Result<Config> {
    Config::infer().await.map_err(kube::Error::InferConfig).map_err(Error::api("find the API server"))
}

/// A client for the lease alone. It belongs to the runtime that it is made on.
pub(crate) fn lease(config: &Config) -> Result<Client> {
    Client::try_from(patient(config, LEASE_TIMEOUT)).map_err(Error::api("set up a client"))
}

/// The same configuration with waits of ours.
fn patient(config: &Config, read_timeout: Duration) -> Config {
    let mut config = config.clone();
    config.connect_timeout = Some(CONNECT_TIMEOUT.min(read_timeout));
    config.read_timeout = Some(read_timeout);
    config.write_timeout = Some(read_timeout);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
}
