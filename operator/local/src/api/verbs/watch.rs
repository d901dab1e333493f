//! WATCH: the past of a table, read on from some version, as lines of JSON.
//!
//! A watcher holds no more than its place in the past; what it has not read yet is kept once, for all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::list;
use crate::api::failure::Failure;
use crate::api::object::Object;
use crate::api::query::Query;
use crate::api::select::Selection;
use crate::api::settings::Clock;
use crate::api::show::form::Form;
use crate::api::state::State;
use crate::api::state::past::Change;

/// How many changes are put into one piece of the answer.
const BATCH: usize = 256;
/// Between bookmarks, as the API server sends them.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);
/// How long a watch lasts that does not say; the API server takes between 30 and 60 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(45);

/// What to watch.
pub(crate) struct Watch {
    form: Form,
    selection: Selection,
    clock: Clock,
    has_bookmarks: bool,
    /// What is read next comes after this version.
    version: u64,
    deadline: Instant,
    next_bookmark: Instant,
    bell: watch::Receiver<u64>,
    /// Lines to send before anything else.
    first: VecDeque<Bytes>,
    is_over: bool,
}

impl Watch {
    /// Starts at the version in `query`, or with all there is.
    pub(crate) fn start(
        state: &State,
        form: Form,
        selection: Selection,
        query: &Query,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let table = form.kind.table;
        let timeout = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        let timeout = timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let asked = query.exact_version()?;
        let has_bookmarks = query.is_set("allowWatchBookmarks");
        let wants_initial = query.is_set("sendInitialEvents");
        check_initial(query, wants_initial)?;
        let now = Instant::now();
        let mut watch = Self {
            has_bookmarks,
            version: asked.unwrap_or(0),
            deadline: now + timeout,
            next_bookmark: now + BOOKMARK_PERIOD,
            bell: state.bell(table),
            first: VecDeque::new(),
            is_over: false,
            form,
            selection,
            clock,
        };
        let is_explicitly_without = query.get("sendInitialEvents").is_some() && !wants_initial;
        if wants_initial || (matches!(asked, None | Some(0)) && !is_explicitly_without) {
            watch.start_with_all(state, wants_initial && has_bookmarks);
        } else if matches!(asked, None | Some(0)) {
            watch.version = state.version();
        } else if watch.version < state.past(table).since() {
            watch.expire(state.past(table).since());
        }
        Ok(watch)
    }

    fn start_with_all(&mut self, state: &State, ends_with_bookmark: bool) {
        self.version = state.version();
        let now = (self.clock)();
        let mut lines = BytesMut::new();
        for object in list::all(state.objects(self.form.kind.table), &self.selection) {
            put_line(&mut lines, "ADDED", &self.form.object(&object, now));
        }
        if ends_with_bookmark {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            put_line(&mut lines, "BOOKMARK", self.bookmark(&annotations).to_string().as_bytes());
        }
        if !lines.is_empty() {
            self.first.push_back(lines.freeze());
        }
    }

