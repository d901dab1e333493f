use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container as KubeContainer, EnvFromSource, EnvVar, EnvVarSource, HostPathVolumeSource, LocalObjectReference,
    Pod as KubePod, ResourceRequirements, SecretEnvSource, SecretKeySelector, Toleration, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use varve_api::commit::{ObjectStoreSource, Put};
use varve_api::pipeline::{Container, ContainerSecurity, Input, PipelineSpec, Pod, ResolvedImage};

use super::*;

fn around() -> Surroundings {
    Surroundings {
        namespace: "photos".into(),
        own_image: "registry.example/varve:1".into(),
        store_secret: "varve-store".into(),
        run_as: Some(65_532),
        allows_local_stores: false,
        allows_machine_credentials: false,
        restarts_in_place: false,
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        spec: PipelineSpec {
            inputs: vec![Input { name: "images".into(), glob: Some("/*".into()), ..Input::default() }],
            ..PipelineSpec::default()
        },
        image: ResolvedImage {
            reference: "registry.example:5000/edges:1".into(),
            manifest_digest: Some("sha256:abc".into()),
            ..ResolvedImage::default()
        },
        ..Snapshot::default()
    }
}

fn job(snapshot: &Snapshot) -> ShardJob<'_> {
    ShardJob {
        job: "edges-abcdefghij".into(),
        job_uid: "job-uid".into(),
        pipeline: "edges".into(),
        snapshot,
        run: Uuid::from_u128(7),
        attempt: 2,
        plan: Hash::of_content(b"plan"),
        shards: 3,
        parallelism: 8,
    }
}

fn shard_job(snapshot: &Snapshot) -> BatchJob {
    shards(&job(snapshot), &around()).unwrap()
}

fn pod_of(job: &BatchJob) -> PodSpec {
    job.spec.clone().unwrap().template.spec.unwrap()
}

fn container(pod: &PodSpec, name: &str) -> KubeContainer {
    let mut all = pod.init_containers.iter().flatten().chain(&pod.containers);
    all.find(|container| container.name == name).cloned().unwrap()
}

#[test]
fn one_pod_works_on_each_shard() {
    let job = shard_job(&snapshot());
    assert_eq!(job.metadata.name.as_deref(), Some("edges-abcdefghij-2"));
    let spec = job.spec.clone().unwrap();
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!((spec.completions, spec.parallelism), (Some(3), Some(3)), "no more pods than shards");
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert!(spec.backoff_limit_per_index.unwrap() >= 1000);
    assert_eq!(attempt_of(&job), Some(2));
    let plan = Hash::of_content(b"plan").to_string();
    assert_eq!(job.metadata.annotations.unwrap().get(labels::PLAN), Some(&plan));
}

