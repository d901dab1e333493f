//! Operators: one at work, or two that contend for the lease with clocks that disagree; killed at any call, started
//! again a little later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use varve_controller::act::NoFaults;
use varve_controller::image::Source;
use varve_controller::lease::Election;
use varve_controller::{Embedded, Outside, Settings};
use varve_store::backend::Allowed;

use crate::bucket::Bucket;
use crate::chance::Chance;
use crate::network;
use crate::trace::Trace;
use crate::wire::Wire;
use crate::world::{NAMESPACE, World};

/// Calls within which a killed operator meets its end, at most: a Job costs about fifty.
const LONGEST_FUSE: usize = 400;
/// How soon a killed operator is started again, at most.
const LONGEST_DEATH: Duration = Duration::from_mins(1);
/// How far two clocks may be apart, in seconds.
const CLOCKS_APART: i64 = 600;

/// All operators of a life.
pub(crate) struct Operators {
    chance: Chance,
    trace: Trace,
    is_calm: AtomicBool,
    kills: AtomicU32,
    wires: Mutex<Vec<Wire>>,
}

impl Operators {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        Self { chance, trace, is_calm: AtomicBool::new(false), kills: AtomicU32::new(0), wires: Mutex::default() }
    }

    /// Whether nobody is killed any more, and nothing fails.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// Nobody is killed any more, and nothing fails.
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.all(Wire::calm_down);
    }

    pub(crate) fn kills(&self) -> u32 {
        self.kills.load(Ordering::SeqCst)
    }

    pub(crate) fn faults(&self) -> u32 {
        self.sum(Wire::faults)
    }

    pub(crate) fn calls(&self) -> u32 {
        self.sum(Wire::calls)
    }

    fn all(&self, what: impl Fn(&Wire)) {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(what);
    }

    fn sum(&self, of: impl Fn(&Wire) -> u32) -> u32 {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).iter().map(of).sum()
    }

    /// Keeps as many at work as this life has.
    pub(crate) async fn run(&self, world: &World) {
        if self.chance.once_in(4) {
            let off = self.chance.within(CLOCKS_APART);
            tokio::join!(self.replica(world, "first", Some(0)), self.replica(world, "second", Some(off)));
        } else {
            self.replica(world, "only", None).await;
        }
    }

    /// One replica, life after life. Where there are several, each has a clock of its own, so many seconds off, and they
    /// contend for the lease.
    async fn replica(&self, world: &World, name: &str, clock_off: Option<i64>) {
        for life in 1.. {
            let wire = world.wire();
            if self.is_calm.load(Ordering::SeqCst) {
                wire.calm_down();
            } else if !self.chance.once_in(3) {
                wire.die_at(self.chance.below(LONGEST_FUSE));
            }
            self.wires.lock().unwrap_or_else(PoisonError::into_inner).push(wire.clone());
            self.trace.say("operator", format!("{name} starts, life {life}"));
            let working = tokio::spawn(work(world, &wire, format!("{name}-{life}"), clock_off));
            wire.died().cancelled().await;
            // What it was doing stops where it is: its calls are never answered.
            working.abort();
            self.kills.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.chance.pause(LONGEST_DEATH)).await;
        }
    }
}

/// One life of one operator: election and controllers, over its own wire.
fn work(
    world: &World,
    wire: &Wire,
    identity: String,
    clock_off: Option<i64>,
) -> impl Future<Output = ()> + Send + use<> {
    let client = network::client(wire, &world.server, NAMESPACE);
    let bucket: Arc<dyn ObjectStore> = Arc::new(Bucket::new(world.objects.clone(), wire.clone()));
    let environment = world.environment.with_clock_off(clock_off.unwrap_or_default());
    async move {
        let stop = CancellationToken::new(); // it is killed, not stopped
        let (leads, leading) = watch::channel(clock_off.is_none());
        let election = Election::new(client.clone(), "kube-system", identity, leads);
        let connect = move |config: &BTreeMap<String, String>, _: Allowed| {
            let prefix = config.get("url").and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            Ok((bucket.clone(), Path::from(prefix)))
        };
        let outside = Outside { environment, connect: Arc::new(connect) };
        let embedded = || Embedded {
            client: client.clone(),
            settings: Settings {
                image: "varve".to_owned(),
                images: Source::Host,
                concurrency: 4,
                allowed: Allowed::default(),
            },
            outside: outside.clone(),
            faults: Arc::new(NoFaults),
            leading: leading.clone(),
        };
        let electing = async {
            if clock_off.is_some() {
                election.run(stop.clone()).await;
            } else {
                stop.cancelled().await;
            }
        };
        // A process whose first call fails ends, and is started again by whoever keeps it.
        let working = async {
            while embedded().run(stop.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::join!(electing, working);
    }
}
