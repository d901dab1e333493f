//! Commits that could not land yet, and what wakes them.
//!
//! A finished Commit never needs waking, and there are many; so what changes in the cluster is held
//! against the few that wait, by what their spec mentions.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::stream::BoxStream;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::Instant;
use varve_api::{commit::Commit, labels};

use crate::cx::Cx;

/// Pause before a failed import is tried again, doubled each time up to the longest.
const IMPORT_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// What a Commit's spec mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Repo,
    ConfigMap,
    Commit,
}

#[derive(Default)]
struct Entry {
    uid: String,
    mentions: BTreeSet<(Kind, String)>,
    import: Option<Import>,
}

#[derive(Clone)]
struct Import {
    failures: u32,
    next: Instant,
    message: String,
}

/// The Commits that wait, by namespace and name; each entry is of one object, not of the next by that name.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<(String, String), Entry>>);

impl Waiting {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, commit: &Commit) {
        of(&mut self.entries(), commit).mentions = mentions(commit);
    }

    pub(super) fn forget(&self, commit: &Commit) {
        self.entries().remove(&key(commit));
    }

    /// The import of this Commit failed just now: nobody tries again before the pause is over.
    pub(super) fn import_failed(&self, commit: &Commit, message: &str) {
        let mut entries = self.entries();
        let entry = of(&mut entries, commit);
        let failures = entry.import.as_ref().map_or(0, |import| import.failures);
        let pause = IMPORT_PAUSE.0.saturating_mul(1 << failures.min(16)).min(IMPORT_PAUSE.1);
        entry.import =
            Some(Import { failures: failures + 1, next: Instant::now() + pause, message: message.to_owned() });
    }

    /// How the last import of this Commit failed, and whether it is too early to try again.
    pub(super) fn last_failure(&self, commit: &Commit) -> Option<(String, bool)> {
        let entries = self.entries();
        let entry = entries.get(&key(commit)).filter(|entry| Some(&entry.uid) == commit.metadata.uid.as_ref())?;
        let import = entry.import.as_ref()?;
        Some((import.message.clone(), Instant::now() < import.next))
    }

    fn woken_by(&self, namespace: &str, kind: Kind, name: &str) -> Vec<ObjectRef<Commit>> {
        let wanted = (kind, name.to_owned());
        self.refs(namespace, |entry| entry.mentions.contains(&wanted))
    }

    fn refs(&self, namespace: &str, keep: impl Fn(&Entry) -> bool) -> Vec<ObjectRef<Commit>> {
        self.entries()
            .iter()
            .filter(|((space, _), entry)| space == namespace && keep(entry))
            .map(|((space, name), _)| ObjectRef::new(name).within(space))
            .collect()
    }
}

/// The entry of this very object, made anew where it was another's.
fn of<'a>(entries: &'a mut HashMap<(String, String), Entry>, commit: &Commit) -> &'a mut Entry {
    let uid = commit.uid().unwrap_or_default();
    let entry = entries.entry(key(commit)).or_default();
    if entry.uid != uid {
        *entry = Entry { uid, ..Entry::default() };
    }
    entry
}

fn key(commit: &Commit) -> (String, String) {
    (commit.namespace().unwrap_or_default(), commit.name_any())
}

fn mentions(commit: &Commit) -> BTreeSet<(Kind, String)> {
    let spec = &commit.spec;
    let mut all = BTreeSet::from([(Kind::Repo, spec.repo.clone())]);
    for reference in spec.parent.iter().chain(&spec.revert_to) {
        all.insert((Kind::Commit, reference.clone()));
    }
    for change in spec.changes.iter().flatten() {
        if let Some(copy) = &change.copy {
            all.insert((Kind::Repo, copy.from.repo.clone().unwrap_or_else(|| spec.repo.clone())));
            all.insert((Kind::Commit, copy.from.commit.clone()));
        }
        if let Some(map) = change.put.as_ref().and_then(|put| put.config_map.as_ref()) {
            all.insert((Kind::ConfigMap, map.name.clone()));
        }
    }
    all
}