#[test]
fn a_cloud_identity_is_lent_to_the_keeper_alone() {
    let of_pods = |allows_machine_credentials: bool| {
        let around = Surroundings { allows_machine_credentials, ..around() };
        let template = shards(&job(&snapshot()), &around).unwrap().spec.unwrap().template;
        let mut annotations = template.metadata.unwrap().annotations.unwrap();
        annotations.remove(labels::PLAN).expect("the plan");
        annotations
    };
    let lists = [
        ("azure.workload.identity/skip-containers", "user;install"),
        ("eks.amazonaws.com/skip-containers", "user,install"),
    ];
    assert_eq!(of_pods(true), lists.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!(of_pods(false), BTreeMap::new());
}

#[test]
fn the_first_rule_that_fits_a_failed_pod_decides() {
    let policy = shard_job(&snapshot()).spec.unwrap().pod_failure_policy.unwrap();
    let said: Vec<(String, Option<i32>)> = policy
        .rules
        .into_iter()
        .map(|rule| {
            let codes = rule.on_exit_codes.inspect(|codes| assert_eq!(codes.container_name.as_deref(), Some("keeper")));
            assert_eq!(rule.on_pod_conditions.is_some(), codes.is_none());
            (rule.action, codes.map(|codes| codes.values[0]))
        })
        .collect();
    let expected = [("Ignore", None), ("Ignore", Some(75)), ("FailIndex", Some(40)), ("FailJob", Some(41))]
        .map(|(a, c)| (a.to_owned(), c));
    assert_eq!(said, expected);
}

#[test]
fn the_job_owns_it_and_nothing_of_the_maker_is_copied() {
    let job = shard_job(&snapshot());
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()), ("Job", "edges-abcdefghij", "job-uid"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(false)));
    let labels = job.metadata.labels.unwrap();
    let expected: BTreeMap<String, String> = [
        ("app.kubernetes.io/managed-by", "varve"),
        ("varve.dev/job", "edges-abcdefghij"),
        ("varve.dev/pipeline", "edges"),
        ("varve.dev/run", "00000000-0000-0000-0000-000000000007"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(labels, expected);
    assert_eq!(job.spec.unwrap().template.metadata.unwrap().labels, Some(expected));
}

#[test]
fn the_users_container_runs_the_shim_in_the_pinned_image_and_sees_only_its_folders() {
    let user = container(&pod_of(&shard_job(&snapshot())), "user");
    assert_eq!(user.image.as_deref(), Some("registry.example:5000/edges@sha256:abc"));
    assert_eq!((user.command, user.args), (Some(vec!["/.varve/varve-shim".to_owned()]), None));
    let mounts: Vec<_> = user
        .volume_mounts
        .unwrap()
        .into_iter()
        .map(|mount| (mount.name, mount.mount_path, mount.sub_path, mount.read_only))
        .collect();
    let seen = |path: &str, sub_path: &str, read_only| {
        ("varve".to_owned(), path.to_owned(), Some(sub_path.to_owned()), read_only)
    };
    assert_eq!(mounts, [seen("/pfs", "pfs", None), seen("/.varve", "ctl", Some(true))]);
    assert_eq!((user.env, user.env_from), (None, None), "nothing of ours is in its environment");
}

#[test]
fn the_stores_secret_is_mounted_in_the_keeper_alone() {
    let pod = pod_of(&shard_job(&snapshot()));
    let holders: Vec<String> = pod
        .init_containers
        .into_iter()
        .flatten()
        .chain(pod.containers)
        .filter(|container| container.volume_mounts.iter().flatten().any(|mount| mount.name == "varve-store"))
        .map(|container| container.name)
        .collect();
    assert_eq!(holders, ["keeper"]);
}

#[test]
fn pods_are_restricted_and_hold_no_token() {
    let pod = pod_of(&shard_job(&snapshot()));
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!((pod.share_process_namespace, pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None, None));
    let security = pod.security_context.clone().unwrap();
    assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65_532)));
    assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
    for name in ["install", "user", "keeper"] {
        let security = container(&pod, name).security_context.unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
        assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]), "{name}");
        assert_eq!(security.read_only_root_filesystem, (name != "user").then_some(true), "{name}");
    }
}

#[test]
fn root_is_for_the_users_container_alone_and_without_capabilities() {
    let mut snapshot = snapshot();
    snapshot.spec.container.security_context =
        Some(ContainerSecurity { run_as_user: Some(0), ..ContainerSecurity::default() });
    assert_eq!(check(&snapshot.spec, &BTreeSet::new()), Ok(()));
    let pod = pod_of(&shard_job(&snapshot));
    assert_eq!(pod.security_context.clone().unwrap().run_as_non_root, Some(true));
    for (name, run_as, is_never_root) in [("install", 65_532, true), ("user", 0, false), ("keeper", 65_532, true)] {
        let security = container(&pod, name).security_context.unwrap();
        assert_eq!((security.run_as_user, security.run_as_non_root), (Some(run_as), Some(is_never_root)), "{name}");
        assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]), "{name}");
        assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
    }
    let mounts = |pod: &PodSpec| container(pod, "keeper").volume_mounts.unwrap();
    let at = |path: &str| {
        mounts(&pod).into_iter().find(|mount| mount.mount_path == path).map(|mount| (mount.sub_path, mount.read_only))
    };
    assert_eq!(
        at("/etc/hosts"),
        Some((Some("ctl/hosts".into()), Some(true))),
        "root may write what all containers share"
    );
    assert_eq!(at("/etc/resolv.conf"), Some((Some("ctl/resolv.conf".into()), Some(true))));
    assert!(
        mounts(&pod_of(&shard_job(&super::tests::snapshot())))
            .iter()
            .all(|mount| !mount.mount_path.starts_with("/etc"))
    );
}

