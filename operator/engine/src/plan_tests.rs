use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, ConfigMapVolumeSource, EnvFromSource as KubeEnvFrom, EnvVar,
    EnvVarSource, KeyToPath, ObjectFieldSelector, SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};
use proptest::prelude::*;
use varve_api::pipeline::{DatumOptions, Input, Pod, ResolvedImage};

use super::*;

fn snapshot() -> Snapshot {
    let input = |name: &str, glob: Option<&str>| Input {
        name: name.to_owned(),
        glob: glob.map(str::to_owned),
        ..Input::default()
    };
    Snapshot {
        spec: PipelineSpec {
            inputs: vec![
                input("stores", Some("/*")),
                Input { mount_as: Some("sold".into()), ..input("sales", Some("/**")) },
                Input { cross: Some(vec!["stores".into(), "sales".into()]), ..input("both", None) },
            ],
            container: Container { image: "registry.example/totals:1".into(), ..Container::default() },
            datum: DatumOptions { accept_exit_codes: vec![7, 3], ..DatumOptions::default() },
            ..PipelineSpec::default()
        },
        image: ResolvedImage {
            reference: "registry.example/totals:1".into(),
            manifest_digest: Some("sha256:11".into()),
            config_digest: Some("sha256:22".into()),
            entrypoint: vec!["python3".into()],
            cmd: vec!["/totals.py".into()],
            working_dir: Some("/work".into()),
            ..ResolvedImage::default()
        },
        ..Snapshot::default()
    }
}

fn no_maps() -> ConfigMaps {
    ConfigMaps::new()
}

fn from(source: EnvVarSource) -> EnvVar {
    EnvVar { name: "V".into(), value: None, value_from: Some(source) }
}

fn map_key(optional: bool) -> EnvVar {
    let key = ConfigMapKeySelector { name: "settings".into(), key: "depth".into(), optional: Some(optional) };
    from(EnvVarSource { config_map_key_ref: Some(key), ..EnvVarSource::default() })
}

fn settings(depth: &str) -> ConfigMaps {
    let data = BTreeMap::from([("depth".to_owned(), depth.to_owned())]);
    ConfigMaps::from([("settings".to_owned(), ConfigMapContent { data, ..ConfigMapContent::default() })])
}

#[test]
fn the_digest_is_taken_over_what_decides_results() {
    let expected = SpecDigest {
        image_config_digest: "sha256:22".into(),
        accept_exit_codes: [3, 7].into(),
        inputs: [
            ("sales".to_owned(), ("sold".to_owned(), "files".to_owned())),
            ("stores".to_owned(), ("stores".to_owned(), "files".to_owned())),
        ]
        .into(),
        ..SpecDigest::default()
    };
    assert_eq!(spec_digest(&snapshot(), &no_maps()).unwrap(), expected);
}

#[test]
fn what_does_not_decide_results_is_no_part_of_it() {
    let digest = |snapshot: &Snapshot| spec_digest(snapshot, &no_maps()).unwrap().digest();
    let plain = snapshot();
    let mut other = snapshot();
    other.image.reference = "mirror.example/totals:latest".into();
    other.image.manifest_digest = Some("sha256:99".into());
    other.spec.parallelism = 64;
    other.spec.datum.tries = 9;
    other.spec.datum.timeout_seconds = Some(1);
    other.spec.inputs.reverse();
    other.spec.inputs[0].repo = Some("elsewhere".into());
    other.generation = 12;
    assert_eq!(digest(&plain), digest(&other));
}

