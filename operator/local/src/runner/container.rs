//! One container from its start to its end: started by the machine's means, asked to stop, killed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use varve_api::pod::INSTALL;
use varve_worker::install::{Install, lay_out};

use super::Machine;
use super::choice::Means;
use super::engine::{self, CANNOT_RUN, Engine, PullError};
use super::folder::PodFolder;
use super::launch::{Launch, Task, is_own};
use super::status::{Ended, State};
use super::{contents, env, process, tree, volumes};

/// How often a container that was asked to stop is asked again: as process 1 it hears nothing before it listens.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Pauses before another try to start, as the kubelet's: doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// `imageID` of a process: all run the same machine.
const PROCESS_IMAGE: &str = "process://host";

/// How urgently a container is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// It may run.
    None,
    /// It is asked.
    Asked,
    /// It is killed.
    Killed,
}

/// What is new of a container.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) state: State,
    /// Once it is known.
    pub(crate) image_id: Option<String>,
}

/// A container that could not be started.
struct NotStarted {
    reason: &'static str,
    message: String,
}

/// One container of a pod.
pub(crate) struct Attendant {
    pub(crate) machine: Arc<Machine>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Container,
    pub(crate) folder: PodFolder,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) urgency: watch::Receiver<Urgency>,
}

/// A started container.
struct Started {
    child: Child,
    group: Option<Pid>,
    image_id: String,
    /// Its engine and its name there; none for a process.
    engine: Option<(Engine, String)>,
}

impl Attendant {
    /// Starts the container, again and again until it starts, and attends it to its end.
    pub(crate) async fn attend(mut self) {
        let mut pause = FIRST_PAUSE;
        let started = loop {
            if *self.urgency.borrow() > Urgency::None {
                return;
            }
            let failed = match self.start().await {
                Ok(started) => break started,
                Err(failed) => failed,
            };
            self.wait_with(failed.reason, failed.message.clone()).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.urgency.wait_for(|urgency| *urgency > Urgency::None) => return,
            }
            if failed.reason == "ErrImagePull" {
                let image = self.container.image.clone().unwrap_or_default();
                let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failed.message);
                self.wait_with("ImagePullBackOff", message).await;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        let _printing = self.machine.logs.begin(&uid, &self.container.name);
        let begun = Timestamp::now();
        self.report(State::Running(begun), Some(started.image_id.clone())).await;
        let ended = self.wait(started, begun).await;
        self.report(State::Ended(ended), None).await;
    }

    async fn report(&self, state: State, image_id: Option<String>) {
        let report = Report { name: self.container.name.clone(), state, image_id };
        let _ = self.reports.send(report).await; // whoever listened is gone with the pod
    }

    async fn wait_with(&self, reason: &str, message: String) {
        self.report(State::Waiting { reason: reason.to_owned(), message: Some(message) }, None).await;
    }