#[test]
fn devices_and_settings_reach_the_users_container_and_pod() {
    let mut snapshot = snapshot();
    let gpu = BTreeMap::from([("nvidia.com/gpu".to_owned(), Quantity("1".to_owned()))]);
    let resources = ResourceRequirements { limits: Some(gpu), ..ResourceRequirements::default() };
    let mount = VolumeMount { name: "scratch".into(), mount_path: "/scratch".into(), ..VolumeMount::default() };
    snapshot.spec.container = Container {
        env: vec![EnvVar { name: "DEPTH".into(), value: Some("3".into()), value_from: None }],
        resources: Some(resources.clone()),
        volume_mounts: vec![mount.clone()],
        security_context: Some(ContainerSecurity { run_as_user: Some(1000), ..ContainerSecurity::default() }),
        ..Container::default()
    };
    let toleration = Toleration { key: Some("gpu".into()), ..Toleration::default() };
    let scratch = super::empty_dir("scratch");
    snapshot.spec.pod = Some(Pod {
        tolerations: vec![toleration.clone()],
        volumes: vec![scratch.clone()],
        image_pull_secrets: vec![LocalObjectReference { name: "pull".into() }],
        ..Pod::default()
    });
    assert_eq!(check(&snapshot.spec, &BTreeSet::new()), Ok(()));
    let pod = pod_of(&shard_job(&snapshot));
    let user = container(&pod, "user");
    assert_eq!(user.resources, Some(resources));
    assert_eq!(user.env, Some(snapshot.spec.container.env.clone()));
    assert!(user.volume_mounts.unwrap().contains(&mount));
    assert_eq!(user.security_context.unwrap().run_as_user, Some(1000));
    assert_eq!(pod.tolerations, Some(vec![toleration]));
    assert!(pod.volumes.as_ref().unwrap().contains(&scratch));
    assert_eq!(pod.image_pull_secrets.as_ref().unwrap()[0].name, "pull");
    for ours in ["install", "keeper"] {
        let container = container(&pod, ours);
        assert!(!format!("{:?}", container.resources).contains("nvidia"), "{ours} holds no device");
        assert_eq!(container.security_context.unwrap().run_as_user, Some(65_532));
    }
}

#[test]
fn what_the_installer_allows_is_handed_on_to_our_containers_alone() {
    let around = Surroundings { allows_machine_credentials: true, ..around() };
    let snapshot = snapshot();
    let names = |container: &KubeContainer| -> Vec<String> {
        let env = container.env.iter().flatten().filter(|env| env.name.starts_with("VARVE_ALLOW"));
        env.map(|env| format!("{}={}", env.name, env.value.clone().unwrap_or_default())).collect()
    };
    let user = containers::user(&snapshot, &around);
    assert_eq!(names(&user), [""; 0]);
    let keeper = KubeContainer { env: Some(containers::own_env([], "uid", &around)), ..user };
    assert_eq!(names(&keeper), ["VARVE_ALLOW_MACHINE_CREDENTIALS=true"]);
}

#[test]
fn a_killed_container_starts_again_where_the_keeper_waits_for_it_and_only_there() {
    let sent = |restarts_in_place| {
        let job = shards(&job(&snapshot()), &Surroundings { restarts_in_place, ..around() }).unwrap();
        let told = container(&pod_of(&job), "keeper").env.unwrap().pop().unwrap();
        assert_eq!(
            (told.name == "VARVE_RESTARTS_IN_PLACE", told.value == Some("true".into())),
            (restarts_in_place, restarts_in_place)
        );
        (as_sent(&job), serde_json::to_value(&job).unwrap())
    };
    let (plain, ours) = sent(false);
    assert_eq!(plain, ours);
    let (with_rules, mut ours) = sent(true);
    let killed = serde_json::json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]);
    let user = &mut ours["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(user["name"], "user");
    user["restartPolicy"] = "Never".into();
    user["restartPolicyRules"] = killed.clone();
    assert_eq!(with_rules, ours, "nothing but the user's container is started again");
    assert_eq!(with_rules["spec"]["template"]["spec"]["restartPolicy"], "Never");
    let trial = trial(&around());
    assert_eq!(trial["spec"]["template"]["spec"]["containers"][0]["restartPolicyRules"], killed);
    assert!(keeps_rules(&trial) && !keeps_rules(&plain));
}

#[test]
fn openshift_gives_its_own_users() {
    let annotations = BTreeMap::from([("openshift.io/sa.scc.uid-range".to_owned(), "1000/1".to_owned())]);
    assert_eq!(Surroundings::run_as(&annotations), None);
    assert_eq!(Surroundings::run_as(&BTreeMap::new()), Some(65_532));
}