#[test]
fn a_changed_image_command_argument_or_variable_changes_it() {
    let changes: [fn(&mut Snapshot); 6] = [
        |snapshot| snapshot.image.config_digest = Some("sha256:23".into()),
        |snapshot| snapshot.spec.container.command = Some(vec![]),
        |snapshot| snapshot.spec.container.args = Some(vec!["-v".into()]),
        |snapshot| snapshot.spec.container.working_dir = Some("/".into()),
        |snapshot| {
            snapshot.spec.container.env.push(EnvVar { name: "A".into(), value: Some("1".into()), value_from: None });
        },
        |snapshot| snapshot.spec.datum.accept_exit_codes.push(9),
    ];
    let mut seen = BTreeSet::from([spec_digest(&snapshot(), &no_maps()).unwrap().digest()]);
    for change in changes {
        let mut other = snapshot();
        change(&mut other);
        assert!(seen.insert(spec_digest(&other, &no_maps()).unwrap().digest()), "each change gives another digest");
    }
}

#[test]
fn variables_come_in_by_what_they_are() {
    let mut snapshot = snapshot();
    let secret = SecretKeySelector { name: "token".into(), key: "t".into(), optional: None };
    let field = ObjectFieldSelector { field_path: "metadata.name".into(), api_version: None };
    snapshot.spec.container.env = vec![
        EnvVar { name: "V".into(), value: Some("plain".into()), value_from: None },
        from(EnvVarSource { secret_key_ref: Some(secret), ..EnvVarSource::default() }),
        map_key(false),
        from(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    ];
    assert_eq!(config_maps_needed(&snapshot.spec), ["settings".to_owned()].into());
    let sources: Vec<EnvSource> =
        spec_digest(&snapshot, &settings("9")).unwrap().env.into_iter().map(|(_, source)| source).collect();
    let expected = [
        EnvSource::Literal("plain".into()),
        EnvSource::Secret { name: "token".into(), key: "t".into() },
        EnvSource::ConfigMap("9".into()),
        EnvSource::Field("metadata.name".into()),
    ];
    assert_eq!(sources, expected);
}

#[test]
fn a_missing_config_map_is_named_unless_it_may_be_missing() {
    let mut snapshot = snapshot();
    snapshot.spec.container.env = vec![map_key(false)];
    let missing = spec_digest(&snapshot, &no_maps()).unwrap_err();
    assert_eq!(missing, PlanError::ConfigMapNotFound { name: "settings".into() });
    let empty = ConfigMaps::from([("settings".to_owned(), ConfigMapContent::default())]);
    let keyless = spec_digest(&snapshot, &empty).unwrap_err();
    assert_eq!(keyless, PlanError::ConfigMapKeyNotFound { name: "settings".into(), key: "depth".into() });
    snapshot.spec.container.env = vec![map_key(true)];
    assert_eq!(spec_digest(&snapshot, &no_maps()).unwrap().env, []);
}

#[test]
fn mounted_maps_count_by_content_and_secrets_by_name() {
    let mut snapshot = snapshot();
    let volume = |name: &str| Volume { name: name.into(), ..Volume::default() };
    let item = KeyToPath { key: "depth".into(), path: "depth.txt".into(), mode: None };
    let map =
        ConfigMapVolumeSource { name: "settings".into(), items: Some(vec![item]), ..ConfigMapVolumeSource::default() };
    let secret = SecretVolumeSource { secret_name: Some("token".into()), ..SecretVolumeSource::default() };
    snapshot.spec.pod = Some(Pod {
        volumes: vec![
            Volume { config_map: Some(map), ..volume("m") },
            Volume { secret: Some(secret), ..volume("s") },
            Volume {
                config_map: Some(ConfigMapVolumeSource { name: "unused".into(), ..ConfigMapVolumeSource::default() }),
                ..volume("not-mounted")
            },
        ],
        ..Pod::default()
    });
    let mount =
        |name: &str, path: &str| VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() };
    snapshot.spec.container.volume_mounts = vec![mount("m", "/etc/settings"), mount("s", "/etc/token")];
    snapshot.spec.container.env_from = vec![KubeEnvFrom {
        prefix: Some("P_".into()),
        config_map_ref: Some(ConfigMapEnvSource { name: "settings".into(), optional: None }),
        secret_ref: None,
    }];
    let digest = spec_digest(&snapshot, &settings("9")).unwrap();
    let files = BTreeMap::from([("depth.txt".to_owned(), Hash::of_content(b"9"))]);
    assert_eq!(digest.config_maps, [("/etc/settings".to_owned(), files)].into());
    assert_eq!(digest.secrets, [("/etc/token".to_owned(), ("token".to_owned(), BTreeSet::new()))].into());
    let data = BTreeMap::from([("depth".to_owned(), "9".to_owned())]);
    assert_eq!(digest.env_from, [("P_".to_owned(), EnvFromSource::ConfigMap(data))]);
}

