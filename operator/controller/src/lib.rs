//! The operator: kube-runtime wiring that observes, lets the engine decide, acts, and writes status.
//!
//! Every replica keeps its caches warm ([`cache`]); the one that holds the lease ([`lease`]) runs the
//! controllers of the four kinds ([`repo`], [`commit`], [`pipeline`], [`job`]) on [`runner`]. All writes to
//! the API server go through [`act`], all statuses through [`status`], all heads through [`heads`].
//! Whoever embeds [`run`] sets up the tracing subscriber (JSON) and nothing else.

pub mod act;
pub mod args;
pub mod cache;
pub mod clients;
mod clock;
pub mod commit;
pub mod cx;
pub mod error;
mod events;
pub mod heads;
pub mod http;
pub mod image;
pub mod job;
pub mod lease;
mod memory;
mod metered;
pub mod metrics;
pub mod pipeline;
mod pods;
mod references;
pub mod repo;
mod restarts;
pub mod runner;
pub mod status;
pub mod stores;
mod turns;

use std::{future::Future, sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use varve_store::SystemEnvironment;

pub use args::Args;
pub use cx::{Cx, Outside, Settings};
pub use error::{Error, Result};

use crate::{
    act::{FaultHook, NoFaults},
    cache::{Caches, Scope},
    clients::Clients,
    cx::World,
    metrics::Metrics,
};

/// How long what is in flight may take to end after a stop. Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the operator until SIGTERM or SIGINT; then finishes what is in flight and gives the lease back.
pub async fn run(args: Args) -> Result<()> {
    let stop = CancellationToken::new();
    let signals = stop.clone();
    let listener = tokio::spawn(async move {
        if let Err(error) = signalled().await {
            tracing::error!(%error, "cannot listen for signals");
        }
        signals.cancel();
    });
    let done = run_until(args, Arc::new(NoFaults), stop).await;
    listener.abort();
    done
}

/// Waits until this process is asked to stop: by SIGTERM, or by SIGINT.
pub async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
    Ok(())
}

/// Controllers in somebody else's process, over an API server that may be in it too.
pub struct Embedded {
    /// To the API server. Its time-outs are its owner's.
    pub client: kube::Client,
    /// Settings.
    pub settings: Settings,
    /// Clock and buckets.
    pub outside: Outside,
    /// Fails calls on purpose, in tests.
    pub faults: Arc<dyn FaultHook>,
    /// Whether these lead; always, where nobody else's work on the same API server.
    pub leading: act::Leading,
}

impl Embedded {
    /// Runs the controllers until `stop`, without pages.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let clients = Clients { watch: self.client.clone(), write: self.client };
        let cluster = cluster(&clients).await?;
        let metrics = Arc::new(Metrics::new());
        let world = World {
            cluster,
            restarts_in_place: false, // by no runner that stands in for Kubernetes
            leading: self.leading.clone(),
            faults: self.faults,
            metrics: metrics.clone(),
            memory: varve_store::Caches::default(),
            outside: self.outside,
        };
        let (caches, fill) = Caches::new(&clients.watch, &Scope::Cluster);
        let mut background = JoinSet::new();
        background.spawn(fill);
        let (is_warm, _) = watch::channel(false);
        lead(vec![Cx::new(clients, caches, self.settings, world)], self.leading, metrics, is_warm, stop).await;
        background.shutdown().await;
        Ok(())
    }
}

/// Runs the operator until `stop`, with calls failing as `faults` says.
pub async fn run_until(args: Args, faults: Arc<dyn FaultHook>, stop: CancellationToken) -> Result<()> {
    // One crypto provider for all clients. An error says that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = clients::infer().await?;
    let time = clock::ServersTime::new(Arc::new(SystemEnvironment));
    let clients = Clients::from_config(&config, &time)?;
    let cluster = cluster(&clients).await?;
    let metrics = Arc::new(Metrics::new());
    let (leading_sender, leading) = watch::channel(false);
    let settings = Settings {
        image: args.image.clone(),
        images: image::Source::Registries { insecure: given(&args.insecure_registries).collect() },
        concurrency: args.concurrency,
        allowed: args.allowed(),
    };
    let scopes = scopes(&args.namespaces);
    tracing::info!(%cluster, ?scopes, image = args.image, "operator starts");

    let mut background = JoinSet::new();
    let mut contexts = Vec::new();
    let memory = varve_store::Caches::default();
    for scope in &scopes {
        let (caches, fill) = Caches::new(&clients.watch, scope);
        background.spawn(fill);
        let namespace = if let Scope::Namespace(namespace) = scope { namespace } else { &args.lease_namespace };
        let world = World {
            cluster,
            restarts_in_place: restarts::are_kept(&clients.write, namespace, &args.image).await,
            leading: leading.clone(),
            faults: faults.clone(),
            metrics: metrics.clone(),
            memory: memory.clone(),
            outside: Outside { environment: Arc::new(time.clone()), ..Outside::default() },
        };
        contexts.push(Cx::new(clients.clone(), caches, settings.clone(), world));
    }

    let (warm_sender, is_warm) = watch::channel(false);
    let pages = http::Pages { metrics: metrics.clone(), is_warm: is_warm.clone() };
    // The pages and the lease go last, when nothing is written any more.
    let (stop_pages, stop_lease) = (CancellationToken::new(), CancellationToken::new());
    let address = args.metrics_address;
    let page_server = tokio::spawn(http::serve(address, pages, stop_pages.clone()));
    let signs = (is_warm, leading_sender);
    let mut election = lease::spawn(config, args.lease_namespace.clone(), identity(), signs, stop_lease.clone());

    let ended = |error: tokio::task::JoinError| Err(Error::Bug(error.to_string()));
    let served = tokio::select! {
        () = lead(contexts, leading, metrics, warm_sender, stop.clone()) => Ok(()),
        served = page_server => match served {
            Ok(served) => served.map_err(|source| Error::Pages { address, source }),
            Err(error) => ended(error),
        },
        elected = &mut election => elected.unwrap_or_else(ended),
    };
    stop.cancel();
    stop_lease.cancel();
    if !election.is_finished() {
        let _ = election.await;
    }
    stop_pages.cancel();
    background.shutdown().await;
    tracing::info!("operator ends");
    served
}

