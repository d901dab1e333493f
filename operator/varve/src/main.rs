//! Varve's main binary: each container of ours runs one of its commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Print the definitions of the four kinds, as YAML for `kubectl apply`.
    Crds,
}

/// Threads of every runtime of ours, whatever the node's size. Each costs an arena of the allocator: with a thread for
/// each of 64 cores and 512 for files, a keeper's memory would follow the node and not its work.
const THREADS: usize = 4;
/// Threads for files, names and compression beside them.
const BLOCKING_THREADS: usize = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    begin_logs();
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(threads).max_blocking_threads(BLOCKING_THREADS);
    match runtime.build() {
        Ok(runtime) => runtime.block_on(run(cli.command)),
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
        Command::Crds => {
            print_crds();
            ExitCode::SUCCESS
        }
    }
}

/// JSON lines on standard error; `RUST_LOG` sets what is logged.
fn begin_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr).init();
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
