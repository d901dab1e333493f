//! Pipelines that feed each other in a circle: each commit of one would set off the next, for ever.
//!
//! Within one Pipeline [`crate::inputs`] sees that it reads what it writes. Over several, the youngest is held back:
//! one that stands still is enough, and what worked before it was made goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use varve_api::pipeline::PipelineSpec;

/// A Repo's name and a branch's.
type Branch = (String, String);

/// What a Pipeline reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The Pipeline's name.
    pub name: String,
    /// When it was made, in seconds since 1970, and its uid: of two the smaller is the older.
    pub born: (i64, String),
    reads: BTreeSet<Branch>,
    writes: Branch,
}

impl Flow {
    /// Of the Pipeline `name`.
    pub fn of(name: &str, born: (i64, String), spec: &PipelineSpec) -> Self {
        let leaves = spec.inputs.iter().filter(|input| input.glob.is_some());
        Self {
            name: name.to_owned(),
            born,
            reads: leaves.map(|input| (input.repo().to_owned(), input.branch().to_owned())).collect(),
            writes: (spec.output_repo(name).to_owned(), spec.output_branch().to_owned()),
        }
    }
}

/// The shortest circle that `own` closes over older Pipelines of its namespace: their names, from its own on, each
/// writing what the next reads and the last what the first reads.
pub fn circle(own: &Flow, all: &[Flow]) -> Option<Vec<String>> {
    let older: Vec<&Flow> = all.iter().filter(|flow| flow.born < own.born).collect();
    let mut reached_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([own]);
    while let Some(at) = queue.pop_front() {
        if at.name != own.name && own.reads.contains(&at.writes) {
            let mut names = vec![at.name.clone()];
            let mut trail = at.name.as_str();
            while let Some(&before) = reached_from.get(trail) {
                names.push(before.to_owned());
                trail = before;
            }
            names.reverse();
            return Some(names);
        }
        for &next in older.iter().filter(|flow| flow.reads.contains(&at.writes)) {
            if !reached_from.contains_key(next.name.as_str()) {
                reached_from.insert(&next.name, &at.name);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use varve_api::pipeline::{Input, Output};

    use super::*;

    /// A Pipeline that reads these Repos and writes the one of its own name.
    fn flow(name: &str, born: i64, reads: &[&str]) -> Flow {
        let input = |repo: &&str| Input {
            name: format!("from-{repo}"),
            repo: Some((*repo).to_owned()),
            glob: Some("/*".into()),
            ..Input::default()
        };
        let spec = PipelineSpec { inputs: reads.iter().map(input).collect(), ..PipelineSpec::default() };
        Flow::of(name, (born, format!("uid of {name}")), &spec)
    }

    fn circle_of(own: usize, all: &[Flow]) -> Option<Vec<&str>> {
        let names = circle(&all[own], all)?;
        Some(all.iter().filter(|flow| names.contains(&flow.name)).map(|flow| flow.name.as_str()).collect())
    }

    #[test]
    fn of_two_pipelines_that_read_each_other_the_younger_is_held_back() {
        let all = [flow("a", 1, &["source", "b"]), flow("b", 2, &["a"])];
        assert_eq!(circle(&all[1], &all), Some(vec!["b".to_owned(), "a".to_owned()]));
        assert_eq!(circle(&all[0], &all), None, "what worked before goes on");
    }

    #[test]
    fn a_circle_over_three_is_named_whole_and_a_diamond_is_none() {
        let ring = [flow("a", 1, &["c"]), flow("b", 3, &["a"]), flow("c", 2, &["b"]), flow("d", 4, &["a", "b", "c"])];
        assert_eq!(circle(&ring[1], &ring), Some(["b", "c", "a"].map(str::to_owned).into()));
        assert_eq!(circle_of(3, &ring), None, "it only reads from the circle");
        let diamond = [flow("a", 1, &["s"]), flow("b", 2, &["s", "a"]), flow("c", 3, &["a", "b"])];
        assert_eq!([0, 1, 2].map(|own| circle_of(own, &diamond)), [None, None, None]);
    }

    #[test]
    fn another_branch_of_the_same_repo_is_another_place() {
        let mut a = flow("a", 1, &["b"]);
        let output = Some(Output { repo: None, branch: Some("side".into()) });
        a.writes = Flow::of("a", a.born.clone(), &PipelineSpec { output, ..PipelineSpec::default() }).writes;
        assert_eq!(circle_of(1, &[a, flow("b", 2, &["a"])]), None);
    }
}
