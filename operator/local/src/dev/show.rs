//! What happens, a line for each change of standing that people care for; on a terminal a line more for what runs.

use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use varve_api::conditions::{self, HasConditions as _, Type};
use varve_api::{labels, show::size};

use super::looks::{Looks, shown_name};
use super::state::State;
use super::words;
use crate::runner::{Runner, View};

/// How often the line for what runs is written anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How wide the names' column is: as names are here, between these.
const NAME_WIDTHS: (usize, usize) = (16, 40);
/// What the name of a folder's Commit has more than its Repo's, and that of a Job more than its Pipeline's.
const ENDINGS: (usize, usize) = (20, 11);

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
                    "varve dev {version}: commands run on this machine, images are NOT USED (--runner podman uses them)"
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
pub(super) struct Showing {
    /// What came to its end before that is no news, but that a Pipeline's last Job has failed.
    since: Timestamp,
    told: HashMap<(&'static str, String), String>,
}

impl Showing {
    /// Everything from now on is news.
    pub(super) fn new() -> Self {
        Self { since: Timestamp::now(), told: HashMap::new() }
    }

    /// Shows what has changed since the last look.
    pub(super) fn look(&mut self, looks: &Looks, screen: &Screen) {
        let width = name_width(looks);
        for repo in looks.repos.state() {
            self.tell(screen, width, "repo", &shown_name(repo.as_ref()), words::words(repo.conditions(), ""));
        }
        let mut commits = looks.commits.state();
        commits.sort_by_key(|commit| commit.creation_timestamp());
        commits.retain(|commit| {
            let conditions = commit.conditions();
            !conditions::holds(conditions, Type::Ready) || self.is_news(conditions)
        });
        for commit in commits {
            self.tell(screen, width, "commit", &shown_name(commit.as_ref()), words::of_commit(&commit));
        }
        for pipeline in looks.pipelines.state() {
            self.tell(screen, width, "pipeline", &shown_name(pipeline.as_ref()), words::of_pipeline(&pipeline));
        }
        let mut jobs = looks.jobs.state();
        jobs.sort_by_key(|job| job.creation_timestamp());
        let last = last_jobs(looks);
        jobs.retain(|job| {
            let conditions = job.conditions();
            let is_last = last.contains(&(job.namespace(), job.name_any()));
            self.is_news(conditions) || is_last && !conditions::holds(conditions, Type::Ready)
        });
        for job in jobs {
            self.tell(screen, width, "job", &shown_name(job.as_ref()), words::of_job(&job));
        }
    }

    /// Shows what waits, and for what.
    pub(super) fn waiting(&mut self, looks: &Looks, screen: &Screen) {
        let width = name_width(looks);
        let mut tell = |kind, name: &str, conditions: &[Condition]| {
            let waiting = if kind == "pipeline" { words::waiting_itself } else { words::waiting };
            let told = waiting(conditions).map(|waiting| format!("{}  {}", waiting.reason, waiting.message));
            self.tell(screen, width, kind, name, told);
        };
        for it in looks.repos.state() {
            tell("repo", &shown_name(it.as_ref()), it.conditions());
        }
        for it in looks.pipelines.state() {
            tell("pipeline", &shown_name(it.as_ref()), it.conditions());
        }
        for it in looks.jobs.state() {
            tell("job", &shown_name(it.as_ref()), it.conditions());
        }
    }

    fn is_news(&self, conditions: &[Condition]) -> bool {
        let ready = conditions::find(conditions, Type::Ready.as_str());
        ready.is_some_and(|ready| ready.last_transition_time.0.as_second() >= self.since.as_second())
    }

    fn tell(&mut self, screen: &Screen, width: usize, kind: &'static str, name: &str, words: Option<String>) {
        let Some(words) = words else { return };
        let key = (kind, name.to_owned());
        if self.told.get(&key) == Some(&words) {
            return;
        }
        let time = Zoned::now().strftime("%H:%M:%S");
        screen.say(&format!("{time}  {kind:<8}  {name:<width$}  {words}"));
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
        if words::is_over(job) || words::waiting(&status.conditions).is_some() {
            return None;
        }
        let counts = status.datums.unwrap_or_default();
        let done = counts.skipped + counts.processed + counts.failed;
        Some(format!("{} {done} of {}", shown_name(job.as_ref()), counts.total))
    });
    at_work.collect()
}

/// As wide as the longest name that is, or is to be expected.
fn name_width(looks: &Looks) -> usize {
    let (of_commit, of_job) = ENDINGS;
    let repos = looks.repos.state().into_iter().map(|repo| {
        shown_name(repo.as_ref()).len() + if repo.annotations().contains_key(labels::FOLDER) { of_commit } else { 0 }
    });
    let pipelines = looks.pipelines.state().into_iter().map(|pipeline| shown_name(pipeline.as_ref()).len() + of_job);
    let (least, most) = NAME_WIDTHS;
    repos.chain(pipelines).max().unwrap_or(least).clamp(least, most)
}

/// Each Pipeline's last Job, by namespace and name.
fn last_jobs(looks: &Looks) -> HashSet<(Option<String>, String)> {
    let pipelines = looks.pipelines.state();
    let last = pipelines
        .iter()
        .filter_map(|pipeline| Some((pipeline.namespace(), pipeline.status.as_ref()?.last_job.as_ref()?.name.clone())));
    last.collect()
}

/// Files and bytes, as `8 files, 12 KiB`.
pub(super) fn amount(files: u64, bytes: u64) -> String {
    let plural = if files == 1 { "" } else { "s" };
    format!("{files} file{plural}, {}", size(bytes))
}
