//! The three containers of a shard's pod.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceRequirements, SecurityContext,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use varve_api::job::Snapshot;
use varve_api::pipeline::ResolvedImage;
use varve_api::pod;

use super::{ShardJob, Surroundings, some_list};

/// What our own containers ask for. The keeper stays under 256 MiB for files of any size; the rest of its limit is
/// page cache of what it stages, which the kernel takes back.
const OWN_CPU_REQUEST: &str = "50m";
const OWN_MEMORY_REQUEST: &str = "64Mi";
const OWN_MEMORY_LIMIT: &str = "512Mi";

pub(super) fn install(around: &Surroundings) -> Container {
    Container {
        args: Some(vec!["install".to_owned()]),
        volume_mounts: Some(vec![mount(pod::VOLUME, pod::VOLUME_PATH)]),
        ..own(pod::INSTALL, around)
    }
}

pub(super) fn keeper(job: &ShardJob<'_>, around: &Surroundings) -> Container {
    let mut env = own_env([literal(pod::ENV_PLAN, job.plan.to_string())], &job.job_uid, around);
    env.extend(around.restarts_in_place.then(|| literal(pod::ENV_RESTARTS_IN_PLACE, "true".into())));
    let mut mounts = vec![
        mount(pod::VOLUME, pod::VOLUME_PATH),
        read_only(mount(pod::STORE_VOLUME, pod::STORE_PATH)),
        mount(pod::TMP_VOLUME, "/tmp"),
    ];
    if is_root(&job.snapshot.spec.container) {
        mounts.extend(pod::NAME_FILES.iter().map(|name| VolumeMount {
            sub_path: Some(format!("{}/{name}", pod::CTL)),
            ..read_only(mount(pod::VOLUME, &format!("/etc/{name}")))
        }));
    }
    Container {
        args: Some(vec!["keeper".to_owned()]),
        env: Some(env),
        volume_mounts: Some(mounts),
        ..own(pod::KEEPER, around)
    }
}

/// The user who may do everything, but for what its capabilities would be needed: it has none.
const ROOT: i64 = 0;

/// Whether the code asks to be root.
fn is_root(container: &varve_api::pipeline::Container) -> bool {
    container.security_context.as_ref().is_some_and(|security| security.run_as_user == Some(ROOT))
}

/// The user's container: its own image, environment, resources and mounts. What it runs, it is told by the keeper.
pub(super) fn user(snapshot: &Snapshot, around: &Surroundings) -> Container {
    let container = &snapshot.spec.container;
    let security = container.security_context.clone().unwrap_or_default();
    let inputs = VolumeMount { sub_path: Some(pod::PFS.to_owned()), ..mount(pod::VOLUME, pod::PFS_PATH) };
    let control = VolumeMount { sub_path: Some(pod::CTL.to_owned()), ..read_only(mount(pod::VOLUME, pod::CTL_PATH)) };
    Container {
        name: pod::USER.to_owned(),
        image: Some(image(&snapshot.image)),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![pod::SHIM_COMMAND.to_owned()]),
        env: some_list(container.env.clone()),
        env_from: some_list(container.env_from.clone()),
        resources: container.resources.clone(),
        volume_mounts: Some([inputs, control].into_iter().chain(container.volume_mounts.clone()).collect()),
        security_context: Some(SecurityContext {
            run_as_non_root: Some(!is_root(container)), // whether that is allowed, the namespace says
            run_as_user: security.run_as_user.or(around.run_as),
            run_as_group: security.run_as_group.or(around.run_as),
            read_only_root_filesystem: security.read_only_root_filesystem,
            ..restricted()
        }),
        ..Container::default()
    }
}

/// The reference that a pod runs: by digest where it is known, so that a tag moved meanwhile changes nothing.
pub(super) fn image(image: &ResolvedImage) -> String {
    let Some(digest) = &image.manifest_digest else { return image.reference.clone() };
    let reference = image.reference.split('@').next().unwrap_or_default();
    let name_start = reference.rfind('/').map_or(0, |slash| slash + 1);
    let end = reference[name_start..].find(':').map_or(reference.len(), |colon| name_start + colon);
    format!("{}@{digest}", &reference[..end])
}

/// A container of our own image.
pub(super) fn own(name: &str, around: &Surroundings) -> Container {
    let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    Container {
        name: name.to_owned(),
        image: Some(around.own_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![pod::VARVE_COMMAND.to_owned()]),
        resources: Some(ResourceRequirements {
            requests: Some([quantity("cpu", OWN_CPU_REQUEST), quantity("memory", OWN_MEMORY_REQUEST)].into()),
            limits: Some([quantity("memory", OWN_MEMORY_LIMIT)].into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            run_as_user: around.run_as,
            run_as_group: around.run_as,
            read_only_root_filesystem: Some(true),
            ..restricted()
        }),
        ..Container::default()
    }
}

/// What a container of ours is told that works on a store: its `task`, for whom, who it is, and what is allowed.
pub(super) fn own_env<const N: usize>(task: [EnvVar; N], job_uid: &str, around: &Surroundings) -> Vec<EnvVar> {
    let identity = [
        literal(pod::ENV_JOB_UID, job_uid.to_owned()),
        field(pod::ENV_NAMESPACE, "metadata.namespace"),
        field(pod::ENV_POD_UID, "metadata.uid"),
        field(pod::ENV_NODE, "spec.nodeName"),
    ];
    let allowed = [
        (pod::ENV_ALLOW_LOCAL_STORES, around.allows_local_stores),
        (pod::ENV_ALLOW_MACHINE_CREDENTIALS, around.allows_machine_credentials),
    ];
    let allowed =
        allowed.into_iter().filter(|(_, is_allowed)| *is_allowed).map(|(name, _)| literal(name, "true".into()));
    task.into_iter().chain(identity).chain(allowed).collect()
}

/// What PodSecurity `restricted` asks of a container.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

pub(super) fn read_only(mount: VolumeMount) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount }
}

pub(super) fn literal(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

pub(super) fn field(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
    let value_from = Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() });
    EnvVar { name: name.to_owned(), value: None, value_from }
}
