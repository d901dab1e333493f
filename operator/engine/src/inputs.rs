//! A Pipeline's flat list of inputs → the tree that it stands for.
//!
//! Leaves read a branch of a Repo through a glob; crosses and unions combine. The list's order means nothing (an
//! apply may reorder it), so leaves are sorted by name and two lists that mean the same give equal trees. The API
//! server has checked names and single use; what it cannot see (cycles, globs, mounts) is checked here.

use std::collections::{BTreeMap, BTreeSet};

use varve_api::conditions::Reason;
use varve_api::pipeline::{Input, PipelineSpec};
use varve_format::{BranchName, RepoName};

use crate::glob::{Glob, GlobError};

/// The most alternatives that unions inside crosses may unfold to.
///
/// Each alternative is a cross of leaves with datums of its own; four unions of eight crossed make 4,096.
pub const MAX_ARMS: usize = 4096;

/// What a Pipeline reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputTree {
    leaves: Vec<Leaf>,
    arms: Vec<Vec<usize>>,
}

/// An input that reads a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its name in the Pipeline.
    pub name: String,
    /// The folder under `/pfs` where its files are seen.
    pub mount: String,
    /// The Repo that it reads.
    pub repo: RepoName,
    /// The branch that it reads.
    pub branch: BranchName,
    /// What makes a datum.
    pub glob: Glob,
    /// In a cross: where this input matches nothing, the others go on without it.
    pub is_optional: bool,
}

impl InputTree {
    /// Reads the inputs of `spec`, for a Pipeline of the name `pipeline`.
    pub fn parse(pipeline: &str, spec: &PipelineSpec) -> Result<Self, InputError> {
        let entries: BTreeMap<&str, &Input> = spec.inputs.iter().map(|input| (input.name.as_str(), input)).collect();
        let roots = roots(spec, &entries)?;
        let mut walk = Walk { entries: &entries, leaves: BTreeMap::new(), trail: Vec::new(), used: BTreeSet::new() };
        let mut crossed = vec![BTreeSet::new()];
        for root in roots {
            crossed = cross(&crossed, &walk.arms(root)?)?;
        }
        // With no root named, what no root leads to leads to itself.
        if let (None, Some(apart)) = (&spec.input, entries.keys().find(|name| !walk.used.contains(**name))) {
            return Err(InputError::Cycle { names: cycle_from(apart, &entries) });
        }
        let leaves: Vec<Leaf> = walk.leaves.into_values().collect();
        let place: BTreeMap<&str, usize> =
            leaves.iter().enumerate().map(|(index, leaf)| (leaf.name.as_str(), index)).collect();
        let mut arms: Vec<Vec<usize>> =
            crossed.iter().map(|arm| arm.iter().map(|name| place[name.as_str()]).collect()).collect();
        arms.sort();
        let tree = Self { leaves, arms };
        tree.check_mounts()?;
        tree.check_output(spec.output_repo(pipeline), spec.output_branch())?;
        Ok(tree)
    }

    /// The leaves, sorted by name.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The tree unfolded to a union of crosses: each arm lists indices into [`Self::leaves`], ascending.
    ///
    /// Every datum belongs to exactly one arm, the one of its members' inputs.
    pub fn arms(&self) -> &[Vec<usize>] {
        &self.arms
    }

    /// Whether the same files give the same datum keys under both trees: then a change of files can be planned by
    /// that change alone. Which Repo and branch are read makes no difference to that.
    pub fn has_shape_of(&self, other: &Self) -> bool {
        let same_leaf = |(a, b): (&Leaf, &Leaf)| {
            a.name == b.name && a.mount == b.mount && a.glob == b.glob && a.is_optional == b.is_optional
        };
        self.leaves.len() == other.leaves.len()
            && self.arms == other.arms
            && self.leaves.iter().zip(&other.leaves).all(same_leaf)
    }

    /// Two inputs that one datum holds may not be seen at the same folder.
    fn check_mounts(&self) -> Result<(), InputError> {
        for arm in &self.arms {
            let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
            for leaf in arm.iter().map(|&index| &self.leaves[index]) {
                if let Some(first) = seen.insert(&leaf.mount, &leaf.name) {
                    let (mount, second) = (leaf.mount.clone(), leaf.name.clone());
                    return Err(InputError::MountTaken { mount, first: first.to_owned(), second });
                }
            }
        }
        Ok(())
    }

