//! What happens, a line for each change of standing that people care for; on a terminal a line more for what runs.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Zoned;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use varve_api::conditions::{self, Reason, Type};
use varve_api::{Commit, Job, Pipeline, Repo, show::size};

use super::looks::{Looks, shown_name};
use super::state::State;
use crate::runner::{Runner, View};

/// How often the line for what runs is written anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Reasons of Pipelines that need no line: their Jobs have one, or nothing has happened.
const QUIET_REASONS: [Reason; 4] = [Reason::UpToDate, Reason::JobRunning, Reason::WaitingForInput, Reason::Progressing];

/// Standard output.
pub(super) struct Screen {
    is_terminal: bool,
    /// Whether the last line is one that is written over.
    is_fleeting: Mutex<bool>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), is_fleeting: Mutex::new(false) }
    }

    /// A line of its own.
    pub(super) fn say(&self, line: &str) {
        let mut is_fleeting = self.is_fleeting.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if std::mem::take(&mut *is_fleeting) { "\r\x1b[2K" } else { "" };
        // Whoever closed the pipe does not want to know.
        let _ = writeln!(std::io::stdout(), "{clear}{line}");
    }

    /// What was refused, on standard error.
    pub(super) fn refuse(&self, line: &str) {
        let mut is_fleeting = self.is_fleeting.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *is_fleeting) {
            let _ = write!(std::io::stdout(), "\r\x1b[2K");
        }
        let _ = writeln!(std::io::stderr(), "refused: {line}");
    }

    /// What is not well at the end, on standard error.
    pub(super) fn fail(&self, line: &str) {
        self.fleeting_end();
        let _ = writeln!(std::io::stderr(), "not well: {line}");
    }

    /// A line that the next one takes the place of.
    fn fleeting(&self, line: &str) {
        let mut is_fleeting = self.is_fleeting.lock().unwrap_or_else(PoisonError::into_inner);
        *is_fleeting = !line.is_empty();
        let _ = write!(std::io::stdout(), "\r\x1b[2K{line}");
        let _ = std::io::stdout().flush();
    }

    pub(super) fn welcome(&self, state: &State, runner: &Runner, address: SocketAddr) {
        let version = env!("CARGO_PKG_VERSION");
        match (runner.name(), runner.view()) {
            ("process", view) => {
                self.say(&format!(
                    "varve dev {version}: commands run on this machine; NO IMAGE IS USED (--runner podman uses them)"
                ));
                if view == View::Outside {
                    self.say("          /pfs can't be had here: code finds its inputs by their variables, and out in $PFS/out");
                }
            }
            (engine, _) => self.say(&format!("varve dev {version}: images run by {engine}")),
        }
        self.say(&format!("state     {}", state.folder().display()));
        self.say(&format!("API       http://{address}"));
        self.say(&format!("kubectl   export KUBECONFIG={}", state.kubeconfig().display()));
        self.say("");
    }

    pub(super) fn goodbye(&self, state: &State, was_stopped: bool) {
        self.fleeting_end();
        if was_stopped {
            self.say(&format!("stopped; all that was done is kept in {}", state.folder().display()));
        }
    }

    fn fleeting_end(&self) {
        let mut is_fleeting = self.is_fleeting.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *is_fleeting) {
            let _ = write!(std::io::stdout(), "\r\x1b[2K");
        }
    }
}

/// What was shown, so that only news is.
#[derive(Default)]
pub(super) struct Showing {
    told: HashMap<(&'static str, String), String>,
}

impl Showing {
    /// Shows what has changed since the last look.
    pub(super) fn look(&mut self, looks: &Looks, screen: &Screen) {
        for repo in looks.repos.state() {
            let conditions = repo.status.as_ref().map_or(&[][..], |status| &status.conditions);
            self.tell(screen, "repo", &shown_name(repo.as_ref()), words(conditions, ""));
        }
        let mut commits = looks.commits.state();
        commits.sort_by_key(|commit| commit.creation_timestamp());
        for commit in commits {
            self.tell(screen, "commit", &shown_name(commit.as_ref()), of_commit(&commit));
        }
        for pipeline in looks.pipelines.state() {
            self.tell(screen, "pipeline", &shown_name(pipeline.as_ref()), of_pipeline(&pipeline));
        }
        let mut jobs = looks.jobs.state();
        jobs.sort_by_key(|job| job.creation_timestamp());
        for job in jobs {
            self.tell(screen, "job", &shown_name(job.as_ref()), of_job(&job));
        }
    }

