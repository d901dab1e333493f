//! Every rule of the API, broken once on the real API server: what a user then reads.
//!
//! The last test but one compares the cases with the rules in the CRDs, so that no rule goes without a case.

mod cases;

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;
use varve_e2e::{Space, object};

use cases::{cases, changes, job_spec, right};

/// What the API server answered.
fn answer(result: kube::Result<kube::api::DynamicObject>) -> String {
    match result {
        Ok(object) => format!("accepted: {}", varve_e2e::show(&object)),
        Err(kube::Error::Api(status)) => status.message,
        Err(error) => format!("{error}"),
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_a_message_that_names_the_field() -> Result<()> {
    let space = Space::new("rules").await?;
    let mut wrong = Vec::new();
    for case in cases() {
        let answer = answer(space.try_apply(&case.object).await);
        if !answer.contains(case.message) {
            wrong.push(format!("{}\n  wanted: {}\n  got:    {answer}", short(&case.object), case.message));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn short(object: &Value) -> String {
    object.to_string().chars().take(300).collect()
}

#[tokio::test]
async fn what_may_not_change_does_not() -> Result<()> {
    let space = Space::new("transitions").await?;
    for (i, change) in changes().into_iter().enumerate() {
        let (mut before, mut after) = (change.before, change.after);
        for object in [&mut before, &mut after] {
            object["metadata"]["name"] = format!("x{i}").into();
        }
        space.apply(&before).await?;
        let answer = answer(space.try_apply(&after).await);
        assert!(answer.contains(change.message), "{}\n  wanted: {}\n  got:    {answer}", short(&after), change.message);
    }
    Ok(())
}

#[tokio::test]
async fn what_may_change_of_a_job_does() -> Result<()> {
    let space = Space::new("job").await?;
    let mut spec = job_spec();
    // Held back from the start, so that no operator takes it up.
    spec["suspend"] = true.into();
    space.apply(&object("Job", "j", spec.clone())).await?;
    for field in ["suspend", "cancel"] {
        spec[field] = (spec[field] != true).into();
        space.try_apply(&object("Job", "j", spec.clone())).await?;
    }
    Ok(())
}

/// The messages of the rules of a schema and of all below it.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert(rule["message"].as_str().expect("every rule has a message").into());
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            messages(&schema[key], found);
        }
    }
    for property in schema["properties"].as_object().into_iter().flat_map(|p| p.values()) {
        messages(property, found);
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut rules = BTreeSet::new();
    for crd in varve_api::crds() {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        messages(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut rules);
    }
    let tried: Vec<&str> = cases().iter().map(|c| c.message).chain(changes().iter().map(|c| c.message)).collect();
    // One rule under several names (`name`, `head`, `repo` …) is one rule: the field's name is its first word.
    let is_tried = |rule: &str| {
        let rest = rule.split_once(' ').map_or(rule, |(_, rest)| rest);
        tried
            .iter()
            .any(|message| rule.contains(message) || message.split_once(' ').is_some_and(|(_, m)| rest.starts_with(m)))
    };
    let untried: Vec<&String> = rules.iter().filter(|rule| !is_tried(rule)).collect();
    assert_eq!(untried, Vec::<&String>::new());
}

/// The examples of the documentation, and the corners of what is allowed.
#[tokio::test]
async fn what_is_right_is_accepted() -> Result<()> {
    let space = Space::new("accepted").await?;
    for object in right() {
        let answer = answer(space.try_apply(&object).await);
        assert!(answer.starts_with("accepted"), "{}\n  {answer}", short(&object));
    }
    Ok(())
}
