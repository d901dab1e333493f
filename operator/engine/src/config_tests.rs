use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, ConfigMapVolumeSource, EnvFromSource, EnvVar, EnvVarSource, KeyToPath,
    Volume, VolumeMount,
};
use varve_api::pipeline::{Container, Pod};

use super::*;

fn job(uid: &str) -> CopiesOf {
    CopiesOf { namespace: "lab".into(), job: "edges-abcdefghij".into(), uid: uid.into() }
}

fn this() -> CopiesOf {
    job("job-uid")
}

fn content(pairs: &[(&str, &str)]) -> ConfigMapContent {
    let data = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    ConfigMapContent { data, ..ConfigMapContent::default() }
}

fn maps(depth: &str) -> ConfigMaps {
    ConfigMaps::from([
        ("settings".to_owned(), content(&[("depth", depth), ("colour", "red"), ("secret", "s")])),
        ("all".to_owned(), content(&[("a", "1"), ("b", "2")])),
    ])
}

/// One variable of `settings`, one file of it, everything of `all`, and of `maybe` what there is.
fn spec() -> PipelineSpec {
    let key = ConfigMapKeySelector { name: "settings".into(), key: "depth".into(), optional: None };
    let item = KeyToPath { key: "colour".into(), path: "colour.txt".into(), mode: None };
    let map = ConfigMapVolumeSource { name: "settings".into(), items: Some(vec![item]), ..Default::default() };
    let from = |name: &str, optional| EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: name.into(), optional }),
        ..EnvFromSource::default()
    };
    let value_from = Some(EnvVarSource { config_map_key_ref: Some(key), ..EnvVarSource::default() });
    PipelineSpec {
        container: Container {
            env: vec![EnvVar { name: "DEPTH".into(), value: None, value_from }],
            env_from: vec![from("all", None), from("maybe", Some(true))],
            volume_mounts: vec![VolumeMount { name: "v".into(), mount_path: "/etc/v".into(), ..Default::default() }],
            ..Container::default()
        },
        pod: Some(Pod {
            volumes: vec![Volume { name: "v".into(), config_map: Some(map), ..Volume::default() }],
            ..Pod::default()
        }),
        ..PipelineSpec::default()
    }
}

fn names_in(spec: &PipelineSpec) -> Vec<String> {
    let mut names: Vec<String> = config_maps_needed(spec).into_iter().collect();
    names.sort();
    names
}

#[test]
fn a_job_goes_on_with_what_its_copies_say_whatever_becomes_of_the_originals() {
    let planned = JobConfig::of(&spec(), &maps("9"));
    let copies = planned.copies(&this());
    assert_eq!(JobConfig::of(&spec(), &maps("10")).or_as_copied(&this(), copies.clone()), planned, "edited");
    assert_eq!(JobConfig::of(&spec(), &ConfigMaps::new()).or_as_copied(&this(), copies.clone()), planned, "deleted");
    let mut more = maps("9");
    more.insert("maybe".into(), content(&[("late", "1")]));
    assert_eq!(JobConfig::of(&spec(), &more).or_as_copied(&this(), copies), planned, "what was absent stays so");
}

#[test]
fn copies_hold_what_is_used_alone_and_can_never_change() {
    let planned = JobConfig::of(&spec(), &maps("9"));
    let expected = ConfigMaps::from([
        ("settings".to_owned(), content(&[("depth", "9"), ("colour", "red")])),
        ("all".to_owned(), content(&[("a", "1"), ("b", "2")])),
    ]);
    assert_eq!(planned.contents(), expected);
    for copy in planned.copies(&this()) {
        assert_eq!(copy.immutable, Some(true));
        assert_eq!(copy.metadata.owner_references.unwrap()[0].uid, "job-uid");
    }
}

#[test]
fn pods_name_the_copies_and_nothing_else() {
    let planned = JobConfig::of(&spec(), &maps("9"));
    let mut copies: Vec<String> = planned.copies(&this()).into_iter().filter_map(|copy| copy.metadata.name).collect();
    copies.sort();
    assert_eq!(names_in(&planned.named_in(&this(), &spec())), copies);
    assert!(copies.iter().all(|name| name.starts_with("edges-abcdefghij-")), "{copies:?}");
}

#[test]
fn another_content_or_another_job_has_another_copy() {
    let named = |job: &CopiesOf, depth: &str| names_in(&JobConfig::of(&spec(), &maps(depth)).named_in(job, &spec()));
    let again = job("made-anew");
    assert_ne!(named(&this(), "9"), named(&this(), "10"));
    assert!(named(&this(), "9").iter().all(|name| !named(&again, "9").contains(name)));
}

#[test]
fn copies_of_another_job_and_what_anybody_could_have_changed_are_not_believed() {
    let now = JobConfig::of(&spec(), &maps("9"));
    let before = JobConfig::of(&spec(), &maps("8"));
    let others = before.copies(&job("made-anew"));
    assert_eq!(now.clone().or_as_copied(&this(), others), now);
    let mutable = before.copies(&this()).into_iter().map(|copy| ConfigMap { immutable: None, ..copy }).collect();
    assert_eq!(now.clone().or_as_copied(&this(), mutable), now);
}

#[test]
fn the_digest_is_that_of_the_originals() {
    let snapshot = varve_api::job::Snapshot { spec: spec(), ..Default::default() };
    let digest = |maps: &ConfigMaps| crate::plan::spec_digest(&snapshot, maps).expect("all is there").digest();
    assert_eq!(digest(&JobConfig::of(&spec(), &maps("9")).contents()), digest(&maps("9")));
}
