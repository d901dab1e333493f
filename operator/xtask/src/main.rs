//! `cargo xtask …`: what is generated, built, demonstrated and tested, one module a subcommand.
//!
//! Everything here drives other programs: cargo, `e2e/cluster/cluster.sh`, kubectl, buildah. What a step needs
//! and misses is installed where that is possible ([`packages`]), and named where it isn't.

mod apply;
mod azurite;
mod bench;
mod bucket;
mod cluster;
mod demo;
mod e2e;
mod example;
mod generate;
mod images;
mod kubectl;
mod packages;
mod record;
mod run;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What is generated, built, demonstrated and tested in Varve")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets everything up on this machine and runs the example: photographs in, edges out.
    Demo,
    /// Everything that CI runs, on a cluster of its own.
    Test,
    /// The tests on a real cluster alone.
    E2e(e2e::E2e),
    /// Records anew what a real API server answers to the requests in `operator/local/tests/requests`.
    Record,
    /// Measures.
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Simulated lives of the controllers, with faults and kills, and the laws that hold all the same.
    Soak(soak::Soak),
    /// Writes what is generated: `crds/` and `docs/reference/`.
    Generate {
        /// Writes nothing, and fails where something is stale.
        #[arg(long)]
        check: bool,
    },
    /// Builds Varve's image and the example's, and pushes them to the test cluster's registry.
    Images {
        /// Builds Varve's image alone and writes it to this file, as a docker archive, which skopeo, crane, podman and
        /// docker take. Needs no cluster and no root.
        #[arg(long, value_name = "ARCHIVE")]
        to: Option<PathBuf>,
    },
    /// The test cluster.
    Cluster {
        #[command(subcommand)]
        what: ClusterCommand,
    },
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Starts it; the first time builds Kubernetes, which takes about ten minutes on two cores.
    Up,
    /// Takes it down and leaves nothing behind.
    Down,
    /// Says how to reach it and what runs in it.
    Status,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo => demo::demo(),
        Command::Test => return test::test(),
        Command::E2e(e2e) => e2e::e2e(&e2e),
        Command::Record => record::record(),
        Command::Bench { what } => bench::bench(&what),
        Command::Soak(soak) => soak::soak(&soak),
        Command::Generate { check } => generate::generate(check),
        Command::Images { to: None } => images::images(),
        Command::Images { to: Some(archive) } => images::write(&archive),
        Command::Cluster { what: ClusterCommand::Up } => cluster::Cluster::of_the_user().up().map(drop),
        Command::Cluster { what: ClusterCommand::Down } => cluster::Cluster::of_the_user().down(),
        Command::Cluster { what: ClusterCommand::Status } => cluster::Cluster::of_the_user().status(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