/// What wakes Commits besides their own changes.
pub(super) fn triggers(cx: &Arc<Cx>, waiting: &Arc<Waiting>) -> Vec<BoxStream<'static, ObjectRef<Commit>>> {
    let all = cx.caches.commits.store();
    let (commits, gone) = (cx.caches.commits.clone(), waiting.clone());
    let wake = |kind: Kind| {
        let waiting = waiting.clone();
        move |namespace: Option<String>, name: String| waiting.woken_by(&namespace.unwrap_or_default(), kind, &name)
    };
    let (repo, map, commit) = (wake(Kind::Repo), wake(Kind::ConfigMap), wake(Kind::Commit));
    let by_pipeline = waiting.clone();
    vec![
        cx.caches.repos.triggers(all.clone(), move |object| repo(object.namespace(), object.name_any())),
        cx.caches.config_maps.triggers(all.clone(), move |object| map(object.namespace(), object.name_any())),
        cx.caches.commits.triggers(all.clone(), move |object| {
            if commits.get(&object.namespace().unwrap_or_default(), &object.name_any()).is_none() {
                gone.forget(object); // deleted: nobody waits any more
            }
            commit(object.namespace(), object.name_any())
        }),
        // A Pipeline that goes away gives its output branch back.
        cx.caches
            .pipelines
            .triggers(all.clone(), move |object| by_pipeline.refs(&object.namespace().unwrap_or_default(), |_| true)),
        cx.caches.batch_jobs.triggers(all.clone(), importing),
        cx.caches.pods.triggers(all, importing),
    ]
}

/// The Commit that a batch Job or a pod imports for.
fn importing<K: Resource>(object: &K) -> Option<ObjectRef<Commit>> {
    let name = object.meta().labels.as_ref()?.get(labels::COMMIT)?;
    Some(ObjectRef::new(name).within(object.meta().namespace.as_deref()?))
}

#[cfg(test)]
mod tests {
    use varve_api::commit::{Change, CommitSpec, ConfigMapSource, Copy, CopySource, Put};

    use super::*;

    #[test]
    fn a_waiting_commit_is_woken_by_what_its_spec_mentions_and_by_nothing_else() {
        let copy = Copy {
            path: "/a".into(),
            from: CopySource { repo: Some("archive".into()), commit: "first".into(), path: "/b".into() },
        };
        let put = Put {
            path: "/c".into(),
            config_map: Some(ConfigMapSource { name: "words".into(), key: None }),
            ..Put::default()
        };
        let spec = CommitSpec {
            repo: "images".into(),
            changes: Some(vec![
                Change { copy: Some(copy), ..Change::default() },
                Change { put: Some(put), ..Change::default() },
            ]),
            ..CommitSpec::default()
        };
        let mut commit = Commit::new("second", spec);
        commit.metadata.namespace = Some("field".into());
        let waiting = Waiting::default();
        waiting.insert(&commit);
        let woken = |namespace, kind, name| waiting.woken_by(namespace, kind, name).len();
        for (kind, name) in
            [(Kind::Repo, "images"), (Kind::Repo, "archive"), (Kind::Commit, "first"), (Kind::ConfigMap, "words")]
        {
            assert_eq!(woken("field", kind, name), 1, "{kind:?} {name}");
            assert_eq!(woken("elsewhere", kind, name), 0, "{kind:?} {name}");
        }
        assert_eq!(woken("field", Kind::Repo, "words"), 0);
        waiting.forget(&commit);
        assert_eq!(woken("field", Kind::Repo, "images"), 0);
    }

    #[test]
    fn a_commit_made_anew_under_a_name_does_not_inherit_the_failure_of_the_one_before() {
        let made = |uid: &str| {
            let mut commit = Commit::new("import", CommitSpec::default());
            commit.metadata.namespace = Some("field".into());
            commit.metadata.uid = Some(uid.into());
            commit
        };
        let (before, after) = (made("uid-1"), made("uid-2"));
        let waiting = Waiting::default();
        waiting.insert(&before);
        waiting.import_failed(&before, "404 Not Found");
        waiting.insert(&before);
        assert_eq!(waiting.last_failure(&before), Some(("404 Not Found".to_owned(), true)));
        assert_eq!(waiting.last_failure(&after), None);
        waiting.insert(&after);
        assert_eq!(waiting.last_failure(&after), None);
        assert_eq!(waiting.last_failure(&before), None);
    }
}
