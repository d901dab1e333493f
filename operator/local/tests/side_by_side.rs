//! This server beside a real one: the same requests, the same answers.
//!
//! The real one's are recorded; `cargo xtask record` renews them.

mod requests;

use anyhow::Result;
use futures::future::try_join_all;
use requests::table::{self, Scenario};
use requests::{compare, recording, talk};
use varve_local::api::{Server, Settings};

/// How many requests of a scenario, or of all, came to what.
#[derive(Default, Debug, PartialEq, Eq)]
struct Count {
    compared: usize,
    differ: usize,
    /// Of those that differ, the ones of which the table says so.
    known: usize,
    /// The table says of these that they differ, and they don't.
    stale: usize,
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers() -> Result<()> {
    let scenarios = table::scenarios()?;
    let mut count = Count::default();
    for one in try_join_all(scenarios.iter().map(compared)).await? {
        count.compared += one.compared;
        count.differ += one.differ;
        count.known += one.known;
        count.stale += one.stale;
    }
    println!("{} requests compared, {} differ ({} of them known)", count.compared, count.differ, count.known);
    assert!(count.compared > 0, "there are no requests in the table");
    assert_eq!(
        (count.differ - count.known, count.stale),
        (0, 0),
        "differences above: unknown ones, and none where known"
    );
    Ok(())
}

/// Compares a scenario's answers with the recorded ones, and prints where they differ.
async fn compared(scenario: &Scenario) -> Result<Count> {
    let server = Server::in_memory(Settings::default());
    let found = talk::answers(&server.client("default"), scenario, &format!("table-{}", scenario.name)).await?;
    let recorded = recording::read(&scenario.name)?;
    let mut count = Count::default();
    for (place, (asked, found)) in scenario.requests.iter().zip(&found).enumerate() {
        count.compared += 1;
        let title = format!("{} / {}", scenario.name, asked.name);
        let Some(recorded) = recorded.get(place).filter(|recorded| recorded.to == asked.name) else {
            println!("{title}\n  is not recorded: run `cargo xtask record`");
            count.differ += 1;
            continue;
        };
        let differences = compare::differences(recorded, found);
        match (&asked.differs, differences.as_slice()) {
            (None, []) => {}
            (Some(_), []) => {
                println!("{title}\n  is said to differ and does not");
                count.stale += 1;
            }
            (Some(why), _) => {
                println!("{title}\n  is known to differ: {why}");
                count.differ += 1;
                count.known += 1;
            }
            (None, differences) => {
                println!("{title}");
                for one in differences {
                    println!("  {}\n    recorded: {}\n    here:     {}", one.field, one.recorded, one.found);
                }
                count.differ += 1;
            }
        }
    }
    Ok(count)
}
