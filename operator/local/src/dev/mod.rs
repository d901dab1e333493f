//! `varve dev`: the whole of Varve in one process: API server, controllers, runner, and a store in a folder.
//!
//! It applies the files that it is given ([`apply`]), and again when they change ([`files`]); commits folders that Repos
//! name ([`folder`]); and prints what happens ([`show`]) until it is stopped, or until all is [`settled`]. Everything
//! that must last lies in one folder ([`state`]), so it may be killed at any moment.

mod apply;
mod error;
mod files;
mod folder;
mod looks;
mod namespaces;
mod results;
mod settled;
mod show;
mod state;
mod stores;
mod words;

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use varve_controller::act::NoFaults;
use varve_controller::image::Source;
use varve_controller::{self as controller, Embedded, Outside};

use self::apply::Apply;
pub use self::error::Error;
use self::files::Given;
use self::folder::Folders;
use self::looks::Looks;
use self::results::Results;
use self::show::{Screen, Showing};
use self::state::State;
use self::stores::Stores;
use crate::api::{self, Server};
use crate::runner::{self, Runner, RunnerChoice};

/// Reconciliations of one kind at a time: as many as a cluster's operator does.
const CONCURRENCY: u16 = 16;

/// What `varve dev` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// YAML files, or folders of them, as `kubectl apply -f` takes them; the current folder if none is given.
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,

    /// The folder for everything that lasts: objects, data, kubeconfig. By default `.varve` beside the first file.
    #[arg(long, value_name = "DIR", env = "VARVE_STATE")]
    pub state: Option<PathBuf>,

    /// Ends once everything is settled: with 0, or with 1 and the explanation of what is not well.
    #[arg(long)]
    pub once: bool,

    /// What runs the code: `process` runs commands on this machine, with what is installed there, and uses no image;
    /// the others run the real image by a container engine. `auto` takes the first engine found.
    #[arg(long, default_value = "auto", value_name = "auto|process|docker|podman|nerdctl")]
    pub runner: RunnerChoice,

    /// The port on 127.0.0.1; by default that of last time, or a free one.
    #[arg(long)]
    pub port: Option<u16>,

    /// The namespace of objects that name none; made if it isn't there.
    #[arg(long, short, default_value = "default")]
    pub namespace: String,

    /// A registry (host or host:port) that is spoken to by plain HTTP. May be given several times.
    #[arg(long = "insecure-registry")]
    pub insecure_registries: Vec<String>,
}

impl Args {
    /// The folder for everything that lasts.
    pub fn state_folder(&self) -> PathBuf {
        state::folder(self.state.as_deref(), self.paths.first().map(PathBuf::as_path))
    }
}

/// The file for what the controllers log; makes the state folder, where it is missing and the files to apply are there.
pub fn open_log(args: &Args) -> Result<std::fs::File, Error> {
    files::check(&args.paths)?;
    let folder = args.state_folder();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(Error::file("make state folder", &folder))?;
    let log = folder.join("log");
    std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(Error::file("open", log))
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped, or everything is well.
    Well,
    /// `--once`, and something is not well; what, was printed.
    Badly,
}

