//! A Job without a cluster: a store in a folder, a plan in it, and pods that are a real keeper and
//! a real shim over a shared folder.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use rustix::process::{Pid, Signal};
use uuid::Uuid;
use varve_format::records::{DatumResult, Plan, PlanDatum, PlanMember, PlanShard, Task, TaskInput};
use varve_format::{Hash, MapKind, RepoPath};
use varve_store::{ContentRef, Entry, NodeRef, Store, TreeEdit, backend};
use varve_worker::install::Install;

/// Longest any awaited thing may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A store, an input repo in it, and what was planned.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) job_uid: Uuid,
    pub(crate) inputs: NodeRef,
    pub(crate) plan: Option<Hash>,
    /// Whether the keepers of its pods are told that a killed shim is started again.
    pub(crate) restarts_in_place: bool,
    /// How long they wait for a shim.
    pub(crate) first_contact: Duration,
}

impl World {
    /// A store whose input repo holds these files.
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("secret")).unwrap();
        let url = format!("file://{}", root.path().join("bucket").display());
        fs::write(root.path().join("secret/url"), url).unwrap();
        let objects = backend::local(&root.path().join("bucket")).unwrap();
        let store = Store::open(objects, object_store::path::Path::default()).await.unwrap();
        let session = store.session();
        let mut edits = Vec::new();
        for (path, text) in files {
            let content = session.write_bytes(text.as_bytes().to_vec()).await.unwrap();
            edits.push((RepoPath::parse(path).unwrap(), TreeEdit::Put(Entry::file(content))));
        }
        let inputs = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.unwrap();
        session.flush().await.unwrap();
        let first_contact = Duration::from_secs(20);
        Self { root, store, job_uid: Uuid::now_v7(), inputs, plan: None, restarts_in_place: false, first_contact }
    }

    /// A task that runs a shell script.
    pub(crate) fn task(script: &str) -> Task {
        Task {
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            working_dir: String::new(),
            tries: 3,
            timeout_seconds: 0,
            accept_exit_codes: Vec::new(),
            inputs: vec![TaskInput {
                name: "images".into(),
                mount: "photos".into(),
                commit: "commit-of-images".into(),
            }],
            job_name: "edges-k3".into(),
            output_commit: "commit-of-edges".into(),
        }
    }

    /// Plans one shard with a datum for each of these paths of the input repo; "" is all of it.
    pub(crate) async fn plan(&mut self, task: Task, paths: &[&str]) {
        let mut datums = Vec::new();
        for path in paths {
            let entry = if path.is_empty() {
                Entry::Directory(self.inputs.clone())
            } else {
                self.store.find(&self.inputs, &RepoPath::parse(path).unwrap()).await.unwrap().unwrap()
            };
            let member = PlanMember {
                input: "images".into(),
                mount: "photos".into(),
                path: (*path).to_owned(),
                kind: u32::from(u8::from(entry.kind())),
                id: entry.id().to_vec(),
                files: entry.files(),
                bytes: entry.bytes(),
                at: entry.at().to_vec(),
                absent: false,
            };
            let hash = Hash::of_content(path.as_bytes()).to_vec();
            datums.push(PlanDatum { key: path.as_bytes().to_vec(), hash, members: vec![member], tries_used: 0 });
        }
        self.put_plan(task, datums).await;
    }

    pub(crate) async fn put_plan(&mut self, task: Task, datums: Vec<PlanDatum>) {
        let header = Plan {
            format: 1,
            job_uid: self.job_uid.as_bytes().to_vec(),
            attempt: 0,
            spec_digest: vec![7; 32],
            task: Some(task),
            shard_index: Vec::new(),
        };
        let bytes = varve_format::plan::encode(header, &[PlanShard { datums }]);
        self.plan = Some(self.store.put_plan(self.job_uid, bytes).await.unwrap());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A new pod of the Job, started.
    pub(crate) fn pod(&self) -> Pod {
        Pod::start(self, Users::default())
    }

    /// Every record of the Job's shard, in the order in which they were written.
    pub(crate) async fn results(&self) -> Vec<DatumResult> {
        let keys = self.store.list_shard_results(self.job_uid, 0).await.unwrap();
        let records: Vec<_> = self.store.read_results(self.job_uid, keys).try_collect().await.unwrap();
        let mut all: Vec<DatumResult> = records.into_iter().flat_map(|(_, record)| record.datums).collect();
        all.sort_by_key(|result| (result.started_ns, result.tries));
        all
    }

    /// The one final result of each datum, by key.
    pub(crate) async fn finished(&self) -> BTreeMap<String, DatumResult> {
        let mut finished = BTreeMap::new();
        for result in self.results().await {
            if result.state() != varve_format::records::ResultState::TryFailed {
                let key = String::from_utf8(result.key.clone()).unwrap();
                assert!(finished.insert(key, result).is_none(), "a datum finished twice");
            }
        }
        finished
    }

    /// The files of a tree: their texts, links as `-> target`, executables with a `*` before.
    pub(crate) async fn files(&self, node: &NodeRef) -> BTreeMap<String, String> {
        let entries: Vec<_> = self.store.walk(node).try_collect().await.unwrap();
        let mut files = BTreeMap::new();
        for (path, entry) in entries {
            let content = entry.content().unwrap();
            let text = self.text(content).await;
            let text = match entry {
                Entry::Symlink { .. } => format!("-> {text}"),
                Entry::File { executable: true, .. } => format!("*{text}"),
                _ => text,
            };
            files.insert(path.as_str().to_owned(), text);
        }
        files
    }

    pub(crate) async fn text(&self, content: &ContentRef) -> String {
        String::from_utf8_lossy(&self.store.read_all(content, 1 << 20).await.unwrap()).into_owned()
    }

    pub(crate) async fn log(&self, result: &DatumResult) -> String {
        self.text(&ContentRef::try_from(result.log.as_ref().unwrap()).unwrap()).await
    }

    pub(crate) async fn output(&self, result: &DatumResult) -> BTreeMap<String, String> {
        self.files(&NodeRef::try_from(result.output.as_ref().unwrap()).unwrap()).await
    }
}

