//! The files that were given: read as `kubectl apply -f` reads them, and watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Error;

/// How files of objects end.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// How long a change may go on before it is read: editors write a file in several steps.
const PAUSE: Duration = Duration::from_millis(30);

/// One object as it stands in a file.
#[derive(Debug)]
pub(super) struct Document {
    /// `pipelines.yaml`, or `pipelines.yaml, document 2` where there are several.
    pub(super) place: String,
    /// The file it stands in.
    pub(super) file: PathBuf,
    /// The object; or why it can't be read.
    pub(super) object: Result<Value, String>,
}

/// Tells of changes below some folders.
pub(super) struct Changes {
    receiver: mpsc::Receiver<()>,
    /// When the change that has been heard of is told.
    due: Option<Instant>,
    watcher: Option<RecommendedWatcher>,
}

impl Changes {
    /// Watches nothing yet.
    pub(super) fn new(concerns: impl Fn(&Path) -> bool + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_change = event.is_ok_and(|event| {
                !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(|path| concerns(path)))
            });
            if is_change {
                let _ = sender.try_send(()); // one that waits to be heard stands for all
            }
        });
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "files can't be watched")).ok();
        Self { receiver, due: None, watcher }
    }

    /// Watches one folder more.
    pub(super) fn watch(&mut self, folder: &Path, mode: RecursiveMode) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Err(error) = watcher.watch(folder, mode) {
            tracing::warn!(%error, folder = %folder.display(), "folder can't be watched");
        }
    }

    /// Waits for a change; several at once are one. May be dropped while it waits: the change is told the next time.
    pub(super) async fn changed(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None if self.receiver.recv().await.is_some() => *self.due.insert(Instant::now() + PAUSE),
            None => std::future::pending().await, // nothing is watched
        };
        tokio::time::sleep_until(due).await;
        self.due = None;
        while self.receiver.try_recv().is_ok() {}
    }
}

/// Sees to it that each path is there, before anything is made beside it.
pub(super) fn check(paths: &[PathBuf]) -> Result<(), Error> {
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Error::Missing { path: path.clone() }),
        None => Ok(()),
    }
}

/// What was given on the command line.
pub(super) struct Given {
    paths: Vec<PathBuf>,
    changes: Changes,
}

impl Given {
    /// Begins to watch; each path must be there.
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self, Error> {
        let here = [PathBuf::from(".")];
        let paths = if paths.is_empty() { &here } else { paths };
        let mut changes = Changes::new(is_of_objects);
        check(paths)?;
        for path in paths {
            // A file is watched by its folder: editors replace it by another.
            let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new(".")) };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            changes.watch(folder, RecursiveMode::NonRecursive);
        }
        Ok(Self { paths: paths.to_vec(), changes })
    }

    /// Waits until one may have changed.
    pub(super) async fn changed(&mut self) {
        self.changes.changed().await;
    }

    /// The paths, for people.
    pub(super) fn shown(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// All objects, file by file, in the order of their names.
    pub(super) fn read(&self) -> Result<Vec<Document>, Error> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let entries = std::fs::read_dir(path).map_err(Error::file("read", path))?;
            let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            found.retain(|file| file.is_file() && is_of_objects(file));
            found.sort();
            files.extend(found);
        }
        Ok(files.iter().flat_map(|file| documents(file)).collect())
    }
}

fn is_of_objects(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// The objects of one file. What can't be read is told in its place; the rest counts.
fn documents(file: &Path) -> Vec<Document> {
    let shown = file.display().to_string();
    let document = |place: String, object| Document { place, file: file.to_owned(), object };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return vec![document(shown, Err(error.to_string()))],
    };
    let mut parts = Vec::new();
    for part in serde_yaml::Deserializer::from_str(&text).map(Value::deserialize) {
        let is_fault = part.is_err();
        parts.push(part);
        if is_fault {
            break; // behind a fault of YAML nothing can be told apart, and the parser gives the fault for ever
        }
    }
    let is_alone = parts.len() == 1;
    let mut found = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        let place = if is_alone { shown.clone() } else { format!("{shown}, document {}", index + 1) };
        match part {
            Ok(Value::Null) => {}
            Ok(Value::Object(mut list)) if list.get("kind").is_some_and(|kind| kind == "List") => {
                let items = list.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default();
                found.extend(items.into_iter().map(|item| document(place.clone(), Ok(item))));
            }
            Ok(object) => found.push(document(place, Ok(object))),
            Err(error) => found.push(document(place, Err(format!("this is no YAML: {error}")))),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_from_files_and_folders_and_a_fault_names_its_place() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write("b.yaml", "kind: Two\n---\n---\nkind: [\n");
        write("a.yml", "kind: One\n");
        write("c.txt", "kind: Nothing\n");
        write("d.json", r#"{"kind": "List", "items": [{"kind": "Three"}, {"kind": "Four"}]}"#);
        let given = Given { paths: vec![root.path().into()], changes: Changes::new(|_| true) };
        let read = given.read().unwrap();
        let shown: Vec<String> = read
            .iter()
            .map(|document| {
                let place = document.place.rsplit('/').next().unwrap_or_default();
                let kind =
                    document.object.as_ref().map_or("fault", |object| object["kind"].as_str().unwrap_or_default());
                format!("{place}: {kind}")
            })
            .collect();
        assert_eq!(
            shown,
            ["a.yml: One", "b.yaml, document 1: Two", "b.yaml, document 3: fault", "d.json: Three", "d.json: Four"]
        );
    }

    #[tokio::test]
    async fn a_file_that_an_editor_replaces_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        std::fs::write(&file, "kind: One\n").unwrap();
        let mut given = Given::new(std::slice::from_ref(&file)).unwrap();
        let partial = root.path().join("a.yaml~");
        std::fs::write(&partial, "kind: Two\n").unwrap();
        std::fs::rename(&partial, &file).unwrap();
        given.changed().await;
        assert_eq!(given.read().unwrap()[0].object.as_ref().unwrap()["kind"], "Two");
    }

    #[tokio::test]
    async fn a_change_whose_telling_was_interrupted_is_told_the_next_time() {
        let (sender, receiver) = mpsc::channel(1);
        let mut changes = Changes { receiver, due: None, watcher: None };
        sender.try_send(()).unwrap();
        assert!(futures::poll!(std::pin::pin!(changes.changed())).is_pending()); // and dropped
        changes.changed().await;
    }

    #[test]
    fn a_fault_at_the_beginning_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        std::fs::write(&file, "kind: [\n").unwrap();
        let found = documents(&file);
        assert_eq!((found.len(), &found[0].place), (1, &file.display().to_string()));
        assert!(found[0].object.as_ref().unwrap_err().contains("line 2"), "{:?}", found[0].object);
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let error = check(&["/no/such/folder".into()]).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/folder is not there"), "{error}");
    }
}
