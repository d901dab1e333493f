//! Events are forgotten after an hour, as in a cluster: nobody deletes them, and they would pile up on a laptop's disk.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::kinds::Kind;
use super::object::Key;
use super::show::duration::moment;
use super::state::{Place, State};

/// The API server's own `--event-ttl`.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How many new events go between two looks at all of them.
const PERIOD: usize = 64;

/// Takes out the events that were last seen too long ago; to be called when one was made.
pub(crate) fn events(state: &mut State, kind: &Kind, now: Timestamp) {
    if kind.kind != "Event" || kind.is_custom || !state.objects(kind.table).len().is_multiple_of(PERIOD) {
        return;
    }
    let old: Vec<(Key, Value)> = state
        .objects(kind.table)
        .iter()
        .filter(|(_, event)| last_seen(&event.value).is_some_and(|seen| now.duration_since(seen) > LIFETIME))
        .map(|(key, event)| (key.clone(), event.value.clone()))
        .collect();
    for (key, event) in old {
        state.remove(&Place { table: kind.table, key }, event);
    }
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().filter_map(moment).max()
}