/// Leads whenever the lease says so, until `stop`.
async fn lead(
    contexts: Vec<Arc<Cx>>,
    mut leading: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    is_warm: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let warm = join_all(contexts.iter().map(|cx| cx.caches.wait_until_ready()));
    // Each `select!` here looks in one order, so that a simulated life is the same each time.
    tokio::select! {
        biased;
        _ = warm => {}
        () = stop.cancelled() => return,
    }
    is_warm.send_replace(true);
    tracing::info!("caches are warm");
    loop {
        tokio::select! {
            biased;
            elected = leading.wait_for(|leads| *leads) => if elected.is_err() { return },
            () = stop.cancelled() => return,
        }
        metrics.set_leading(true);
        for cx in &contexts {
            cx.heads.forget();
        }
        let stop_work = stop.child_token();
        let work = controllers(&contexts, &stop_work);
        tokio::pin!(work);
        let is_stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            _ = leading.wait_for(|leads| !*leads) => false,
            () = &mut work => false,
        };
        stop_work.cancel();
        // A deposed leader may not write any more: what is in flight is dropped. A stopped one ends it.
        if is_stopped && tokio::time::timeout(GRACE, &mut work).await.is_err() {
            tracing::warn!("work in flight did not end in time and is dropped; it will be done again");
        }
        metrics.set_leading(false);
        if stop.is_cancelled() {
            return;
        }
    }
}

/// The controllers of all kinds in all scopes.
fn controllers<'a>(contexts: &'a [Arc<Cx>], stop: &'a CancellationToken) -> impl Future<Output = ()> + 'a {
    let all = contexts.iter().map(|cx| {
        let (cx, stop) = (cx.clone(), stop.clone());
        async move {
            tokio::join!(
                repo::run(cx.clone(), stop.clone()),
                commit::run(cx.clone(), stop.clone()),
                pipeline::run(cx.clone(), stop.clone()),
                job::run(cx, stop),
            );
        }
    });
    let all: Vec<_> = all.collect();
    async move {
        join_all(all).await;
    }
}

fn scopes(namespaces: &[String]) -> Vec<Scope> {
    let named: Vec<Scope> = given(namespaces).map(Scope::Namespace).collect();
    if named.is_empty() { vec![Scope::Cluster] } else { named }
}

/// The words of a list from the command line; an environment variable that is set to nothing gives an empty one.
fn given(words: &[String]) -> impl Iterator<Item = String> {
    words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty())
}

/// The cluster's identity: the uid of its `kube-system` namespace, as everybody's who needs one.
async fn cluster(clients: &Clients) -> Result<Uuid> {
    let api: Api<Namespace> = Api::all(clients.write.clone());
    let found = api.get_metadata("kube-system").await.map_err(Error::api("get Namespace kube-system"))?;
    let uid = found.uid().unwrap_or_default();
    uid.parse().map_err(|_| Error::Bug(format!("namespace kube-system has uid {uid:?}")))
}

/// This replica's name in the lease: the pod's, and something of its own for each start.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "varve".into());
    format!("{host}_{}", Uuid::now_v7())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_means_all_and_an_empty_variable_is_no_namespace() {
        assert_eq!(scopes(&[]), [Scope::Cluster]);
        assert_eq!(scopes(&[String::new()]), [Scope::Cluster]);
        let (a, b) = (Scope::Namespace("a".into()), Scope::Namespace("b".into()));
        assert_eq!(scopes(&["a".into(), " b".into()]), [a, b]);
    }
}
