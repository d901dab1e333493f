//! Records what the API server in `KUBECONFIG` answers to the table of requests in `tests/requests`.
//! `cargo xtask record` runs it on a cluster of its own: who else writes there would be in the record.

#[path = "../tests/requests/mod.rs"]
mod requests;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use requests::{recording, table, talk};

/// Scenarios at a time: they wait for watches and for the garbage collector more than they ask.
const AT_ONCE: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
    let scenarios = table::scenarios()?;
    // Namespaces of an earlier run may still be on their way out.
    let second = jiff::Timestamp::now().as_second();
    let recorded: Vec<_> = stream::iter(&scenarios)
        .map(async |scenario| {
            let namespace = format!("table-{}-{second}", scenario.name);
            talk::answers(&client, scenario, &namespace).await.map(|answers| (&scenario.name, answers))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (name, answers) in &recorded {
        recording::write(name, answers)?;
    }
    recording::keep_only(&scenarios.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>())?;
    let count: usize = recorded.iter().map(|(_, answers)| answers.len()).sum();
    println!("{count} requests recorded in {} scenarios", recorded.len());
    Ok(())
}
