//! Which commits of the inputs go together, and in which order Jobs take them.
//!
//! A set holds one commit of each input. It is *consistent* where any two of its commits that stand on the same
//! branch of the same Repo, directly or through Pipelines between, stand on the same commit of it: in a diamond the
//! joining Pipeline only ever sees what comes from one source Commit. Sets are taken in the order of their runs; a
//! commit that can be in no consistent set (its sibling's Job failed) is passed over as soon as a later one can.

use std::collections::BTreeMap;

use uuid::Uuid;

/// How many partial choices one search for the next set may make.
///
/// Consistency is a constraint problem, and a spec can be made up whose search is exponential; real ones need one choice
/// per input and step. Beyond this the search counts as having found nothing, and is made again when something changes.
const MAX_CHOICES: u32 = 10_000;

/// One input: a branch, what was taken of it last, and what it has since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputCommits {
    /// The input's name in the Pipeline.
    pub input: String,
    /// The Repo's uid in the store.
    pub repo: Uuid,
    /// The Repo's name.
    pub repo_name: String,
    /// The branch.
    pub branch: String,
    /// The commit that the last set (recorded, running or failed) took; none before the first.
    pub last: Option<Candidate>,
    /// `Ready` commits after it, oldest first.
    pub new: Vec<Candidate>,
}

impl InputCommits {
    /// The same, its runs ascending along the branch. Uids of Commits that were made within one second are in no order
    /// (`docs/decisions/0080`), but sets are taken in the order of runs, and a branch's commits in that of the branch.
    #[must_use]
    pub fn ascending(mut self) -> Self {
        let mut newest = self.last.as_ref().map(|last| last.run);
        for candidate in &mut self.new {
            candidate.run = newest.map_or(candidate.run, |newest| newest.max(candidate.run));
            newest = Some(candidate.run);
        }
        self
    }
}

/// A commit that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its uid.
    pub uid: Uuid,
    /// Its place on the branch.
    pub seq: u64,
    /// The uid of the source Commit that set it off; a UUID of version 7, so the order of runs is that of time.
    pub run: Uuid,
    /// Every commit it stands on, inputs of inputs included; not itself.
    pub closure: Vec<Ancestor>,
}

/// A commit that another stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// The Repo's uid in the store.
    pub repo: Uuid,
    /// The Repo's name.
    pub repo_name: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: Uuid,
}

/// One commit of each input, in the order of the inputs given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSet {
    /// The commits' uids.
    pub commits: Vec<Uuid>,
    /// The newest of their runs: the id of the run that a Job over them belongs to.
    pub run: Uuid,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These sets, in this order.
    Run(Vec<InputSet>),
    /// Nothing yet: why, in a sentence.
    Wait(String),
    /// Nothing: every commit is taken.
    UpToDate,
}

/// The next sets, at most `most` of them.
pub fn next_sets(inputs: &[InputCommits], most: usize) -> Next {
    let mut state = Chosen::last(inputs);
    let mut sets = Vec::new();
    while sets.len() < most {
        let Some(next) = next_set(inputs, &state) else { break };
        let commits = next.iter().zip(inputs).filter_map(|(&at, input)| Some(candidate(input, at)?.uid)).collect();
        let runs = next.iter().zip(inputs).filter_map(|(&at, input)| Some(candidate(input, at)?.run));
        sets.push(InputSet { commits, run: runs.max().unwrap_or_default() });
        state = Chosen(next.into_iter().map(Some).collect());
    }
    if !sets.is_empty() {
        return Next::Run(sets);
    }
    match why_waiting(inputs) {
        Some(why) => Next::Wait(why),
        None => Next::UpToDate,
    }
}

/// A place among an input's candidates: 0 is the last one taken, 1 the first new one.
type Place = usize;

/// Where each input stands; none where nothing was ever taken.
struct Chosen(Vec<Option<Place>>);

impl Chosen {
    fn last(inputs: &[InputCommits]) -> Self {
        Self(inputs.iter().map(|input| input.last.as_ref().map(|_| 0)).collect())
    }
}

fn candidate(input: &InputCommits, place: Place) -> Option<&Candidate> {
    match place.checked_sub(1) {
        None => input.last.as_ref(),
        Some(new) => input.new.get(new),
    }
}

/// The next set after `state`: the one that takes the oldest new commit it can, and of the other inputs the oldest.
fn next_set(inputs: &[InputCommits], state: &Chosen) -> Option<Vec<Place>> {
    let new_places = |index: usize| state.0[index].map_or(1, |at| at + 1)..=inputs[index].new.len();
    let mut steps: Vec<(Uuid, usize, Place)> = (0..inputs.len())
        .flat_map(|index| new_places(index).map(move |place| (index, place)))
        .filter_map(|(index, place)| Some((candidate(&inputs[index], place)?.run, index, place)))
        .collect();
    steps.sort_unstable();
    let open: Vec<Vec<Place>> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| (state.0[index].unwrap_or(1)..=input.new.len()).collect())
        .collect();
    let mut search = Search { inputs, choices_left: MAX_CHOICES };
    steps.into_iter().find_map(|(_, index, place)| {
        let mut open = open.clone();
        open[index] = vec![place];
        search.choose(index, &Standing::new(), &open, &vec![None; inputs.len()])
    })
}

