//! What `cargo xtask` does on a test cluster in Varve's own terms: files into a bucket, results out of a Repo, measures.
//! It stands apart from xtask so that xtask builds in seconds; it is built beside Varve's own programs.

mod audit;
mod checkout;
mod latency;
mod many;
mod memory;
mod upload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "varve-e2e", about = "Works on the cluster that the environment names, as `cluster.sh env` prints it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts files into a bucket of the cluster's S3 server.
    Upload {
        bucket: String,
        /// `KEY=FILE`.
        #[arg(required = true, value_parser = upload::key_and_file)]
        objects: Vec<(String, PathBuf)>,
    },
    /// Writes the newest files of Repos below a folder, one folder a Repo.
    Checkout {
        namespace: String,
        #[arg(required = true)]
        repos: Vec<String>,
        #[arg(long)]
        to: PathBuf,
    },
    /// From a Commit to its Job's pods, and from the last datum to the output Commit, in a namespace with a store.
    Latency {
        namespace: String,
        /// Commits measured, after one that is not.
        #[arg(long)]
        rounds: u32,
    },
    /// What memory a large file takes on its way through a Pipeline, in a namespace with a store.
    Memory {
        namespace: String,
        /// Size of the file in MiB.
        #[arg(long)]
        mib: u64,
    },
    /// Many Commits to many Pipelines at once: how long they wait, in which namespace, and what the operator takes.
    Many(many::Many),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Upload { bucket, objects } => upload::upload(&bucket, &objects).await,
        Command::Checkout { namespace, repos, to } => checkout::checkout(&namespace, &repos, &to).await.map(drop),
        Command::Latency { namespace, rounds } => latency::latency(&namespace, rounds).await,
        Command::Memory { namespace, mib } => memory::memory(&namespace, mib << 20).await,
        Command::Many(many) => many::many(&many).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
