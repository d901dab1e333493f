//! `bench …`: measures on the user's cluster, by `varve-e2e`; and `varve dev`, which needs none ([`dev`]).

mod dev;

use anyhow::Result;
use clap::Subcommand;

use crate::cluster::Cluster;
use crate::{apply, images, run};

#[derive(Subcommand)]
pub(crate) enum What {
    /// `varve dev` on this machine: its start, an edit, its size, what it takes while idle, and ten thousand datums.
    Dev,
    /// From a Commit to its Job's pods, and from the last datum to the output Commit; and the operator's writes.
    Latency {
        /// Commits measured, after one that is not.
        #[arg(long, default_value_t = 20)]
        rounds: u32,
    },
    /// What memory a large file takes on its way through a Pipeline, beside the limit. Writes five times its size.
    Memory {
        /// Size of the file in MiB.
        #[arg(long, default_value_t = 2048)]
        mib: u32,
    },
}

pub(crate) fn bench(what: &What) -> Result<()> {
    let (command, option, number) = match *what {
        What::Dev => return dev::bench(),
        What::Latency { rounds } => ("latency", "--rounds", rounds),
        What::Memory { mib } => ("memory", "--mib", mib),
    };
    let access = Cluster::of_the_user().up()?;
    let images = images::build_and_push(&access)?;
    apply::varve(&access, &images)?;
    let namespace = format!("bench-{command}");
    access.ask(&["delete", "namespace", &namespace, "--ignore-not-found", "--wait=true", "--timeout=120s"])?;
    apply::namespace(&access, &namespace)?;
    let measured = run::step(command, || {
        let number = number.to_string();
        run::run("measure", &mut images.tool(&access, &[command, &namespace, option, &number]))
    });
    access.ask(&["delete", "namespace", &namespace, "--wait=false"]).and(measured)
}