/// Runs until `stop`, or with `--once` until everything is settled.
pub async fn run(args: Args, stop: CancellationToken) -> Result<Ended, Error> {
    let state = State::open(&args.state_folder())?;
    let pods = state.pods();
    let of_machine = runner::Settings::of_this_machine(pods.clone()).map_err(Error::file("use", pods))?;
    let runner = Runner::find(runner::Settings { choice: args.runner, ..of_machine }).await?;
    let has_logs = api::Settings { logs: Some(Arc::new(runner.logs())), ..api::Settings::default() };
    let server = Server::open(&state.objects(), has_logs).map_err(Error::Objects)?;
    let client = server.client(&args.namespace);
    let listener = listen(&state, args.port).await?;
    let address = listener.local_addr().map_err(Error::Listen)?;
    state.write_kubeconfig(address, &args.namespace)?;

    let screen = Screen::new();
    screen.welcome(&state, &runner, address);
    let mut tasks = JoinSet::new();
    // What runs pods ends last but for the API, so that pods are stopped and told of.
    let (stop_runner, stop_api) = (CancellationToken::new(), CancellationToken::new());
    let images = if runner.name() == "process" {
        Source::Host
    } else {
        Source::Registries { insecure: args.insecure_registries.clone() }
    };
    tasks.spawn({
        let (server, token, stop) = (server.clone(), state.token()?, stop_api.clone());
        async move { server.serve(listener, token, stop).await.map_err(Error::Listen) }
    });
    let mut running = std::pin::pin!(runner.run(client.clone(), stop_runner.clone()));
    let settings = controller::Settings {
        image: "varve".to_owned(), // the runner takes the programs from this one
        images,
        concurrency: CONCURRENCY,
        allowed: stores::ALLOWED,
    };
    let stop_controllers = CancellationToken::new();
    let controllers = tokio::spawn({
        let stop = stop_controllers.clone();
        let (leads, leading) = watch::channel(true); // nobody else's work on this API server
        let (outside, faults) = (Outside::default(), Arc::new(NoFaults));
        let embedded = Embedded { client: client.clone(), settings, outside, faults, leading };
        async move {
            let ran = embedded.run(stop).await;
            drop(leads); // until now they lead
            ran
        }
    });

    let mut runs_pods = true;
    let ended = tokio::select! {
        _ = server.disk_failed() => Err(Error::Ended),
        ended = work(&args, &state, client, &screen) => ended,
        failed = first_end(&mut tasks) => Err(failed),
        ran = &mut running => {
            runs_pods = false;
            Err(ran.map_or_else(Error::from, |()| Error::Ended))
        }
        () = stop.cancelled() => Ok(Ended::Well),
    };
    // What can't be written makes all the others fail, in any order.
    let ended = match server.disk_failed().now_or_never() {
        Some(why) => Err(Error::Disk { path: state.folder().to_owned(), why }),
        None => ended,
    };
    stop_controllers.cancel();
    let _ = controllers.await;
    stop_runner.cancel();
    if runs_pods && let Err(error) = running.await {
        tracing::error!(%error, "stop the pods"); // why it ended is told already
    }
    stop_api.cancel();
    while tasks.join_next().await.is_some() {}
    screen.goodbye(&state, ended.as_ref().is_ok_and(|ended| *ended == Ended::Well) && !args.once);
    ended
}

/// What the user is there for: applies, commits, shows. With `--once` it ends when all is settled.
async fn work(args: &Args, state: &State, client: kube::Client, screen: &Screen) -> Result<Ended, Error> {
    let looks = Looks::start(&client);
    let stores = Arc::new(Stores::new(client.clone()));
    let mut given = Given::new(&args.paths)?;
    let mut folders = Folders::new(client.clone(), stores.clone());
    let (mut showing, mut results, mut told) = (Showing::new(), Results::default(), 0);
    namespaces::make(&client, &args.namespace).await?;
    let apply = Apply { client: &client, state, namespace: &args.namespace, looks: &looks, screen };
    let mut was_refused = apply.all(&given, &mut folders).await?;
    was_refused |= folders.commit_changed(&looks, screen).await;
    loop {
        tokio::select! {
            () = looks.changed() => showing.look(&looks, screen),
            () = Showing::tick(&looks, screen) => Showing::progress(&looks, screen),
            () = given.changed() => {
                was_refused = apply.all(&given, &mut folders).await?;
                was_refused |= folders.commit_changed(&looks, screen).await;
            }
            () = folders.changed() => was_refused |= folders.commit_changed(&looks, screen).await,
            version = settled::settled(&looks, told) => {
                told = version;
                showing.look(&looks, screen);
                showing.waiting(&looks, screen);
                results.show(&looks, &stores, screen).await;
                if args.once {
                    return Ok(verdict(&looks, screen, was_refused));
                }
            }
        }
    }
}

/// Whether all is well; what is not, is shown.
fn verdict(looks: &Looks, screen: &Screen, was_refused: bool) -> Ended {
    let faults = words::faults(looks);
    for fault in &faults {
        screen.fail(fault);
    }
    if faults.is_empty() && !was_refused { Ended::Well } else { Ended::Badly }
}

/// The first of the tasks that ends, which none should.
async fn first_end(tasks: &mut JoinSet<Result<(), Error>>) -> Error {
    match tasks.join_next().await {
        Some(Ok(Err(error))) => error,
        _ => Error::Ended,
    }
}

/// A port on loopback alone: the one asked for, or that of last time, or any.
async fn listen(state: &State, asked: Option<u16>) -> Result<TcpListener, Error> {
    if let Some(port) = asked {
        return TcpListener::bind(("127.0.0.1", port)).await.map_err(|source| Error::Port { port, source });
    }
    if let Some(port) = state.last_port()
        && let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::Listen)
}