/// The users that a pod's two containers run as; the test's own if none.
#[derive(Default, Clone, Copy)]
pub(crate) struct Users {
    pub(crate) keeper: Option<u32>,
    pub(crate) shim: Option<u32>,
}

/// A pod: one keeper and one shim.
pub(crate) struct Pod {
    pub(crate) volume: PathBuf,
    pub(crate) keeper: Child,
    pub(crate) shim: Child,
    pub(crate) termination_log: PathBuf,
    /// What the keeper logs.
    pub(crate) log: PathBuf,
    users: Users,
}

impl Pod {
    pub(crate) fn start(world: &World, users: Users) -> Self {
        let pod_uid = Uuid::now_v7();
        let volume = world.path(&format!("volume-{pod_uid}"));
        fs::create_dir(&volume).unwrap();
        Install { shim: env!("CARGO_BIN_EXE_varve-shim").into(), volume: volume.clone(), names: "/etc".into() }
            .run()
            .unwrap();
        let termination_log = world.path(&format!("termination-{pod_uid}"));
        fs::write(&termination_log, "").unwrap();
        if let Some(user) = users.keeper {
            for folder in [volume.clone(), world.path("bucket"), world.path("secret"), termination_log.clone()] {
                give(&folder, user);
            }
        }
        let mut keeper = Command::new(program());
        keeper
            .arg("keeper")
            .env("VARVE_VOLUME", &volume)
            .env("VARVE_PFS", volume.join("pfs"))
            .env("VARVE_STORE", world.path("secret"))
            .env("VARVE_ALLOW_LOCAL_STORES", "true")
            .env("VARVE_TERMINATION_LOG", &termination_log)
            .env("VARVE_PLAN", world.plan.map(|plan| plan.to_string()).unwrap_or_default())
            .env("VARVE_JOB_UID", world.job_uid.to_string())
            .env("VARVE_POD_UID", pod_uid.to_string())
            .env("VARVE_NODE", "node-7")
            .env("JOB_COMPLETION_INDEX", "0")
            .env("VARVE_FIRST_CONTACT_MS", world.first_contact.as_millis().to_string());
        if world.restarts_in_place {
            keeper.env("VARVE_RESTARTS_IN_PLACE", "true");
        }
        if let Some(user) = users.keeper {
            keeper.uid(user).gid(user);
        }
        let log = world.path(&format!("log-{pod_uid}"));
        keeper.stderr(fs::File::create(&log).unwrap());
        let shim = start_shim(world, &volume, users.shim);
        Self { volume, keeper: keeper.spawn().unwrap(), shim, termination_log, log, users }
    }

    /// Kills the shim as a lack of memory does, and waits until it is gone.
    pub(crate) fn kill_shim(&mut self) {
        kill(&self.shim, Signal::KILL);
        assert_eq!(wait(&mut self.shim), None);
    }

    /// Starts the shim again in its pod, as kubelet does.
    pub(crate) fn start_shim_again(&mut self, world: &World) {
        self.shim = start_shim(world, &self.volume, self.users.shim);
    }

    /// The exit codes of keeper and shim, once both have ended.
    pub(crate) fn ended(mut self) -> (Option<i32>, Option<i32>) {
        (wait(&mut self.keeper), wait(&mut self.shim))
    }

    /// What the keeper said last.
    pub(crate) fn last_words(&self) -> varve_worker::termination::Termination {
        serde_json::from_str(&fs::read_to_string(&self.termination_log).unwrap()).unwrap()
    }

    pub(crate) fn signal_both(&self, signal: Signal) {
        kill(&self.keeper, signal);
        kill(&self.shim, signal);
    }
}

fn start_shim(world: &World, volume: &Path, user: Option<u32>) -> Child {
    let mut shim = Command::new(volume.join("ctl/varve-shim"));
    shim.env("VARVE_SHIM_SOCKET", volume.join("ctl/keeper.sock"))
        .env("VARVE_SHIM_OUT", volume.join("pfs/out"))
        .env("VARVE_SHIM_CGROUP", world.path("cgroup"))
        .env("VARVE_SHIM_GRACE_MS", "500")
        .env("VARVE_SHIM_REFUSED_MS", "500")
        .env("NVIDIA_VISIBLE_DEVICES", "gpu-3")
        .env("TEST", world.root.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(user) = user {
        shim.uid(user).gid(user);
    }
    spawn_copied(&mut shim)
}

/// Starts a program that was just copied: another test's child may hold the copy open for writing until its own `exec`.
fn spawn_copied(command: &mut Command) -> Child {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {}
            other => return other.unwrap(),
        }
    }
}

fn give(folder: &Path, user: u32) {
    std::os::unix::fs::lchown(folder, Some(user), Some(user)).unwrap();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

pub(crate) fn kill(process: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn wait(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("a process did not end in {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until a condition holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// This crate's example, which `cargo test` builds beside the tests.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/program")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How often the user's code ran: each run of a test's script adds a line.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
