//! Which replica leads, by a `coordination.k8s.io` Lease.
//!
//! The rules are client-go's: the holder renews every two seconds and steps down by itself when it could
//! not for ten; a candidate takes the lease when it has watched it stand unchanged for its whole duration
//! of fifteen, by its own clock, so clocks need not agree. Taking and renewing are replaces with the
//! resource version read before, so two can never both succeed. On a graceful stop the lease is given
//! back, and the next replica, its caches warm, leads within a retry.
//!
//! A replica stands only once its caches are warm: a leader that knows nothing yet would do nothing, and
//! keep others from it. The election has a thread and a runtime of its own, so that no amount of work in
//! the controllers' runtime delays a renewal.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, Config, api::PostParams, core::ObjectMeta};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The lease's name.
const NAME: &str = "varve-controller";
/// How long a lease stands that nobody renews.
const LEASE: Duration = Duration::from_secs(15);
/// How long a holder that cannot renew goes on leading. Shorter than [`LEASE`] by more than one call.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the lease.
const RETRY: Duration = Duration::from_secs(2);

/// Stands for election on a thread of its own once `is_warm`, until `stop`; `leading` tells how it goes.
/// The handle is done when the lease has been given back.
pub(crate) fn spawn(
    config: Config,
    namespace: String,
    identity: String,
    (mut is_warm, leading): (watch::Receiver<bool>, watch::Sender<bool>),
    stop: CancellationToken,
) -> tokio::task::JoinHandle<Result<(), Error>> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Bug(format!("no runtime for the lease: {error}")))?;
        runtime.block_on(async {
            tokio::select! {
                warm = is_warm.wait_for(|is_warm| *is_warm) => if warm.is_err() { return Ok(()) },
                () = stop.cancelled() => return Ok(()),
            }
            let client = crate::clients::lease(&config)?;
            Election::new(client, &namespace, identity, leading).run(stop).await;
            Ok(())
        })
    })
}

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    leading: watch::Sender<bool>,
}

/// What was last seen of the lease, and when it last changed by our own clock.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    lease: Lease,
    changed: Instant,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It is ours: renew it.
    Renew,
    /// It is nobody's, or its holder has gone silent: take it.
    Take,
    /// Another holds it.
    Wait,
}

impl Election {
    /// A candidate named `identity`; `leading` tells the rest of the process how it goes.
    pub fn new(client: Client, namespace: &str, identity: String, leading: watch::Sender<bool>) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, leading }
    }

    /// Stands for election until `stop`, then gives the lease back if it is held.
    pub async fn run(self, stop: CancellationToken) {
        let mut observed: Option<Observed> = None;
        let mut renewed = Instant::now();
        while !stop.is_cancelled() {
            match tokio::time::timeout(RENEW_DEADLINE, self.look(&mut observed)).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    self.set(true);
                }
                Ok(Ok(false)) => self.set(false),
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be read or written"),
                Err(_) => tracing::warn!("the lease could not be read or written in time"),
            }
            if *self.leading.borrow() && renewed.elapsed() >= RENEW_DEADLINE {
                tracing::error!("the lease could not be renewed in time");
                self.set(false);
            }
            tokio::select! {
                biased; // in one order, for the simulation
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
        if *self.leading.borrow() {
            self.release(observed).await;
            self.set(false);
        }
    }

    fn set(&self, leads: bool) {
        let changed = self.leading.send_if_modified(|now| {
            let changed = *now != leads;
            *now = leads;
            changed
        });
        if changed {
            tracing::info!(identity = %self.identity, leads, "leadership changed");
        }
    }

    /// One look at the lease, and what follows from it. True: it is ours.
    async fn look(&self, observed: &mut Option<Observed>) -> Result<bool, kube::Error> {
        let lease = match self.api.get_opt(NAME).await? {
            Some(lease) => lease,
            None => match self.api.create(&PostParams::default(), &self.fresh()).await {
                Ok(lease) => lease,
                Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        let is_new = observed.as_ref().is_none_or(|seen| seen.lease.spec != lease.spec);
        if is_new {
            *observed = Some(Observed { lease: lease.clone(), changed: Instant::now() });
        }
        let unchanged_for = observed.as_ref().map_or(Duration::ZERO, |seen| seen.changed.elapsed());
        let next = decide(lease.spec.as_ref(), &self.identity, unchanged_for);
        if next == Next::Wait {
            return Ok(false);
        }
        let wanted = self.held(&lease, next);
        match self.api.replace(NAME, &PostParams::default(), &wanted).await {
            Ok(lease) => {
                *observed = Some(Observed { lease, changed: Instant::now() });
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fresh(&self) -> Lease {
        Lease {
            metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds(LEASE)),
                acquire_time: Some(MicroTime(Timestamp::now())),
                renew_time: Some(MicroTime(Timestamp::now())),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    fn held(&self, seen: &Lease, next: Next) -> Lease {
        let mut lease = seen.clone();
        let spec = lease.spec.get_or_insert_default();
        if next == Next::Take {
            spec.acquire_time = Some(MicroTime(Timestamp::now()));
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(seconds(LEASE));
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        lease
    }

    async fn release(&self, observed: Option<Observed>) {
        let Some(Observed { mut lease, .. }) = observed else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match self.api.replace(NAME, &PostParams::default(), &lease).await {
            Ok(_) => tracing::info!("gave the lease back"),
            Err(error) => tracing::warn!(%error, "could not give the lease back; it will run out"),
        }
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn decide(spec: Option<&LeaseSpec>, identity: &str, unchanged_for: Duration) -> Next {
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    if holder == identity {
        return Next::Renew;
    }
    let lasts = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(LEASE, Duration::from_secs);
    if holder.is_empty() || unchanged_for >= lasts { Next::Take } else { Next::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str) -> LeaseSpec {
        LeaseSpec { holder_identity: Some(holder.into()), lease_duration_seconds: Some(15), ..LeaseSpec::default() }
    }

    #[test]
    fn a_holder_renews() {
        assert_eq!(decide(Some(&spec("me")), "me", Duration::from_secs(99)), Next::Renew);
    }

    #[test]
    fn a_candidate_waits_until_the_lease_stood_unchanged_for_its_whole_duration() {
        let other = spec("other");
        assert_eq!(decide(Some(&other), "me", Duration::from_secs(14)), Next::Wait);
        assert_eq!(decide(Some(&other), "me", Duration::from_secs(15)), Next::Take);
    }

    #[test]
    fn a_lease_given_back_is_taken_at_once() {
        assert_eq!(decide(Some(&spec("")), "me", Duration::ZERO), Next::Take);
        assert_eq!(decide(None, "me", Duration::ZERO), Next::Take);
    }
    #[tokio::test]
    async fn a_warm_replica_stands_for_election_however_busy_its_runtime_is() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (asked, seen) = std::sync::mpsc::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        std::thread::spawn(move || {
            let connection = listener.accept();
            asked.send(connection.is_ok())
        });
        let (warm, is_warm) = watch::channel(false);
        let (leading, _) = watch::channel(false);
        let stop = CancellationToken::new();
        let election = spawn(config, "varve-system".into(), "me".into(), (is_warm, leading), stop.clone());
        assert!(seen.try_recv().is_err(), "what is not warm does not stand");
        warm.send_replace(true);
        // This holds up the test's only thread for async work, on purpose.
        assert_eq!(seen.recv_timeout(Duration::from_mins(1)), Ok(true));
        stop.cancel();
        election.await.unwrap().unwrap();
    }
}
