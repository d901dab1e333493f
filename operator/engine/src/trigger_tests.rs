use proptest::prelude::*;

use super::*;

fn id(text: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Uuid::from_bytes(bytes)
}

/// Commit `name` of run `run`, standing on `(repo, commit)` pairs.
fn commit(name: &str, seq: u64, run: u8, closure: &[(&str, &str)]) -> Candidate {
    let ancestor = |(repo, commit): &(&str, &str)| Ancestor {
        repo: id(repo),
        repo_name: (*repo).to_owned(),
        branch: "main".to_owned(),
        commit: id(commit),
    };
    Candidate { uid: id(name), seq, run: Uuid::from_bytes([run; 16]), closure: closure.iter().map(ancestor).collect() }
}

fn input(repo: &str, last: Option<Candidate>, new: Vec<Candidate>) -> InputCommits {
    let (input, branch) = (format!("in-{repo}"), "main".to_owned());
    InputCommits { input, repo: id(repo), repo_name: repo.to_owned(), branch, last, new }
}

fn sets(inputs: &[InputCommits]) -> Vec<Vec<Uuid>> {
    match next_sets(inputs, 10) {
        Next::Run(sets) => sets.into_iter().map(|set| set.commits).collect(),
        Next::Wait(_) | Next::UpToDate => Vec::new(),
    }
}

fn ids<const N: usize>(names: [&str; N]) -> Vec<Uuid> {
    names.map(id).to_vec()
}

#[test]
fn commits_of_one_second_keep_the_order_of_their_branch() {
    let run = |run| commit("a", 1, run, &[]);
    let ascending = input("a", Some(run(5)), vec![run(3), run(9), run(7)]).ascending();
    let runs: Vec<u8> = ascending.new.iter().map(|candidate| candidate.run.as_bytes()[0]).collect();
    assert_eq!(runs, [5, 9, 9]);
}

#[test]
fn each_commit_of_a_single_input_gets_its_own_set_in_branch_order() {
    let new = vec![commit("a2", 2, 2, &[]), commit("a3", 3, 3, &[])];
    let inputs = [input("a", Some(commit("a1", 1, 1, &[])), new)];
    assert_eq!(sets(&inputs), [ids(["a2"]), ids(["a3"])]);
}

#[test]
fn independent_inputs_are_taken_in_the_order_of_their_runs() {
    let inputs = [
        input("a", Some(commit("a1", 1, 1, &[])), vec![commit("a2", 2, 4, &[])]),
        input("b", Some(commit("b1", 1, 2, &[])), vec![commit("b2", 2, 3, &[]), commit("b3", 3, 5, &[])]),
    ];
    assert_eq!(sets(&inputs), [ids(["a1", "b2"]), ids(["a2", "b2"]), ids(["a2", "b3"])]);
}

#[test]
fn a_set_belongs_to_the_newest_of_its_runs() {
    let inputs = [
        input("a", Some(commit("a1", 1, 9, &[])), vec![]),
        input("b", Some(commit("b1", 1, 2, &[])), vec![commit("b2", 2, 3, &[])]),
    ];
    let Next::Run(sets) = next_sets(&inputs, 1) else { panic!("something is new") };
    assert_eq!(sets[0].run, Uuid::from_bytes([9; 16]));
}

#[test]
fn a_diamond_waits_for_both_arms_and_says_for_which() {
    let inputs = [
        input("edges", Some(commit("e1", 1, 1, &[("images", "i1")])), vec![commit("e2", 2, 2, &[("images", "i2")])]),
        input("sizes", Some(commit("s1", 1, 1, &[("images", "i1")])), vec![]),
    ];
    let Next::Wait(why) = next_sets(&inputs, 10) else { panic!("nothing goes together") };
    assert_eq!(
        why,
        "input in-sizes stands on another Commit of branch main of Repo images than input in-edges: waiting for Repo \
         sizes to follow (if the Job that writes it has failed, a further Commit to images starts both anew)"
    );
}

#[test]
fn a_diamond_goes_on_once_both_arms_have_come() {
    let inputs = [
        input("edges", Some(commit("e1", 1, 1, &[("images", "i1")])), vec![commit("e2", 2, 2, &[("images", "i2")])]),
        input("sizes", Some(commit("s1", 1, 1, &[("images", "i1")])), vec![commit("s2", 2, 2, &[("images", "i2")])]),
    ];
    assert_eq!(sets(&inputs), [ids(["e2", "s2"])]);
}