#[test]
fn a_reference_is_pinned_by_its_digest_where_that_is_known() {
    let image = |reference: &str, digest: Option<&str>| {
        let manifest_digest = digest.map(str::to_owned);
        let image = ResolvedImage { reference: reference.into(), manifest_digest, ..ResolvedImage::default() };
        super::containers::image(&image)
    };
    assert_eq!(image("edges", Some("sha256:1")), "edges@sha256:1");
    assert_eq!(image("edges:2", Some("sha256:1")), "edges@sha256:1");
    assert_eq!(image("host:5000/a/edges", Some("sha256:1")), "host:5000/a/edges@sha256:1");
    assert_eq!(image("host:5000/edges:2@sha256:0", Some("sha256:1")), "host:5000/edges@sha256:1");
    assert_eq!(image("edges:local", None), "edges:local");
}

#[test]
fn what_a_pod_may_not_have_is_named() {
    let refused = |change: &dyn Fn(&mut PipelineSpec)| {
        let mut spec = snapshot().spec;
        change(&mut spec);
        check(&spec, &BTreeSet::from(["varve-store".to_owned()])).unwrap_err()
    };
    let volume = |name: &str| super::empty_dir(name);
    let with_volume =
        |spec: &mut PipelineSpec, volume| spec.pod = Some(Pod { volumes: vec![volume], ..Pod::default() });
    let mounted = |spec: &mut PipelineSpec, path: &str| {
        with_volume(spec, volume("v"));
        let mount = VolumeMount { name: "v".into(), mount_path: path.into(), ..VolumeMount::default() };
        spec.container.volume_mounts = vec![mount];
    };
    let host = Volume { name: "h".into(), host_path: Some(HostPathVolumeSource::default()), ..Volume::default() };
    let secret = SecretVolumeSource { secret_name: Some("varve-store".into()), ..SecretVolumeSource::default() };
    let stolen = Volume { name: "s".into(), secret: Some(secret), ..Volume::default() };
    let from_secret = SecretEnvSource { name: "varve-store".into(), optional: None };
    let key = SecretKeySelector { name: "varve-store".into(), key: "k".into(), optional: None };
    let store_secret = |field| PodError::StoreSecret { name: "varve-store".into(), field };

    assert_eq!(refused(&|spec| with_volume(spec, host.clone())), PodError::VolumeKind { name: "h".into() });
    assert_eq!(
        refused(&|spec| with_volume(spec, volume("varve-tmp"))),
        PodError::VolumeName { name: "varve-tmp".into() }
    );
    assert_eq!(refused(&|spec| with_volume(spec, stolen.clone())), store_secret("pod.volumes"));
    assert_eq!(
        refused(&|spec| spec.container.env_from =
            vec![EnvFromSource { secret_ref: Some(from_secret.clone()), ..EnvFromSource::default() }]),
        store_secret("container.envFrom")
    );
    assert_eq!(
        refused(&|spec| {
            let source = EnvVarSource { secret_key_ref: Some(key.clone()), ..EnvVarSource::default() };
            spec.container.env = vec![EnvVar { name: "A".into(), value: None, value_from: Some(source) }];
        }),
        store_secret("container.env")
    );
    for path in ["/pfs", "/pfs/out", "//pfs/", "/.varve", "/", "/a/../pfs", "relative"] {
        assert_eq!(refused(&|spec| mounted(spec, path)), PodError::MountPath { path: path.into() });
    }
    for name in ["VARVE_JOB", "PACH_DATUM_ID", "images", "images_COMMIT", "JOB_COMPLETION_INDEX"] {
        let variable = EnvVar { name: name.into(), value: Some("x".into()), value_from: None };
        assert_eq!(
            refused(&|spec| spec.container.env = vec![variable.clone()]),
            PodError::Variable { name: name.into() }
        );
    }
    assert_eq!(
        refused(&|spec| {
            mounted(spec, "/ok");
            spec.pod = None;
        }),
        PodError::MountOfNothing { name: "v".into() }
    );
}

