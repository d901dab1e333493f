//! What a Job's status says, and that of its output's Commit object: pure functions of facts.

use jiff::Timestamp;
use kube::ResourceExt;
use varve_api::{
    Job,
    commit::{CommitProvenance, CommitStatus},
    conditions::{self, Reason, State, Type},
    job::{
        DatumCounts, Failure, JobStatus, MAX_DATUM_NAME, MAX_FIRST_FAILURES, MAX_LAST_LINES, Provenance, ShardCounts,
    },
    pipeline::Input,
    show,
};
use varve_engine::explain::{FailedDatum, failed_datums, timed_out};
use varve_format::{Hash, MapKind};
use varve_store::ContentRef;

use super::{
    batch::run_of,
    decide::{Failure as Why, Work},
    inputs::At,
    planning::{Planned, PlannedDatum},
    record::Summary,
    results::{End, Results},
};
use crate::commit::{pack_ref, record_ref};

/// The most characters of an explanation.
const MAX_EXPLANATION: usize = 2048;

/// How a Job stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// In kstatus's terms.
    pub(crate) state: State,
    /// Why.
    pub(crate) reason: Reason,
    /// In words.
    pub(crate) message: String,
}

impl Standing {
    /// A standing.
    pub(crate) fn new(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into() }
    }
}

/// The status of a Job that has not ended.
pub(crate) fn on_the_way(job: &Job, now: Timestamp, standing: Standing, progress: Progress) -> JobStatus {
    let old = job.status.clone().unwrap_or_default();
    let Progress { datums, shards, first_failures, spec_digest } = progress;
    let mut provenance = old.provenance.clone().unwrap_or_else(|| provenance(job));
    provenance.spec_digest = spec_digest.map(|digest| digest.to_string()).or(provenance.spec_digest);
    JobStatus {
        datums: datums.or(old.datums),
        shards: shards.or(old.shards),
        first_failures: if first_failures.is_empty() { old.first_failures } else { first_failures },
        provenance: Some(provenance),
        ..base(job, now, standing, None)
    }
}

/// What is known of a Job at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) datums: Option<DatumCounts>,
    pub(crate) shards: Option<ShardCounts>,
    pub(crate) first_failures: Vec<Failure>,
    pub(crate) spec_digest: Option<Hash>,
}

/// The status of a Job whose commit is on its branch.
pub(crate) fn succeeded(job: &Job, at: &At, summary: &Summary, shards: Option<ShardCounts>) -> JobStatus {
    let ended = time_of(summary.times_ns.1);
    let standing = if summary.total == 0 {
        Standing::new(State::Ready, Reason::GlobMatchesNothing, nothing_matches(&job.spec.snapshot.spec.inputs))
    } else {
        let Summary { total, processed, .. } = summary;
        let skipped = total.saturating_sub(*processed);
        Standing::new(State::Ready, Reason::Succeeded, format!("{processed} processed, {skipped} skipped"))
    };
    let is_empty = summary.total == 0;
    let message = standing.message.clone();
    JobStatus {
        datums: Some(counts(summary)),
        shards: Some(ended_shards(shards.or_else(|| shards_before(job)))),
        output_commit: Some(at.head.commit.to_string()),
        explanation: is_empty.then_some(message),
        provenance: Some(full_provenance(job, summary, at.commit.job_record.as_ref(), digest_of(at))),
        took: took(summary),
        ..base(job, ended, standing, Some(true))
    }
}

/// Says of which inputs, with which globs, there is nothing to work on.
fn nothing_matches(inputs: &[Input]) -> String {
    let shown = |input: &Input| {
        let glob = input.glob.as_deref()?;
        Some(format!("{glob} of input {} (Repo {}, branch {})", input.name, input.repo(), input.branch()))
    };
    let globs: Vec<String> = inputs.iter().filter_map(shown).collect();
    let what = match globs.as_slice() {
        [only] => format!("no file matches the glob {only}"),
        several => format!("no files match, or fit together, of the globs {}", several.join("; ")),
    };
    format!(
        "{what}: there are no datums, and the output is empty. If that is not meant, correct the glob, or commit such files"
    )
}

/// How a Job failed.
pub(crate) struct Failed<'a> {
    pub(crate) why: &'a Why,
    pub(crate) planned: Option<&'a Planned>,
    pub(crate) results: Option<&'a Results>,
    pub(crate) work: Work,
    /// What stands in its record, and where that lies; none where it was never planned.
    pub(crate) record: Option<(&'a Summary, &'a ContentRef)>,
    pub(crate) shards: Option<ShardCounts>,
    pub(crate) now: Timestamp,
}

