//! Varve's main binary: each container of ours runs one of its commands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use varve_local::dev;
use varve_local::runner::{inside, parent};

/// Data under version control in an object store, and containers run over it when it changes.
#[derive(Debug, Parser)]
#[command(name = "varve", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controllers: Repo, Commit, Pipeline and Job.
    Controller(varve_controller::Args),
    /// In a pod beside user code: fetch inputs, collect outputs, record results.
    Keeper,
    /// In a pod of a Commit: fetch what it names from outside.
    Import,
    /// In a pod's init container: lay out the shared volume and copy the shim into it.
    Install,
    /// Started by `varve dev`: the process that runs user code, where that is in no image.
    #[command(hide = true)]
    Shim {
        /// `noop`, or nothing.
        arguments: Vec<String>,
    },
    /// Started by `varve dev`: run a command where it sees a pod's volumes at their places.
    #[command(hide = true)]
    Inside {
        /// What is seen where.
        file: PathBuf,
        /// The program and its arguments.
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// All of Varve in this process, on this machine: an API server, the controllers, a store in a folder, and what runs
    /// the code. Applies the files it is given, and again when they change.
    Dev(dev::Args),
    /// Print the definitions of the four kinds, as YAML for `kubectl apply`.
    Crds,
}

/// Threads of every runtime of ours, whatever the node's size. Each costs an arena of the allocator: with a thread for
/// each of 64 cores and 512 for files, a keeper's memory would follow the node and not its work.
const THREADS: usize = 4;
/// Threads for files, names and compression beside them.
const BLOCKING_THREADS: usize = 16;

/// What the name ends in under which this program is a pod's shim.
const SHIM: &[u8] = b"/varve-shim";

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name.as_encoded_bytes().ends_with(SHIM)) {
        return varve_worker::shim::main(std::env::args().skip(1)); // this program, put into an image as the shim
    }
    let cli = Cli::parse();
    match cli.command {
        // Both must be the only thread of their process.
        Command::Shim { arguments } => {
            parent::end_with(parent::ASK);
            varve_worker::shim::main(arguments.into_iter())
        }
        Command::Inside { file, command } => inside::main(&file, &command),
        command => with_runtime(command),
    }
}

fn with_runtime(command: Command) -> ExitCode {
    parent::end_with(parent::KILL);
    if let Err(error) = begin_logs(&command) {
        return refuse_dev(&error);
    }
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(threads).max_blocking_threads(BLOCKING_THREADS);
    match runtime.build() {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => exit(Err(error.into())),
    }
}

async fn run(command: Command) -> ExitCode {
    // One crypto provider for every TLS client: the first client panics where two are linked in
    // and none is chosen. An error means that one is chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match command {
        Command::Controller(args) => exit(varve_controller::run(args).await.map_err(Into::into)),
        Command::Keeper => varve_worker::keeper::main().await,
        Command::Import => varve_worker::import::main().await,
        Command::Install => exit(varve_worker::install::Install::from_env().run().map_err(Into::into)),
        Command::Shim { .. } | Command::Inside { .. } => ExitCode::FAILURE, // `main` has run them
        Command::Dev(args) => run_dev(args).await,
        Command::Crds => {
            print_crds();
            ExitCode::SUCCESS
        }
    }
}

/// JSON lines on standard error, those of `dev` in a file of its state; `RUST_LOG` sets what is logged.
fn begin_logs(command: &Command) -> Result<(), dev::Error> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    match command {
        Command::Dev(args) => logs.with_writer(dev::open_log(args)?).init(),
        _ => logs.with_writer(std::io::stderr).init(),
    }
    Ok(())
}

/// Runs until it is stopped by a signal, or all is done.
async fn run_dev(args: dev::Args) -> ExitCode {
    let stop = CancellationToken::new();
    let signals = stop.clone();
    let listener = tokio::spawn(async move {
        let _ = varve_controller::signalled().await; // where signals can't be heard, they end the process
        signals.cancel();
    });
    let ended = dev::run(args, stop).await;
    listener.abort();
    match ended {
        Ok(dev::Ended::Well) => ExitCode::SUCCESS,
        Ok(dev::Ended::Badly) => ExitCode::FAILURE,
        Err(error) => refuse_dev(&error),
    }
}

fn refuse_dev(error: &dev::Error) -> ExitCode {
    eprintln!("varve dev: {error}");
    ExitCode::FAILURE
}

fn print_crds() {
    for (_, yaml) in varve_api::crd::files() {
        println!("---\n{yaml}");
    }
}

fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