    async fn start(&self) -> Result<Started, NotStarted> {
        let config = |message| NotStarted { reason: "CreateContainerConfigError", message };
        let failed = |error: std::io::Error| NotStarted { reason: "CreateContainerError", message: error.to_string() };
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let contents = contents::read(&self.machine.client, namespace, env::sources(&self.container)).await;
        let contents = contents.map_err(|error| config(error.to_string()))?;
        let task = Task {
            pod: &self.pod,
            container: &self.container,
            env: env::resolve(&self.pod, &self.container, &contents).map_err(config)?,
            mounts: volumes::mounts(&self.container, &self.folder).map_err(config)?,
            folder: &self.folder,
        };
        let machine = &self.machine;
        let exe = &machine.settings.exe;
        let (launch, image_id, engine) = match &machine.means {
            _ if is_own(&self.container) => {
                (process::own(&task, exe, machine.keeper_view()), PROCESS_IMAGE.to_owned(), None)
            }
            Means::Process => {
                (process::user(&task, exe, machine.view).map_err(failed)?, PROCESS_IMAGE.to_owned(), None)
            }
            Means::Engine(engine, _) => self.in_engine(&task, engine).await?,
        };
        let log = self.folder.open_log(&self.container.name).map_err(failed)?;
        let child = machine.starter.start(launch.command(log).map_err(failed)?).await.map_err(failed)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Started { child, group, image_id, engine })
    }

    async fn in_engine(
        &self,
        task: &Task<'_>,
        engine: &Engine,
    ) -> Result<(Launch, String, Option<(Engine, String)>), NotStarted> {
        let image = self.container.image.as_deref().unwrap_or_default();
        let mut urgency = self.urgency.clone();
        let pulled = tokio::select! {
            pulled = engine.image(image, self.container.image_pull_policy.as_deref()) => pulled,
            // It may take an hour, and nobody waits for it any more.
            _ = urgency.wait_for(|urgency| *urgency > Urgency::None) => Err(PullError::stopped()),
        };
        let id = pulled.map_err(|error| NotStarted { reason: error.reason, message: error.message })?;
        let name = engine::name(task);
        Ok((engine.run(task, image), id, Some((engine.clone(), name))))
    }

    async fn wait(&mut self, mut started: Started, begun: Timestamp) -> Ended {
        let status = loop {
            let urgency = *self.urgency.borrow_and_update();
            started.signal(urgency, self.machine.kills_trees()).await;
            let is_stopping = urgency > Urgency::None;
            tokio::select! {
                status = started.child.wait() => break status,
                Ok(()) = self.urgency.changed() => {}
                () = tokio::time::sleep(ASK_AGAIN), if is_stopping => {}
            }
        };
        let finished = Timestamp::now();
        let message = self.folder.last_words(&self.container.name);
        let mut ended = Ended { code: code(status.ok()), started: begun, finished, reason: "Completed", message };
        if ended.code != 0 {
            ended.reason = "Error";
        }
        if let Some((engine, name)) = &started.engine {
            if ended.code == CANNOT_RUN {
                let said = std::fs::read(self.folder.log(&self.container.name)).unwrap_or_default();
                ended = Ended { code: 128, reason: "StartError", message: Some(engine::last_line(&said)), ..ended };
            } else if ended.code == 137 && engine.was_out_of_memory(name).await {
                ended.reason = "OOMKilled";
            }
            engine.remove(name).await;
        }
        ended
    }
}

impl Started {
    async fn signal(&self, urgency: Urgency, kills_tree: bool) {
        let (signal, name) = match urgency {
            Urgency::None => return,
            Urgency::Asked => (Signal::TERM, "TERM"),
            Urgency::Killed => (Signal::KILL, "KILL"),
        };
        if let Some((engine, container)) = &self.engine {
            engine.kill(container, name).await;
            return;
        }
        let Some(group) = self.group else { return };
        if urgency == Urgency::Killed && kills_tree {
            tree::kill_below(group);
        }
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// As a shell gives it: 128 and the signal's number for one that was killed.
fn code(status: Option<ExitStatus>) -> i32 {
    let of = |status: ExitStatus| status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    status.and_then(of).unwrap_or(137)
}

/// Whether a container is the one that lays out the shared volume: done here, without a process.
pub(crate) fn is_install(container: &Container) -> bool {
    container.name == INSTALL && is_own(container)
}

/// Lays out the shared volume. Only an image needs the shim in it.
pub(crate) fn install(container: &Container, folder: &PodFolder, means: &Means) -> Result<(), String> {
    folder.open_log(&container.name).map_err(|error| error.to_string())?; // there, though it prints nothing
    let mounts = volumes::mounts(container, folder)?;
    let Some(volume) = mounts.first().map(|mount| mount.from.clone()) else {
        return Err("container install must have the shared volume mounted".to_owned());
    };
    let done = match means {
        Means::Process => lay_out(&volume),
        Means::Engine(_, shim) => Install { shim: shim.clone(), volume, names: "/etc".into() }.run(),
    };
    done.map_err(|error| error.to_string())
}
