//! What stands in for Kubernetes' Job controller, scheduler and kubelet on one machine.
//!
//! [`job`] makes pods of batch Jobs, [`kubelet`] places and runs them, both through a `kube::Client` alone. Containers
//! are processes ([`process`], which show `/pfs` where the machine has none: [`inside`]) or a container engine's
//! ([`engine`]); ours are processes always. Whatever ends `varve dev` ends them all ([`parent`]).

mod choice;
mod container;
mod contents;
mod engine;
mod env;
mod events;
mod folder;
pub mod inside;
mod job;
mod kubelet;
mod launch;
mod life;
mod logs;
mod mirror;
mod node;
pub mod parent;
mod process;
mod quantity;
mod schedule;
mod status;
mod tree;
mod volumes;

use std::fs::{self, DirBuilder};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use kube::Client;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use choice::RunnerChoice;
pub use logs::Logs;
pub use process::View;

use choice::Means;
use events::Events;
use kubelet::Kubelet;
use parent::Starter;

/// The Job controller's own pause before a first replacement.
pub const REPLACEMENT_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// What a runner is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where pods have their files; it is the runner's alone.
    pub folder: PathBuf,
    /// What runs others' containers.
    pub choice: RunnerChoice,
    /// Our program, which has the commands `keeper`, `import`, `shim` and `inside`.
    pub exe: PathBuf,
    /// How many processors pods may ask for.
    pub slots: NonZeroUsize,
    /// The Node's name.
    pub node: String,
    /// The pause before a failed pod's first replacement; each after it is twice as long.
    pub replacement_pause: SignedDuration,
}

impl Settings {
    /// All of this machine, for pods whose files lie in `folder`.
    pub fn of_this_machine(folder: PathBuf) -> io::Result<Self> {
        let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        Ok(Self {
            folder,
            choice: RunnerChoice::Auto,
            exe: std::env::current_exe()?,
            slots: std::thread::available_parallelism()?,
            node: if host.is_empty() { "localhost".to_owned() } else { host },
            replacement_pause: REPLACEMENT_PAUSE,
        })
    }
}

/// Why a runner can't begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine that was asked for can't be used.
    #[error("{0}")]
    NoEngine(String),
    /// The folder can't be used.
    #[error("use {folder} for the files of pods: {source}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The Node can't be written.
    #[error("write the Node {node}: {}", words(source))]
    Node {
        /// Its name.
        node: String,
        /// The API server's words.
        source: Box<kube::Error>,
    },
}

/// What the API server says, without its answer whole.
pub(crate) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error { status.message.clone() } else { error.to_string() }
}

/// A machine that is ready to run pods.
#[derive(Debug)]
pub struct Runner {
    settings: Settings,
    means: Means,
    view: View,
    starter: Starter,
    logs: Logs,
}

impl Runner {
    /// Looks at what the machine has, and says so. Must be called within a tokio runtime.
    pub async fn find(mut settings: Settings) -> Result<Self, Error> {
        let folder = settings.folder.clone();
        let failed = |source| Error::Folder { folder: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        settings.folder = fs::canonicalize(&folder).map_err(failed)?;
        let starter = Starter::new().map_err(failed)?;
        let means = Means::find(settings.choice, &settings.exe, &settings.folder).await.map_err(Error::NoEngine)?;
        let view = View::find(&settings.exe, &settings.folder, &starter).await.map_err(failed)?;
        let logs = Logs::new(settings.folder.clone());
        let runner = Self { settings, means, view, starter, logs };
        runner.announce();
        Ok(runner)
    }

    fn announce(&self) {
        match (&self.means, self.view) {
            (Means::Engine(engine, shim), _) => {
                tracing::info!(runner = engine.kind.program(), shim = %shim.display(), "containers run by an engine");
            }
            (Means::Process, View::Inside) => tracing::warn!(
                runner = "process",
                "IMAGES ARE NOT USED: user code runs as processes of this machine, with this machine's programs and your rights"
            ),
            (Means::Process, View::Outside) => tracing::warn!(
                runner = "process",
                "IMAGES ARE NOT USED, AND /pfs IS NOT AT ITS PLACE: this machine gives us no namespaces, so user code must \
                 take its folder from the variable PFS (\"${{PFS:-/pfs}}/out\") and its inputs from theirs"
            ),
        }
    }

    /// What containers print.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// The runner's name: `process`, `docker`, `podman` or `nerdctl`.
    pub fn name(&self) -> &'static str {
        self.means.name()
    }

    /// What user processes see, where containers are processes.
    pub fn view(&self) -> View {
        self.view
    }

    /// Runs Jobs and pods until `stop`; then stops the pods that run.
    pub async fn run(self, client: Client, stop: CancellationToken) -> Result<(), Error> {
        let Self { settings, means, view, starter, logs } = self;
        let facts = node::facts(&settings.node, settings.slots);
        let announced = node::announce(client.clone(), node::node(&settings.node, &facts, means.name())).await;
        announced.map_err(|source| Error::Node { node: settings.node.clone(), source: Box::new(source) })?;
        if let Means::Engine(engine, _) = &means {
            engine.remove_left_over().await;
        }
        let events = Events::new(client.clone(), "kubelet");
        let pause = settings.replacement_pause;
        let machine = Machine { client: client.clone(), settings, facts, means, view, starter, events, logs };
        let jobs = job::run(client, pause, stop.clone());
        let kubelet = Kubelet::new(Arc::new(machine)).run(stop);
        futures::join!(Box::pin(jobs), Box::pin(kubelet)); // both hold much while they wait
        Ok(())
    }
}

/// Looks at the machine and runs pods until `stop`.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    Runner::find(settings).await?.run(client, stop).await
}

/// What all pods have in common.
pub(crate) struct Machine {
    client: Client,
    settings: Settings,
    facts: schedule::Facts,
    means: Means,
    view: View,
    starter: Starter,
    events: Events,
    logs: Logs,
}

impl Machine {
    /// What the user's code that a keeper serves sees.
    fn keeper_view(&self) -> View {
        if self.means.is_engine() { View::Inside } else { self.view }
    }

    /// Whether nothing ends a process's children with it.
    fn kills_trees(&self) -> bool {
        self.keeper_view() == View::Outside
    }
}

/// Whether the object of a call isn't there any more, or another has its name: all our calls name the uid, and no
/// version, so a conflict says that.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// A merge patch from one status to another: what the new one lacks is taken away.
fn status_patch<S: Serialize>(old: Option<&S>, new: &S) -> kube::Result<Value> {
    let old = serde_json::to_value(old).map_err(kube::Error::SerdeError)?;
    let mut new = serde_json::to_value(new).map_err(kube::Error::SerdeError)?;
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object_mut()) {
        for key in old.keys() {
            new.entry(key).or_insert(Value::Null);
        }
    }
    Ok(new)
}
