//! The operator's command line.

use std::net::SocketAddr;

use varve_api::pod;
use varve_store::backend::Allowed;

/// What the person who installs the operator decides.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The image of Varve that pods get their helpers from. Must be pullable in every namespace that runs Pipelines.
    #[arg(long, env = "VARVE_IMAGE")]
    pub image: String,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "VARVE_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,

    /// The namespaces to serve, separated by commas; all of them if empty.
    #[arg(long, env = "VARVE_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// A registry (host or host:port) that is spoken to by plain HTTP. May be given several times.
    #[arg(long = "insecure-registry", env = "VARVE_INSECURE_REGISTRIES", value_delimiter = ',')]
    pub insecure_registries: Vec<String>,

    /// The namespace of the Lease by which replicas elect the one that works.
    #[arg(long, env = "POD_NAMESPACE", default_value = "varve-system")]
    pub lease_namespace: String,

    /// How many objects of one kind are worked on at a time.
    #[arg(long, env = "VARVE_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Lets Secrets name stores on this machine's disk (file://) or in memory. For development.
    #[arg(long, hide = true, env = pod::ENV_ALLOW_LOCAL_STORES)]
    pub allow_local_stores: bool,

    /// Lends the credentials of the machine or pod (workload identity, metadata service, environment) to stores
    /// whose Secret holds none. Whoever may write a Secret in any served namespace can then use them on whatever
    /// bucket they open; without this, such a store is read and written anonymously.
    #[arg(long, env = pod::ENV_ALLOW_MACHINE_CREDENTIALS)]
    pub allow_machine_credentials: bool,
}

impl Args {
    /// What the Secrets of stores may ask for.
    pub fn allowed(&self) -> Allowed {
        Allowed { local_stores: self.allow_local_stores, machine_credentials: self.allow_machine_credentials }
    }
}
