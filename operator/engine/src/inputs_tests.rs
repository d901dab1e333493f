use varve_api::pipeline::{Input, Output, PipelineSpec};

use super::*;

fn leaf(name: &str, glob: &str) -> Input {
    Input { name: name.to_owned(), glob: Some(glob.to_owned()), ..Input::default() }
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn cross_of(name: &str, members: &[&str]) -> Input {
    Input { name: name.to_owned(), cross: Some(list(members)), ..Input::default() }
}

fn union_of(name: &str, members: &[&str]) -> Input {
    Input { name: name.to_owned(), union: Some(list(members)), ..Input::default() }
}

fn parse(inputs: Vec<Input>) -> Result<InputTree, InputError> {
    InputTree::parse("totals", &PipelineSpec { inputs, ..PipelineSpec::default() })
}

fn arms(tree: &InputTree) -> Vec<Vec<&str>> {
    let names = |arm: &Vec<usize>| arm.iter().map(|&leaf| tree.leaves()[leaf].name.as_str()).collect();
    tree.arms().iter().map(names).collect()
}

#[test]
fn a_leaf_reads_the_main_branch_of_the_repo_of_its_name() {
    let tree = parse(vec![leaf("images", "/*")]).unwrap();
    let expected = Leaf {
        name: "images".into(),
        mount: "images".into(),
        repo: RepoName::parse("images").unwrap(),
        branch: BranchName::parse("main").unwrap(),
        glob: Glob::parse("/*").unwrap(),
        is_optional: false,
    };
    assert_eq!(tree.leaves(), [expected]);
    assert_eq!(arms(&tree), [["images"]]);
}

#[test]
fn inputs_that_no_other_uses_are_crossed() {
    let tree = parse(vec![leaf("b", "/*"), leaf("a", "/*"), leaf("c", "/*"), union_of("bc", &["c", "b"])]).unwrap();
    assert_eq!(arms(&tree), [["a", "b"], ["a", "c"]]);
}

#[test]
fn a_named_root_leaves_the_other_inputs_out() {
    let spec = PipelineSpec {
        inputs: vec![leaf("a", "/*"), leaf("b", "/*")],
        input: Some("b".into()),
        ..PipelineSpec::default()
    };
    let tree = InputTree::parse("totals", &spec).unwrap();
    assert_eq!(arms(&tree), [["b"]]);
}

#[test]
fn the_order_of_the_list_means_nothing() {
    let inputs =
        vec![leaf("a", "/*"), leaf("b", "/"), leaf("c", "/**"), union_of("u", &["a", "b"]), cross_of("x", &["u", "c"])];
    let mut turned = inputs.clone();
    turned.reverse();
    assert_eq!(parse(inputs), parse(turned));
}

#[test]
fn a_circle_is_named() {
    let error = parse(vec![cross_of("x", &["y", "a"]), union_of("y", &["x"]), leaf("a", "/")]).unwrap_err();
    assert_eq!(error.reason(), Reason::InputCycle);
    assert!(error.to_string().starts_with("the inputs "), "{error}");
    let InputError::Cycle { names } = error else { panic!("{error}") };
    assert_eq!(names.len(), 2);
    let apart = parse(vec![cross_of("x", &["y"]), union_of("y", &["x"]), leaf("a", "/")]).unwrap_err();
    assert_eq!(apart.reason(), Reason::InputCycle, "beside an input that is read: {apart}");
}

#[test]
fn what_the_api_server_checks_is_checked_again() {
    let unknown = parse(vec![cross_of("x", &["nowhere"])]).unwrap_err();
    assert_eq!(unknown, InputError::Unknown { name: "nowhere".into() });
    let twice = parse(vec![leaf("a", "/"), cross_of("x", &["a"]), cross_of("y", &["a"])]).unwrap_err();
    assert_eq!(twice, InputError::UsedTwice { name: "a".into() });
    assert_eq!(parse(vec![]).unwrap_err(), InputError::None);
}

#[test]
fn two_inputs_of_one_datum_may_not_be_seen_in_one_folder() {
    let twin = Input { mount_as: Some("a".into()), ..leaf("b", "/*") };
    let error = parse(vec![leaf("a", "/*"), twin.clone()]).unwrap_err();
    assert_eq!(error.reason(), Reason::MountTaken);
    assert!(parse(vec![leaf("a", "/*"), twin, union_of("u", &["a", "b"])]).is_ok(), "a union's never meet in a datum");
}

#[test]
fn a_pipeline_may_not_read_what_it_writes_but_another_branch_of_it() {
    let own = Input { repo: Some("totals".into()), ..leaf("a", "/*") };
    assert_eq!(parse(vec![own.clone()]).unwrap_err().reason(), Reason::InputIsOutput);
    let output = Output { branch: Some("derived".into()), ..Output::default() };
    let spec = PipelineSpec { inputs: vec![own], output: Some(output), ..PipelineSpec::default() };
    assert!(InputTree::parse("totals", &spec).is_ok());
}

#[test]
fn a_glob_that_cannot_be_read_names_its_input() {
    let error = parse(vec![leaf("photos", "/[")]).unwrap_err();
    assert!(error.to_string().starts_with("the glob of input photos can't be read: "), "{error}");
}

#[test]
fn unions_that_unfold_to_too_much_are_refused() {
    let mut inputs = Vec::new();
    for union in 0..5 {
        let names: Vec<String> = (0..8).map(|member| format!("l{union}-{member}")).collect();
        inputs.extend(names.iter().map(|name| leaf(name, "/*")));
        inputs.push(union_of(&format!("u{union}"), &names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    assert_eq!(parse(inputs).unwrap_err(), InputError::TooManyArms { arms: 32_768 });
}

#[test]
fn shape_is_what_makes_keys_and_not_where_they_are_read() {
    let tree = parse(vec![leaf("a", "/*")]).unwrap();
    let elsewhere =
        parse(vec![Input { repo: Some("other".into()), branch: Some("dev".into()), ..leaf("a", "/*") }]).unwrap();
    let otherwise = parse(vec![leaf("a", "/*/*")]).unwrap();
    assert!(tree.has_shape_of(&elsewhere) && !tree.has_shape_of(&otherwise));
}
