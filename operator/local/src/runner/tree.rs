//! All processes below one, for where no namespace ends with it.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, Signal};

/// Rounds of killing: what a process started just before it was killed is found in the next.
const ROUNDS: usize = 3;

/// Kills every process that descends from this one.
pub(crate) fn kill_below(root: Pid) {
    for _ in 0..ROUNDS {
        let below = below(root.as_raw_nonzero().get(), &parents());
        if below.is_empty() {
            return;
        }
        for pid in below.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Each process and its parent, from `/proc`.
fn parents() -> BTreeMap<i32, i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| {
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        // The name in brackets may hold anything; after it come the state and the parent.
        let stat = String::from_utf8_lossy(&stat);
        Some((id, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
    })
    .collect()
}

fn below(root: i32, parents: &BTreeMap<i32, i32>) -> Vec<i32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(id, _)| *id));
        at += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_their_children_are_found_and_nobody_else() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 2), (5, 4), (6, 1)]);
        assert_eq!(below(2, &parents), [3, 4, 5]);
        assert!(self::parents().contains_key(&rustix::process::getpid().as_raw_nonzero().get()));
    }
}
