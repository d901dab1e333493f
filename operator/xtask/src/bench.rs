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
    /// Many Commits to many Pipelines in many namespaces, at once: how long they wait, and what the operator takes.
    Many {
        /// Pipelines in all.
        #[arg(long, default_value_t = 50)]
        pipelines: u32,
        /// Commits in each of two rounds.
        #[arg(long, default_value_t = 500)]
        commits: u32,
        /// Namespaces.
        #[arg(long, default_value_t = 10)]
        namespaces: u32,
        /// Over how many seconds the Commits of a round come.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Lets every Commit start a pod; else what is measured is the operator alone.
        #[arg(long)]
        pods: bool,
    },
}

pub(crate) fn bench(what: &What) -> Result<()> {
    let numbers = |numbers: &[(&str, u32)]| {
        numbers.iter().flat_map(|(option, number)| [format!("--{option}"), number.to_string()]).collect::<Vec<_>>()
    };
    let (command, namespaces, mut options) = match *what {
        What::Dev => return dev::bench(),
        What::Latency { rounds } => ("latency", 1, numbers(&[("rounds", rounds)])),
        What::Memory { mib } => ("memory", 1, numbers(&[("mib", mib)])),
        What::Many { pipelines, commits, namespaces, seconds, .. } => {
            ("many", namespaces, numbers(&[("pipelines", pipelines), ("commits", commits), ("seconds", seconds)]))
        }
    };
    if matches!(what, What::Many { pods: true, .. }) {
        options.push("--pods".to_owned());
    }
    let access = Cluster::of_the_user().up()?;
    let images = images::build_and_push(&access)?;
    apply::varve(&access, &images)?;
    let namespaces: Vec<String> = match namespaces {
        1 => vec![format!("bench-{command}")],
        _ => (0..namespaces).map(|number| format!("bench-{command}-{number}")).collect(),
    };
    for namespace in &namespaces {
        access.ask(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=true", "--timeout=120s"])?;
        apply::namespace(&access, namespace)?;
    }
    let measured = run::step(command, || {
        let arguments = [command].into_iter().chain(namespaces.iter().chain(&options).map(String::as_str));
        run::run("measure", &mut images.tool(&access, &arguments.collect::<Vec<_>>()))
    });
    for namespace in &namespaces {
        access.ask(&["delete", "namespace", namespace, "--wait=false"])?;
    }
    measured
}