    fn check_output(&self, repo: &str, branch: &str) -> Result<(), InputError> {
        match self.leaves.iter().find(|leaf| leaf.repo.as_str() == repo && leaf.branch.as_str() == branch) {
            Some(leaf) => Err(InputError::ReadsItsOutput {
                input: leaf.name.clone(),
                repo: repo.to_owned(),
                branch: branch.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// The entry that is the whole, or all that no other uses.
fn roots<'a>(spec: &'a PipelineSpec, entries: &BTreeMap<&'a str, &'a Input>) -> Result<Vec<&'a str>, InputError> {
    if let Some(root) = &spec.input {
        return Ok(vec![root.as_str()]);
    }
    let used: BTreeSet<&str> = spec.inputs.iter().flat_map(members).map(String::as_str).collect();
    let roots: Vec<&str> = entries.keys().copied().filter(|name| !used.contains(name)).collect();
    if !roots.is_empty() {
        return Ok(roots);
    }
    match spec.inputs.first() {
        Some(first) => Err(InputError::Cycle { names: cycle_from(&first.name, entries) }),
        None => Err(InputError::None),
    }
}

fn members(input: &Input) -> impl Iterator<Item = &String> {
    input.cross.iter().flatten().chain(input.union.iter().flatten())
}

/// Where every entry is a member of another, following first members runs into a circle.
fn cycle_from(start: &str, entries: &BTreeMap<&str, &Input>) -> Vec<String> {
    let owner = |member: &str| {
        entries.values().find(|input| members(input).any(|name| name == member)).map(|input| input.name.clone())
    };
    let mut trail = vec![start.to_owned()];
    while let Some(next) = trail.last().and_then(|name| owner(name)) {
        if let Some(at) = trail.iter().position(|name| *name == next) {
            let mut names = trail.split_off(at);
            names.reverse();
            return names;
        }
        trail.push(next);
    }
    trail
}

/// The names of the leaves of one alternative.
type Arm = BTreeSet<String>;

struct Walk<'a> {
    entries: &'a BTreeMap<&'a str, &'a Input>,
    leaves: BTreeMap<String, Leaf>,
    trail: Vec<&'a str>,
    used: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn arms(&mut self, name: &'a str) -> Result<Vec<Arm>, InputError> {
        if let Some(at) = self.trail.iter().position(|&above| above == name) {
            let names = self.trail[at..].iter().map(|&name| name.to_owned()).collect();
            return Err(InputError::Cycle { names });
        }
        let Some(&input) = self.entries.get(name) else {
            return Err(InputError::Unknown { name: name.to_owned() });
        };
        if !self.used.insert(name) {
            return Err(InputError::UsedTwice { name: name.to_owned() });
        }
        self.trail.push(name);
        let arms = if let Some(glob) = &input.glob {
            self.leaves.insert(name.to_owned(), leaf(input, glob)?);
            vec![Arm::from([name.to_owned()])]
        } else if let Some(members) = &input.union {
            let mut arms = Vec::new();
            for member in members {
                arms.extend(self.arms(member)?);
            }
            arms
        } else {
            let mut arms = vec![Arm::new()];
            for member in input.cross.iter().flatten() {
                arms = cross(&arms, &self.arms(member)?)?;
            }
            arms
        };
        self.trail.pop();
        Ok(arms)
    }
}

fn leaf(input: &Input, glob: &str) -> Result<Leaf, InputError> {
    let named = |source| InputError::Glob { input: input.name.clone(), source };
    let wrong = |source| InputError::Name { input: input.name.clone(), source };
    Ok(Leaf {
        name: input.name.clone(),
        mount: input.mount().to_owned(),
        repo: RepoName::parse(input.repo()).map_err(wrong)?,
        branch: BranchName::parse(input.branch()).map_err(wrong)?,
        glob: Glob::parse(glob).map_err(named)?,
        is_optional: input.optional.unwrap_or(false),
    })
}

fn cross(left: &[Arm], right: &[Arm]) -> Result<Vec<Arm>, InputError> {
    let arms = left.len().saturating_mul(right.len());
    if arms > MAX_ARMS {
        return Err(InputError::TooManyArms { arms });
    }
    Ok(left.iter().flat_map(|a| right.iter().map(move |b| a.union(b).cloned().collect())).collect())
}

/// Why a Pipeline's inputs can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No entry at all.
    #[error("inputs must have at least one entry")]
    None,
    /// Entries that are made of each other.
    #[error("the inputs {} are made of each other: each must in the end be made of inputs with a glob", .names.join(" → "))]
    Cycle {
        /// The names, each a member's owner before its member.
        names: Vec<String>,
    },
    /// A member that isn't there.
    #[error("the input {name} is not in inputs: add it, or take it out of the cross or union that names it")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A member of two combinations.
    #[error("the input {name} is used twice: to read it twice, list it twice under two names")]
    UsedTwice {
        /// The name.
        name: String,
    },
    /// A glob that can't be read.
    #[error("the glob of input {input} can't be read: {source}")]
    Glob {
        /// The input.
        input: String,
        /// Why.
        source: GlobError,
    },
    /// A repo's or branch's name that may not be.
    #[error("input {input}: {source}")]
    Name {
        /// The input.
        input: String,
        /// Why.
        source: varve_format::NameError,
    },
    /// Two inputs of one datum at one folder.
    #[error("the inputs {first} and {second} are both seen at /pfs/{mount}: give one of them another `as`")]
    MountTaken {
        /// The folder under `/pfs`.
        mount: String,
        /// One input.
        first: String,
        /// The other.
        second: String,
    },
    /// A Pipeline that would trigger itself.
    #[error(
        "input {input} reads branch {branch} of Repo {repo}, which this Pipeline writes: set `output` to another Repo or branch"
    )]
    ReadsItsOutput {
        /// The input.
        input: String,
        /// The Repo.
        repo: String,
        /// The branch.
        branch: String,
    },
    /// Unions inside crosses that unfold to too much.
    #[error(
        "crossing these unions gives {arms} combinations of inputs, and at most {MAX_ARMS} are allowed: read several branches by fewer unions"
    )]
    TooManyArms {
        /// How many.
        arms: usize,
    },
}

impl InputError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Cycle { .. } => Reason::InputCycle,
            Self::ReadsItsOutput { .. } => Reason::InputIsOutput,
            Self::Glob { .. } => Reason::GlobInvalid,
            Self::MountTaken { .. } => Reason::MountTaken,
            Self::None
            | Self::Unknown { .. }
            | Self::UsedTwice { .. }
            | Self::Name { .. }
            | Self::TooManyArms { .. } => Reason::InputInvalid,
        }
    }
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