#[test]
fn a_source_that_is_itself_an_input_waits_for_what_is_made_of_it() {
    let mut inputs = [
        input("images", Some(commit("i1", 1, 1, &[])), vec![commit("i2", 2, 2, &[])]),
        input("edges", Some(commit("e1", 1, 1, &[("images", "i1")])), vec![]),
    ];
    assert!(matches!(next_sets(&inputs, 10), Next::Wait(_)));
    inputs[1].new.push(commit("e2", 2, 2, &[("images", "i2")]));
    assert_eq!(sets(&inputs), [ids(["i2", "e2"])]);
}

#[test]
fn a_failed_middle_commit_does_not_block_later_ones() {
    let edges = vec![commit("e2", 2, 2, &[("images", "i2")]), commit("e3", 3, 3, &[("images", "i3")])];
    let sizes = vec![commit("s3", 2, 3, &[("images", "i3")])]; // the Job over i2 has failed
    let inputs = [
        input("edges", Some(commit("e1", 1, 1, &[("images", "i1")])), edges),
        input("sizes", Some(commit("s1", 1, 1, &[("images", "i1")])), sizes),
    ];
    assert_eq!(sets(&inputs), [ids(["e3", "s3"])]);
}

#[test]
fn two_inputs_of_one_branch_stand_on_one_commit() {
    let new = || vec![commit("a2", 2, 2, &[]), commit("a3", 3, 3, &[])];
    let last = || Some(commit("a1", 1, 1, &[]));
    let inputs = [input("a", last(), new()), InputCommits { input: "again".into(), ..input("a", last(), new()) }];
    assert_eq!(sets(&inputs), [ids(["a2", "a2"]), ids(["a3", "a3"])]);
}

#[test]
fn an_input_without_any_commit_is_waited_for_by_name() {
    let inputs = [input("a", None, vec![commit("a1", 1, 1, &[])]), input("b", None, vec![])];
    let expected = "input in-b waits for the first Commit on branch main of Repo b: commit something there";
    assert_eq!(next_sets(&inputs, 1), Next::Wait(expected.to_owned()));
}

#[test]
fn nothing_new_is_up_to_date() {
    let inputs = [input("a", Some(commit("a1", 1, 1, &[])), vec![])];
    assert_eq!(next_sets(&inputs, 1), Next::UpToDate);
}

#[test]
fn a_search_without_end_is_given_up() {
    // Forty inputs of thirty commits each, which disagree only at the last.
    let mut inputs: Vec<InputCommits> = (0..40)
        .map(|n| input(&format!("r{n}"), None, (0..30).map(|at| commit(&format!("c{n}-{at}"), at, 1, &[])).collect()))
        .collect();
    inputs[0].new = vec![commit("x", 1, 1, &[("source", "one")])];
    inputs[39].new = vec![commit("y", 1, 1, &[("source", "two")])];
    assert!(matches!(next_sets(&inputs[..], 1), Next::Wait(_)));
}

proptest! {
    #[test]
    fn sets_are_consistent_never_go_back_and_each_brings_something_new(
        sources in prop::collection::vec(prop::collection::vec(0_u8..4, 0..6), 2..4),
    ) {
        // Each input's commits stand on rising commits of one source, some left out.
        let inputs: Vec<InputCommits> = sources.iter().enumerate().map(|(n, steps)| {
            let mut source = 0_u8;
            let new = steps.iter().enumerate().map(|(at, step)| {
                source += step;
                let name = format!("c{n}-{at}");
                commit(&name, at as u64 + 1, source, &[("source", &format!("s{source}"))])
            });
            input(&format!("r{n}"), None, new.collect())
        }).collect();
        let mut before: Option<Vec<usize>> = None;
        for set in sets(&inputs) {
            let places: Vec<usize> = set.iter().zip(&inputs)
                .map(|(uid, input)| input.new.iter().position(|candidate| candidate.uid == *uid).expect("one of them"))
                .collect();
            let stands: Vec<Uuid> = places.iter().zip(&inputs).map(|(&at, input)| input.new[at].closure[0].commit).collect();
            prop_assert!(stands.iter().all(|commit| *commit == stands[0]));
            if let Some(before) = before {
                prop_assert!(places.iter().zip(&before).all(|(now, then)| now >= then) && places != before);
            }
            before = Some(places);
        }
    }
}