/// Branches, each with the commit of it that everything chosen so far stands on.
type Standing<'a> = BTreeMap<(Uuid, &'a str), Uuid>;

/// A depth-first search that, after each choice, keeps of the other inputs only what still agrees with it.
struct Search<'a> {
    inputs: &'a [InputCommits],
    choices_left: u32,
}

impl<'a> Search<'a> {
    /// Chooses for the input at `index`, then for the others in order. `open`: what each input may still take.
    fn choose(
        &mut self,
        index: usize,
        standing: &Standing<'a>,
        open: &[Vec<Place>],
        chosen: &[Option<Place>],
    ) -> Option<Vec<Place>> {
        for &place in &open[index] {
            self.choices_left = self.choices_left.checked_sub(1)?;
            let mut chosen = chosen.to_vec();
            chosen[index] = Some(place);
            let mut together = standing.clone();
            together.extend(
                candidate(&self.inputs[index], place).into_iter().flat_map(|c| stands_on(&self.inputs[index], c)),
            );
            let agrees = |(input, places): (&InputCommits, &Vec<Place>)| -> Vec<Place> {
                places.iter().copied().filter(|&place| agrees(&together, input, place)).collect()
            };
            let still_open: Vec<Vec<Place>> = self.inputs.iter().zip(open).map(agrees).collect();
            let nothing_left = (0..open.len()).any(|other| chosen[other].is_none() && still_open[other].is_empty());
            if nothing_left {
                continue;
            }
            match chosen.iter().position(Option::is_none) {
                None => return chosen.into_iter().collect(),
                Some(next) => {
                    if let Some(found) = self.choose(next, &together, &still_open, &chosen) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}

/// Whether a candidate stands on nothing else than what all others stand on.
fn agrees(standing: &Standing<'_>, input: &InputCommits, place: Place) -> bool {
    let stands_alike = |candidate| {
        stands_on(input, candidate).all(|(branch, commit)| standing.get(&branch).is_none_or(|other| *other == commit))
    };
    candidate(input, place).is_some_and(stands_alike)
}

fn stands_on<'a>(
    input: &'a InputCommits,
    candidate: &'a Candidate,
) -> impl Iterator<Item = ((Uuid, &'a str), Uuid)> + use<'a> {
    let own = ((input.repo, input.branch.as_str()), candidate.uid);
    let closure = candidate.closure.iter().map(|ancestor| ((ancestor.repo, ancestor.branch.as_str()), ancestor.commit));
    std::iter::once(own).chain(closure)
}

/// Why nothing can be taken though something is there; none where nothing is there.
fn why_waiting(inputs: &[InputCommits]) -> Option<String> {
    if let Some(empty) = inputs.iter().find(|input| input.last.is_none() && input.new.is_empty()) {
        let InputCommits { input, repo_name, branch, .. } = empty;
        return Some(format!(
            "input {input} waits for the first Commit on branch {branch} of Repo {repo_name}: commit something there"
        ));
    }
    let (ahead, newest) = inputs
        .iter()
        .filter_map(|input| Some((input, input.new.last()?)))
        .max_by_key(|(_, candidate)| candidate.run)?;
    let behind = inputs.iter().filter(|input| input.input != ahead.input).find_map(|input| {
        let current = input.new.last().or(input.last.as_ref())?;
        let branch = disagreement(ahead, newest, input, current)?;
        Some((input, branch))
    });
    let Some((behind, (repo, branch))) = behind else {
        return Some("no Commits of the inputs go together yet: a later Commit of any of them may".to_owned());
    };
    Some(format!(
        "input {} stands on another Commit of branch {branch} of Repo {repo} than input {}: waiting for Repo {} to \
         follow (if the Job that writes it has failed, a further Commit to {repo} starts both anew)",
        behind.input, ahead.input, behind.repo_name
    ))
}

/// The branch on whose commit two candidates disagree: its Repo's name and its own.
fn disagreement<'a>(
    ahead: &'a InputCommits,
    newest: &'a Candidate,
    behind: &'a InputCommits,
    current: &'a Candidate,
) -> Option<(&'a str, &'a str)> {
    let standing: Standing<'_> = stands_on(ahead, newest).collect();
    let (branch, _) = stands_on(behind, current)
        .find(|(branch, commit)| standing.get(branch).is_some_and(|other| other != commit))?;
    let ancestors = newest.closure.iter().chain(&current.closure);
    let named = ancestors.map(|ancestor| (ancestor.repo, ancestor.repo_name.as_str()));
    let own = [(ahead.repo, ahead.repo_name.as_str()), (behind.repo, behind.repo_name.as_str())];
    let name = own.into_iter().chain(named).find(|(repo, _)| *repo == branch.0).map_or("", |(_, name)| name);
    Some((name, branch.1))
}

#[cfg(test)]
#[path = "trigger_tests.rs"]
mod tests;