/// The status of a Job that has ended without an output.
pub(crate) fn failed(job: &Job, facts: &Failed<'_>) -> JobStatus {
    let failures = match (facts.planned, facts.results) {
        (Some(planned), Some(results)) => first_failures(planned, results),
        _ => Vec::new(),
    };
    let (reason, message) = reason(facts);
    let ended = facts.record.map_or(facts.now, |(summary, _)| time_of(summary.times_ns.1));
    let standing = Standing::new(State::Stalled, reason, message);
    let mut provenance = match facts.record {
        Some((summary, at)) => {
            let digest = facts.planned.map(|planned| planned.spec_digest);
            full_provenance(job, summary, Some(at), digest)
        }
        None => provenance(job),
    };
    provenance.completion_time = Some(ended.to_string());
    let explanation = Some(cut(&standing.message, MAX_EXPLANATION));
    JobStatus {
        datums: facts.record.map(|(summary, _)| DatumCounts {
            skipped: summary.total.saturating_sub(facts.work.to_run), // what was not run any more counts nowhere
            ..counts(summary)
        }),
        shards: Some(ShardCounts { active: 0, ..facts.shards.or_else(|| shards_before(job)).unwrap_or_default() }),
        explanation,
        first_failures: failures,
        took: facts.record.and_then(|(summary, _)| took(summary)),
        provenance: Some(provenance),
        ..base(job, ended, standing, Some(false))
    }
}

fn reason(facts: &Failed<'_>) -> (Reason, String) {
    match facts.why {
        Why::Cancelled if facts.planned.is_none() => {
            (Reason::Canceled, "cancelled; it could not be planned, so nothing of it is remembered".to_owned())
        }
        Why::Cancelled => (Reason::Canceled, "cancelled; datums that were done are remembered".to_owned()),
        Why::TimedOut => (Reason::TimedOut, timed_out().message()),
        Why::Mismatch(why) => (Reason::ImageMismatch, why.clone()),
        Why::Hopeless(reason, why) | Why::Never(reason, why) => (*reason, why.clone()),
        Why::Datums => {
            let total = facts.planned.map_or(0, |planned| planned.total);
            let first = facts.planned.zip(facts.results).and_then(|(planned, results)| first_failed(planned, results));
            let message = first.map(|first| failed_datums(facts.work.failed, total, &first));
            (Reason::DatumsFailed, message.unwrap_or_else(|| "datums failed".to_owned()))
        }
    }
}

/// The first datums that failed, in the order of their keys.
pub(crate) fn first_failures(planned: &Planned, results: &Results) -> Vec<Failure> {
    let failed = planned.datums.iter().filter_map(|datum| failure(datum, results));
    failed.take(MAX_FIRST_FAILURES).collect()
}

/// The first of them, with all that is known of it: what the status shows of its last lines is shorter.
fn first_failed(planned: &Planned, results: &Results) -> Option<FailedDatum> {
    let (datum, result) = planned.datums.iter().find_map(|datum| Some((datum, &failed_end(datum, results)?.result)))?;
    Some(FailedDatum {
        name: cut(&datum.key.to_string(), MAX_DATUM_NAME),
        reason: result.reason.clone(),
        exit_code: result.exit_code,
        signal: result.signal,
        tries: result.tries,
        last_lines: result.tail.clone(),
    })
}

fn failed_end<'a>(datum: &PlannedDatum, results: &'a Results) -> Option<&'a End> {
    let after = datum.after.as_ref()?;
    results.end(datum.key.as_bytes(), &after.hash).filter(|end| !end.is_success())
}