    fn bookmark(&self, annotations: &Value) -> Value {
        let kind = &self.form.kind;
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        let object = json!({ "kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata });
        self.form.bookmark(&object)
    }

    /// Tells that what was asked for is forgotten, and ends.
    fn expire(&mut self, since: u64) {
        let failure = Failure::expired(format!("too old resource version: {} ({since})", self.version));
        let mut line = BytesMut::new();
        put_line(&mut line, "ERROR", failure.status().to_string().as_bytes());
        self.first.push_back(line.freeze());
        self.is_over = true;
    }

    /// What happened since the last call, if anything that is meant did.
    fn read(&mut self, state: &State) -> Bytes {
        let past = state.past(self.form.kind.table);
        let Some(changes) = past.after(self.version, BATCH) else {
            self.expire(past.since());
            return Bytes::new();
        };
        if changes.len() < BATCH {
            self.version = self.version.max(state.version());
        }
        let now = (self.clock)();
        let mut lines = Vec::with_capacity(changes.len());
        for change in &changes {
            self.version = self.version.max(change.version);
            lines.extend(self.line(change, now));
        }
        match lines.as_slice() {
            [one] => one.clone(),
            several => several.concat().into(),
        }
    }

    fn line(&self, change: &Change, now: jiff::Timestamp) -> Option<Bytes> {
        let namespace = self.selection.namespace();
        if !namespace.is_empty() && change.key.namespace != namespace {
            return None;
        }
        let is_all = self.selection.is_everything();
        let is_meant = |object: &Object| is_all || self.selection.has(&object.value);
        let was = change.old.as_deref().is_some_and(is_meant);
        let is = !change.is_deletion && is_meant(&change.new);
        let (event, object) = match (was, is) {
            (false, false) => return None,
            (false, true) => ("ADDED", &change.new),
            (true, true) => ("MODIFIED", &change.new),
            (true, false) if change.is_deletion => ("DELETED", &change.new),
            (true, false) => return Some(self.left(change, now)),
        };
        let is_plain = self.form.is_verbatim() && (event != "ADDED" || change.old.is_none());
        let line = || {
            let mut line = BytesMut::new();
            put_line(&mut line, event, &self.form.object(object, now));
            line.freeze()
        };
        Some(if is_plain { change.line.get_or_init(line).clone() } else { line() })
    }

    /// The object is there still, but no longer one of the selected: it goes as it was, at the change's version.
    fn left(&self, change: &Change, now: jiff::Timestamp) -> Bytes {
        let old = change.old.as_deref().map_or(&Value::Null, |old| &old.value).clone();
        let mut line = BytesMut::new();
        put_line(&mut line, "DELETED", &self.form.object(&Object::at(old, change.version), now));
        line.freeze()
    }

    /// The next piece of the answer; `None` at its end.
    async fn next(&mut self, state: &Mutex<State>, stop: &CancellationToken) -> Option<Bytes> {
        loop {
            if let Some(line) = self.first.pop_front() {
                return Some(line);
            }
            if self.is_over || stop.is_cancelled() || self.deadline <= Instant::now() {
                return None;
            }
            self.bell.mark_unchanged();
            let lines = self.read(&state.lock().unwrap_or_else(PoisonError::into_inner));
            if !lines.is_empty() {
                return Some(lines);
            }
            if self.is_over || *self.bell.borrow() > self.version {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                rung = self.bell.changed() => if rung.is_err() { return None },
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(self.next_bookmark), if self.has_bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_PERIOD;
                    let current = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let lines = self.read(&current);
                    drop(current);
                    let mut all = BytesMut::from(&lines[..]);
                    if !self.is_over {
                        put_line(&mut all, "BOOKMARK", self.bookmark(&Value::Null).to_string().as_bytes());
                    }
                    return Some(all.freeze());
                }
            }
        }
    }

    /// The answer, piece by piece.
    pub(crate) fn stream(self, state: Arc<Mutex<State>>, stop: CancellationToken) -> impl Stream<Item = Bytes> {
        futures::stream::unfold((self, state, stop), |(mut watch, state, stop)| async move {
            let piece = watch.next(&state, &stop).await?;
            Some((piece, (watch, state, stop)))
        })
    }
}

/// `sendInitialEvents` needs its companion, as in a cluster.
fn check_initial(query: &Query, wants_initial: bool) -> Result<(), Failure> {
    let rule = query.get("resourceVersionMatch");
    if rule.is_some() && query.get("sendInitialEvents").is_none() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return Err(Failure::invalid_options(
            "ListOptions",
            &crate::schema::Cause {
                reason: "FieldValueForbidden",
                message: format!("Forbidden: {why}"),
                field: "resourceVersionMatch".into(),
            },
        ));
    }
    if wants_initial && rule != Some("NotOlderThan") {
        return Err(Failure::invalid_options(
            "ListOptions",
            &crate::schema::Cause {
                reason: "FieldValueForbidden",
                message: "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan".into(),
                field: "resourceVersionMatch".into(),
            },
        ));
    }
    Ok(())
}

fn put_line(lines: &mut BytesMut, event: &str, object: &[u8]) {
    lines.reserve(object.len() + 40);
    lines.put_slice(b"{\"type\":\"");
    lines.put_slice(event.as_bytes());
    lines.put_slice(b"\",\"object\":");
    lines.put_slice(object);
    lines.put_slice(b"}\n");
}