type Words<'a> = Option<&'a [&'a str]>;

#[test]
fn command_and_arguments_go_together_as_in_kubernetes() {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let cases: [(Words<'_>, Words<'_>, &[&str]); 4] = [
        (None, None, &["python3", "/totals.py"]),
        (None, Some(&["-V"]), &["python3", "-V"]),
        (Some(&["sh"]), None, &["sh"]),
        (Some(&["sh"]), Some(&["-c", "true"]), &["sh", "-c", "true"]),
    ];
    for (command, args, expected) in cases {
        let mut snapshot = snapshot();
        snapshot.spec.container.command = command.map(words);
        snapshot.spec.container.args = args.map(words);
        assert_eq!(argv(&snapshot).unwrap(), words(expected));
    }
    let mut silent = snapshot();
    (silent.image.entrypoint, silent.image.cmd) = (vec![], vec![]);
    assert_eq!(argv(&silent).unwrap_err().reason(), Reason::ImageEntrypointUnknown);
}

#[test]
fn a_task_tells_the_code_the_commits_of_its_inputs() {
    let commits = BTreeMap::from([("sales".to_owned(), "uid-1".to_owned()), ("stores".to_owned(), "uid-2".to_owned())]);
    let task = task("totals-abc", &snapshot(), &commits, "uid-3").unwrap();
    let input = |name: &str, mount: &str, commit: &str| TaskInput {
        name: name.into(),
        mount: mount.into(),
        commit: commit.into(),
    };
    assert_eq!(task.inputs, [input("sales", "sold", "uid-1"), input("stores", "stores", "uid-2")]);
    assert_eq!((task.working_dir.as_str(), task.tries, task.timeout_seconds), ("/work", 3, 0));
    assert_eq!((task.job_name.as_str(), task.output_commit.as_str()), ("totals-abc", "uid-3"));
}

#[test]
fn one_huge_datum_gets_a_shard_of_its_own() {
    let slots = NonZeroU32::new(4).unwrap();
    let mib = 1 << 20;
    assert_eq!(split_by_bytes(&[900 * mib, mib, mib, mib, mib, mib], slots), [0..1, 1..2, 2..3, 3..6]);
    assert!(split_by_bytes(&[], slots).is_empty());
    assert_eq!(split_by_bytes(&[5, 5], slots), [0..1, 1..2]);
    assert_eq!(split_by_bytes(&[0; 8], slots), [0..2, 2..4, 4..6, 6..8]);
}

proptest! {
    #[test]
    fn shards_cover_all_in_order_none_empty_and_none_much_larger_than_its_share(
        sizes in prop::collection::vec(prop_oneof![0_u64..1000, 0_u64..1 << 40], 0..60),
        slots in 1_u32..12,
    ) {
        let shards = split_by_bytes(&sizes, NonZeroU32::new(slots).unwrap());
        prop_assert_eq!(shards.len(), sizes.len().min(slots as usize));
        prop_assert!(shards.iter().all(|shard| !shard.is_empty()));
        let covered: Vec<usize> = shards.iter().cloned().flatten().collect();
        prop_assert_eq!(covered, (0..sizes.len()).collect::<Vec<_>>());
        let weight = |index: usize| u128::from(sizes[index] + DATUM_BYTES);
        let total: u128 = (0..sizes.len()).map(weight).sum();
        let largest = (0..sizes.len()).map(weight).max().unwrap_or(0);
        for shard in shards {
            let own: u128 = shard.map(weight).sum();
            prop_assert!(own <= total / u128::from(slots) + 1 + largest);
        }
    }
}