    fn tell(&mut self, screen: &Screen, kind: &'static str, name: &str, words: Option<String>) {
        let Some(words) = words else { return };
        let key = (kind, name.to_owned());
        if self.told.get(&key) == Some(&words) {
            return;
        }
        let time = Zoned::now().strftime("%H:%M:%S");
        screen.say(&format!("{time}  {kind:<9} {name:<24} {words}"));
        self.told.insert(key, words);
    }

    /// Ends once there is something at work to show again.
    pub(super) async fn tick(looks: &Looks, screen: &Screen) {
        if !screen.is_terminal || working(looks).is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(PROGRESS_EVERY).await;
    }

    /// Shows what is at work.
    pub(super) fn progress(looks: &Looks, screen: &Screen) {
        screen.fleeting(&working(looks).join("; "));
    }
}

/// The Jobs at work, and how far they are.
fn working(looks: &Looks) -> Vec<String> {
    let jobs = looks.jobs.state();
    let at_work = jobs.iter().filter_map(|job| {
        let status = job.status.as_ref()?;
        if conditions::find(&status.conditions, Type::Succeeded.as_str()).is_some() {
            return None;
        }
        let counts = status.datums.unwrap_or_default();
        let done = counts.skipped + counts.processed + counts.failed;
        Some(format!("{} {done} of {}", shown_name(job.as_ref()), counts.total))
    });
    at_work.collect()
}

/// `Ready`, with what else there is to say; or why not.
fn words(conditions: &[Condition], more: &str) -> Option<String> {
    let ready = conditions::find(conditions, Type::Ready.as_str())?;
    if ready.status == "True" {
        let gap = if more.is_empty() { "" } else { "  " };
        return Some(format!("{}{gap}{more}", ready.reason));
    }
    let is_stalled = conditions::holds(conditions, Type::Stalled);
    is_stalled.then(|| format!("{}  {}", ready.reason, ready.message))
}

fn of_commit(commit: &Commit) -> Option<String> {
    let status = commit.status.as_ref()?;
    let all = [(status.added, "added"), (status.changed, "changed"), (status.removed, "removed")];
    let told = all.iter().filter_map(|(count, what)| Some(format!("{} {what}", count.filter(|count| *count > 0)?)));
    let told = told.collect::<Vec<_>>().join(", ");
    words(&status.conditions, if told.is_empty() { "no change" } else { &told })
}

fn of_pipeline(pipeline: &Pipeline) -> Option<String> {
    let status = pipeline.status.as_ref()?;
    let ready = conditions::find(&status.conditions, Type::Ready.as_str())?;
    let is_quiet = QUIET_REASONS.iter().any(|reason| reason.as_str() == ready.reason)
        || ready.reason == Reason::JobFailed.as_str(); // its Job says why
    if is_quiet { None } else { words(&status.conditions, &ready.message) }
}

fn of_job(job: &Job) -> Option<String> {
    let status = job.status.as_ref()?;
    let counts = status.datums.unwrap_or_default();
    let took = status.took.as_deref().map(|took| format!(" in {took}")).unwrap_or_default();
    let counted = format!("{} processed, {} skipped{took}", counts.processed, counts.skipped);
    let ended = conditions::find(&status.conditions, Type::Succeeded.as_str());
    if ended.is_some() || conditions::holds(&status.conditions, Type::Stalled) {
        return words(&status.conditions, &counted);
    }
    None
}

/// What is not well: of every object that can't be as wanted its name and why.
pub(super) fn faults(looks: &Looks) -> Vec<String> {
    fn stalled(conditions: &[Condition], kind: &str, name: &str) -> Option<String> {
        let stalled = conditions::find(conditions, Type::Stalled.as_str()).filter(|it| it.status == "True")?;
        Some(format!("{kind} {name}: {}: {}", stalled.reason, stalled.message))
    }
    let mut faults = Vec::new();
    let mut look = |conditions: Option<&[Condition]>, kind: &str, name: String| {
        faults.extend(conditions.and_then(|conditions| stalled(conditions, kind, &name)));
    };
    for it in looks.repos.state() {
        look(it.status.as_ref().map(|status| status.conditions.as_slice()), "Repo", shown_name::<Repo>(&it));
    }
    for it in looks.commits.state() {
        look(it.status.as_ref().map(|status| status.conditions.as_slice()), "Commit", shown_name::<Commit>(&it));
    }
    for it in looks.pipelines.state() {
        look(it.status.as_ref().map(|status| status.conditions.as_slice()), "Pipeline", shown_name::<Pipeline>(&it));
    }
    faults
}

/// Files and bytes, as `8 files, 12 KiB`.
pub(super) fn amount(files: u64, bytes: u64) -> String {
    let plural = if files == 1 { "" } else { "s" };
    format!("{files} file{plural}, {}", size(bytes))
}
