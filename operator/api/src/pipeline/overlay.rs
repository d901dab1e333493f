//! What `pod.overlay` may say: a list of paths in a pod template, and nothing else.
//!
//! The page `docs/reference/overlay.md` is written from this list, and the engine's check reads it. A path that isn't
//! here is refused by name, so a field that Kubernetes adds tomorrow is refused until somebody has thought about it.

/// One thing that an overlay may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Where it stands in the pod template. `[]` goes through a list; `[user]` is the entry of that name.
    pub path: &'static str,
    /// What of its values may be.
    pub rule: Rule,
    /// What it is good for, in a sentence.
    pub purpose: &'static str,
}

/// Which values a path may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Whatever Kubernetes takes.
    Any,
    /// Whatever has no Secret of a store in it.
    NoStoreSecret,
    /// Names of labels or annotations that mean nothing to Varve, Kubernetes or the cloud's identities.
    ForeignKeys,
    /// Only `false`.
    False,
    /// Sources of these kinds alone, without a store's Secret: [`PROJECTED`].
    PlainSources,
    /// A profile that confines: not `Unconfined`.
    Confined,
    /// The name of a volume, which no other volume has.
    NewVolume,
    /// A path outside `/pfs` and `/.varve`.
    DevicePath,
}

impl Rule {
    /// As the table of the reference says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::NoStoreSecret => "any, but no Secret of a store",
            Self::ForeignKeys => "any keys but those that mean something to Varve, Kubernetes or a cloud's identities",
            Self::False => "`false` alone",
            Self::PlainSources => "sources `secret` and `downwardAPI` alone, no Secret of a store",
            Self::Confined => "any type but `Unconfined`",
            Self::NewVolume => "a name that no volume of `pod.volumes` has, and that doesn't begin with `varve`",
            Self::DevicePath => "a path outside `/pfs` and `/.varve`",
        }
    }
}

/// The sources of a projected volume that may be: no tokens, and no ConfigMap, whose content decides results and which
/// `pod.volumes` therefore takes.
pub const PROJECTED: [&str; 2] = ["secret", "downwardAPI"];

/// Labels and annotations that are these can't be set, nor those of a domain that ends in one of these with a `/`.
pub const TAKEN_KEYS: [&str; 7] = [
    "varve.dev/",
    "job-name",
    "controller-uid",
    "eks.amazonaws.com/",
    "azure.workload.identity/",
    "kubernetes.io/",
    "k8s.io/",
];

/// Whether a label or annotation of this name means something to Varve, Kubernetes or a cloud's identities.
pub fn is_taken(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return TAKEN_KEYS.contains(&key) };
    TAKEN_KEYS.iter().filter_map(|taken| taken.strip_suffix('/')).any(|taken| domain.ends_with(taken))
}

const fn allow(path: &'static str, rule: Rule, purpose: &'static str) -> Allowed {
    Allowed { path, rule, purpose }
}

/// All that an overlay may set.
pub const ALLOWED: &[Allowed] = &[
    allow("metadata.labels", Rule::ForeignKeys, "For NetworkPolicies, quotas and bills of your own."),
    allow("metadata.annotations", Rule::ForeignKeys, "For what watches your pods."),
    allow("spec.topologySpreadConstraints", Rule::Any, "Spreads pods over zones or nodes."),
    allow("spec.preemptionPolicy", Rule::Any, "Whether its pods may push others out."),
    allow("spec.readinessGates", Rule::Any, "Conditions that something else sets."),
    allow("spec.schedulingGates", Rule::Any, "Holds pods until something else lets them go."),
    allow("spec.hostUsers", Rule::False, "Gives the pod users of its own, which the host doesn't know."),
    allow(
        "spec.securityContext.fsGroupChangePolicy",
        Rule::Any,
        "Spares large volumes the change of each file's group.",
    ),
    allow("spec.securityContext.supplementalGroupsPolicy", Rule::Any, "Whether the image's own groups count."),
    allow("spec.securityContext.seLinuxOptions.level", Rule::Any, "The SELinux level of the pod."),
    allow("spec.volumes[].name", Rule::NewVolume, "The volume, for `container.volumeMounts`."),
    allow("spec.volumes[].csi", Rule::NoStoreSecret, "A volume that a CSI driver makes for the pod."),
    allow("spec.volumes[].ephemeral", Rule::Any, "A claim that comes and goes with the pod."),
    allow("spec.volumes[].image", Rule::Any, "The files of an image."),
    allow("spec.volumes[].downwardAPI", Rule::Any, "What the pod is called, as files."),
    allow("spec.volumes[].projected", Rule::PlainSources, "Several sources in one folder."),
    allow("spec.containers[user].name", Rule::Any, "`user`: your container. There is no other to be set."),
    allow("spec.containers[user].imagePullPolicy", Rule::Any, "When nodes ask the registry."),
    allow("spec.containers[user].resizePolicy", Rule::Any, "How the container is resized in place."),
    allow("spec.containers[user].ports[].name", Rule::Any, "A port's name."),
    allow("spec.containers[user].ports[].containerPort", Rule::Any, "A port, for what scrapes or profiles."),
    allow("spec.containers[user].ports[].protocol", Rule::Any, "Its protocol."),
    allow("spec.containers[user].volumeDevices[].name", Rule::Any, "A block device of a claim in `pod.volumes`."),
    allow("spec.containers[user].volumeDevices[].devicePath", Rule::DevicePath, "Where the code finds it."),
    allow(
        "spec.containers[user].securityContext.seccompProfile",
        Rule::Confined,
        "The system calls that the code may make.",
    ),
    allow("spec.containers[user].securityContext.appArmorProfile", Rule::Confined, "The AppArmor profile of the code."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_with_their_domain_and_those_like_it() {
        let taken = [
            "varve.dev/job",
            "x.varve.dev/job",
            "app.kubernetes.io/name",
            "kubernetes.io/os",
            "batch.kubernetes.io/job-name",
            "kueue.x-k8s.io/queue-name",
            "k8s.io/x",
            "job-name",
            "controller-uid",
            "eks.amazonaws.com/skip-containers",
            "azure.workload.identity/use",
        ];
        for key in taken {
            assert!(is_taken(key), "{key}");
        }
        for key in ["team", "example.org/team", "jobs", "job-name.example.org/x"] {
            assert!(!is_taken(key), "{key}");
        }
    }
}