fn failure(datum: &PlannedDatum, results: &Results) -> Option<Failure> {
    let after = datum.after.as_ref()?;
    let end = failed_end(datum, results)?;
    let tail = end.result.tail.trim_end();
    Some(Failure {
        datum: cut(&datum.key.to_string(), MAX_DATUM_NAME),
        id: after.hash.to_string(),
        reason: cut(&end.result.reason, 64),
        exit_code: end.result.exit_code,
        signal: end.result.signal,
        tries: end.result.tries,
        last_lines: (!tail.is_empty()).then(|| last(tail, MAX_LAST_LINES)),
    })
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The last characters of a text.
fn last(text: &str, most: usize) -> String {
    let skipped = text.chars().count().saturating_sub(most);
    text.chars().skip(skipped).collect()
}

fn base(job: &Job, now: Timestamp, standing: Standing, succeeded: Option<bool>) -> JobStatus {
    let old = job.status.as_ref();
    let generation = job.metadata.generation.unwrap_or_default();
    let Standing { state, reason, message } = standing;
    let shown = cut(&message, MAX_EXPLANATION);
    let mut all = conditions::standing(state, reason, &shown, generation, now);
    if let Some(succeeded) = succeeded {
        all.push(conditions::condition(Type::Succeeded, succeeded, reason, &shown, generation, now));
    }
    if let Some(old) = old {
        conditions::keep_times(&mut all, &old.conditions);
    }
    JobStatus {
        observed_generation: Some(generation),
        conditions: all,
        run: run_of(job).map(|run| run.to_string()),
        explanation: succeeded.is_none().then_some(shown),
        ..JobStatus::default()
    }
}

fn provenance(job: &Job) -> Provenance {
    let image = &job.spec.snapshot.image;
    Provenance {
        inputs: job.spec.inputs.clone(),
        image: Some(image.reference.clone()),
        image_digest: Some(image.identity().to_owned()),
        start_time: job.creation_timestamp().map(|time| time.0.to_string()),
        ..Provenance::default()
    }
}

fn full_provenance(job: &Job, summary: &Summary, record: Option<&ContentRef>, digest: Option<Hash>) -> Provenance {
    Provenance {
        spec_digest: digest.map(|digest| digest.to_string()),
        nodes: summary.nodes.clone(),
        devices: summary.devices.clone(),
        start_time: Some(time_of(summary.times_ns.0).to_string()),
        completion_time: Some(time_of(summary.times_ns.1).to_string()),
        record: record.and_then(|content| pack_ref(&content.at)),
        ..provenance(job)
    }
}

fn digest_of(at: &At) -> Option<Hash> {
    at.commit.identity.provenance.as_ref()?.spec_digest().ok()
}

fn counts(summary: &Summary) -> DatumCounts {
    let Summary { total, processed, failed, .. } = summary;
    let skipped = total.saturating_sub(*processed).saturating_sub(*failed);
    DatumCounts { total: *total, skipped, processed: *processed, failed: *failed }
}

/// The shards that the status has told of: the batch Job may be gone before the Job's end is told.
fn shards_before(job: &Job) -> Option<ShardCounts> {
    job.status.as_ref()?.shards
}

/// Shards of a Job that has ended well: none is at work any more, whatever Kubernetes has noticed yet.
fn ended_shards(shards: Option<ShardCounts>) -> ShardCounts {
    let shards = shards.unwrap_or_default();
    ShardCounts { active: 0, succeeded: shards.total.saturating_sub(shards.failed), ..shards }
}

fn took(summary: &Summary) -> Option<String> {
    let (started, ended) = summary.times_ns;
    let nanoseconds = u64::try_from(ended.saturating_sub(started)).ok()?;
    Some(show::span(nanoseconds / 1_000_000_000))
}

fn time_of(unix_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default()
}

/// The status of the output's Commit object.
pub(crate) fn commit(job: &Job, at: &At, generation: i64, old: &CommitStatus) -> CommitStatus {
    let identity = &at.commit.identity;
    let tree = at.commit.tree();
    let changes = identity.changes.unwrap_or_default();
    let time = time_of(at.head.time_ns);
    let message = format!("on branch {} as number {}", at.head.branch, identity.sequence);
    let mut all = conditions::standing(State::Ready, Reason::Committed, &message, generation, time);
    all.push(conditions::condition(Type::Succeeded, true, Reason::Committed, &message, generation, time));
    conditions::keep_times(&mut all, &old.conditions);
    let provenance = identity.provenance.as_ref().map(|provenance| CommitProvenance {
        pipeline: provenance.pipeline.clone(),
        job: provenance.job.clone(),
        job_uid: provenance.job_uid.clone(),
        spec_digest: provenance.spec_digest().map(|digest| digest.to_string()).unwrap_or_default(),
        image: provenance.image.clone(),
        image_digest: provenance.image_config_digest.clone(),
        inputs: job.spec.inputs.clone(),
    });
    CommitStatus {
        observed_generation: Some(generation),
        conditions: all,
        uid: Some(at.head.commit.to_string()),
        seq: Some(at.head.seq),
        seal: Some(at.head.seal.to_string()),
        tree: identity.map(&MapKind::TREE).and_then(|root| Some(root.id().ok()?.to_string())),
        record: Some(record_ref(at.head.record)),
        files: Some(tree.files),
        bytes: Some(tree.bytes),
        size: Some(show::size(tree.bytes)),
        added: Some(changes.added),
        changed: Some(changes.changed),
        removed: Some(changes.removed),
        parent: identity.parents.first().and_then(|parent| Some(parent.uid().ok()?.to_string())),
        run: identity.run().ok().map(|run| run.to_string()),
        provenance,
        time: Some(show::time(at.head.time_ns)),
        ..CommitStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_its_end_and_printed_lines_at_their_beginning() {
        assert_eq!((cut("abc", 3), cut("abcd", 3), last("abcd", 3)), ("abc".into(), "ab…".into(), "bcd".into()));
    }

    #[test]
    fn globs_that_match_nothing_are_named_with_their_inputs() {
        let input = |name: &str, repo: Option<&str>, glob: Option<&str>| Input {
            name: name.into(),
            repo: repo.map(Into::into),
            glob: glob.map(Into::into),
            ..Input::default()
        };
        let one = [input("images", Some("photos"), Some("/*.png"))];
        assert_eq!(
            nothing_matches(&one),
            "no file matches the glob /*.png of input images (Repo photos, branch main): there are no datums, and the output \
             is empty. If that is not meant, correct the glob, or commit such files"
        );
        let [first] = one;
        let both = [first, input("rates", None, Some("/")), input("both", None, None)];
        assert!(nothing_matches(&both).starts_with(
            "no files match, or fit together, of the globs /*.png of input images (Repo photos, branch main); / of input \
             rates (Repo rates, branch main): "
        ));
    }

    #[test]
    fn every_datum_of_an_ended_job_is_skipped_processed_or_failed() {
        let summary = Summary { total: 9, processed: 3, failed: 2, ..Summary::default() };
        assert_eq!(counts(&summary), DatumCounts { total: 9, skipped: 4, processed: 3, failed: 2 });
    }
}