#[test]
fn an_import_runs_in_the_commits_namespace_with_the_secrets_it_names() {
    let plain = Put { path: "/a.png".into(), url: Some("https://example.org/a.png".into()), ..Put::default() };
    let source = ObjectStoreSource { url: "s3://field/2026/".into(), secret_name: Some("field".into()) };
    let bucket = Put { path: "/2026".into(), object_store: Some(source), ..Put::default() };
    let puts = vec![&plain, &bucket];
    let list = fetch_list(&puts);
    assert_eq!(serde_json::from_slice::<Vec<Put>>(&list).unwrap(), [plain.clone(), bucket.clone()]);
    let job = ImportJob {
        commit: "images.first".into(),
        commit_uid: "commit-uid".into(),
        repo: "images".into(),
        puts,
        list: Hash::of_content(&list),
    };
    let made = import(&job, &around());
    assert_eq!(made.metadata.name.as_deref(), Some("images-first-import"));
    assert_eq!(made.metadata.namespace.as_deref(), Some("photos"));
    assert_eq!(made.metadata.owner_references.as_ref().unwrap()[0].uid, "commit-uid");
    let spec = made.spec.clone().unwrap();
    let rules: Vec<_> = spec.pod_failure_policy.unwrap().rules.into_iter().map(|rule| rule.action).collect();
    assert_eq!(rules, ["Ignore", "FailJob"], "a try that failed for a reason that may pass counts, too");
    assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(4), Some(86_400)));
    let import = container(&pod_of(&made), "import");
    let env = |name: &str| import.env.iter().flatten().find(|env| env.name == name).and_then(|env| env.value.clone());
    assert_eq!(env("VARVE_IMPORT"), Some(Hash::of_content(&list).to_string()));
    assert_eq!(env("VARVE_JOB_UID").as_deref(), Some("commit-uid"));
    let mounts: Vec<String> = import.volume_mounts.into_iter().flatten().map(|mount| mount.mount_path).collect();
    assert_eq!(mounts, ["/var/run/varve/store", "/tmp", "/var/run/varve/import/field"]);
}

#[test]
fn a_node_is_asked_by_a_pod_that_has_nothing_of_the_users_but_the_image_and_its_place() {
    let mut snapshot = snapshot();
    snapshot.uid = "pipeline-uid".into();
    snapshot.image.manifest_digest = None;
    snapshot.spec.container.env = vec![EnvVar { name: "TOKEN".into(), value: Some("x".into()), value_from: None }];
    snapshot.spec.pod = Some(Pod {
        node_selector: BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]),
        image_pull_secrets: vec![LocalObjectReference { name: "pull".into() }],
        volumes: vec![super::empty_dir("scratch")],
        ..Pod::default()
    });
    let asking = |request: Option<&str>| {
        probe(&Probe { pipeline: "edges", snapshot: &snapshot, request: request.map(str::to_owned) }, &around())
    };
    let pod = asking(None);
    assert_ne!(pod.metadata.name, asking(Some("again")).metadata.name);
    let spec = pod.spec.unwrap();
    let user = container(&spec, "user");
    assert_eq!(user.image.as_deref(), Some("registry.example:5000/edges:1"));
    assert_eq!(user.command.unwrap(), ["/.varve/varve-shim"]);
    assert_eq!((user.args.unwrap(), user.env), (vec!["noop".to_owned()], None));
    let mounted: Vec<String> = user.volume_mounts.unwrap().into_iter().map(|mount| mount.mount_path).collect();
    assert_eq!(mounted, ["/.varve"]);
    assert_eq!(spec.containers.len(), 1, "no keeper, so no store");
    let volumes: Vec<String> = spec.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(volumes, ["varve"]);
    assert_eq!(spec.node_selector.unwrap()["gpu"], "yes");
    assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "pull");
    assert_eq!(spec.security_context.unwrap().run_as_non_root, Some(true));
}

#[test]
fn what_a_node_calls_an_image_is_read_from_its_pod() {
    let pod = |status: serde_json::Value| -> KubePod {
        serde_json::from_value(serde_json::json!({ "metadata": {"name": "p"}, "status": status })).unwrap()
    };
    let container = |id: &str, state: serde_json::Value| {
        let status = serde_json::json!({"name": "user", "image": "edges:1", "imageID": id, "ready": false,
            "restartCount": 0, "state": state});
        pod(serde_json::json!({ "phase": "Pending", "containerStatuses": [status] }))
    };
    let known = |id: &str| asked(&container(id, serde_json::json!({})));
    let named = |name: &str| Asked::Known(ImageId::Name(name.into()));
    assert_eq!(known("sha256:1"), Asked::Known(ImageId::Config("sha256:1".into())));
    assert_eq!(known("host:5000/other@sha256:2"), named("host:5000/other@sha256:2"));
    assert_eq!(known("docker-pullable://edges@sha256:2"), named("edges@sha256:2"));
    assert_eq!(known("docker://sha256:3"), Asked::Known(ImageId::Config("sha256:3".into())));
    assert_eq!(ImageId::Name("host:5000/other@sha256:2".into()).digest(), "sha256:2");
    assert_eq!(known(""), Asked::Pending(None));
    let waits = container("", serde_json::json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}));
    assert!(matches!(asked(&waits), Asked::Failed(why) if why.contains("no such host")));
    let late = pod(serde_json::json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too slow"}));
    assert_eq!(asked(&late), Asked::Failed("pod p: too slow".into()));
}
