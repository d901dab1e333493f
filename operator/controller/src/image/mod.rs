//! Asks registries what a reference means now: manifest, config, entrypoint.
//!
//! The *config digest* is an image's identity: it is the same for a tag, an index, a digest and a local
//! import, while the digest of an index names many images. Pods run `repo@sha256:<manifest>`, so a tag
//! that moves during a Job changes nothing. Credentials are found as the kubelet finds them: the pull
//! secrets of the Pipeline, then those of its service account; each that fits the registry is tried, the
//! anonymous way last.

mod credentials;
mod registry;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt, api::ListParams};
use oci_client::{Reference, secrets::RegistryAuth};
use tokio::time::Instant;
use varve_api::{conditions::Reason, pipeline::PipelineSpec};
use varve_engine::pod::architecture;

use self::registry::Refusal;
use crate::cx::Cx;
use crate::error::{Error, Result};

/// Longest that a look at a registry takes, all credentials and answers together: a server that answers a
/// byte at a time holds up nobody else for longer.
const RESOLVED_WITHIN: Duration = Duration::from_secs(45);

/// What is asked.
#[derive(Clone, Debug)]
pub struct ImageQuery<'a> {
    /// The Pipeline's namespace.
    pub namespace: &'a str,
    /// The reference as the user wrote it.
    pub reference: &'a str,
    /// `pod.imagePullSecrets`.
    pub pull_secrets: Vec<String>,
    /// `pod.serviceAccountName`; `default` where absent.
    pub service_account: Option<&'a str>,
    /// `kubernetes.io/arch` of the nodes it will run on, where the Pipeline says; else the nodes are asked.
    pub architecture: Option<&'a str>,
}

impl<'a> ImageQuery<'a> {
    /// What `reference` means to the pods of a Pipeline.
    pub fn of(namespace: &'a str, spec: &'a PipelineSpec, reference: &'a str) -> Self {
        let pod = spec.pod.as_ref();
        Self {
            namespace,
            reference,
            pull_secrets: pod
                .iter()
                .flat_map(|pod| &pod.image_pull_secrets)
                .map(|secret| secret.name.clone())
                .collect(),
            service_account: pod.and_then(|pod| pod.service_account_name.as_deref()),
            architecture: pod.and_then(architecture),
        }
    }
}

/// The digest of the configuration of an image with this name, where its registry tells.
pub(crate) async fn configuration(cx: &Cx, namespace: &str, spec: &PipelineSpec, name: &str) -> Option<String> {
    let told = cx.images.resolve(&ImageQuery::of(namespace, spec, name)).await;
    let told = told.inspect_err(|error| tracing::debug!(image = name, %error, "no registry tells")).ok()?;
    Some(told.config?.digest)
}

/// What a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// What pods run: `repo@sha256:<manifest>`.
    pub reference: String,
    /// What the reference itself names: an index, or the manifest.
    pub digest: String,
    /// Digest of the platform's manifest.
    pub manifest_digest: String,
    /// Digest and content of the config; `None` where no registry answered and the reference itself
    /// held a digest.
    pub config: Option<ImageConfig>,
}

/// An image's config: its identity, and how it wants to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// Digest of the config: the identity.
    pub digest: String,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `WorkingDir`, absent where empty.
    pub working_dir: Option<String>,
    /// `User`, absent where empty.
    pub user: Option<String>,
    /// The architecture that it is built for, in Go's words; absent where empty.
    pub architecture: Option<String>,
    /// `Env`, as `NAME=value`.
    pub env: Vec<String>,
}

/// Where it is found out what a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At registries.
    Registries {
        /// Those (`host` or `host:port`) that are spoken to by plain HTTP.
        insecure: Vec<String>,
    },
    /// Nowhere: commands run on this machine, with what is installed there, and no image is used.
    Host,
}

/// Asks registries.
pub struct Images {
    client: Client,
    source: Source,
}

impl Images {
    /// A resolver that reads Secrets by `client`.
    pub fn new(client: Client, source: Source) -> Self {
        Self { client, source }
    }

    /// Whether images are used at all.
    pub fn are_used(&self) -> bool {
        self.source != Source::Host
    }

    /// What `query.reference` means now.
    pub async fn resolve(&self, query: &ImageQuery<'_>) -> Result<ResolvedImage> {
        let reference: Reference = query.reference.parse().map_err(|error| {
            Error::stalled(
                Reason::ImageInvalid,
                format!("container.image {:?} is no image reference: {error}", query.reference),
            )
        })?;
        let architecture = match query.architecture {
            Some(given) => given.to_owned(),
            None => self.architecture().await,
        };
        let insecure: &[String] = if let Source::Registries { insecure } = &self.source { insecure } else { &[] };
        let credentials = credentials::find(&self.client, query, &reference).await?;
        let deadline = Instant::now() + RESOLVED_WITHIN;
        let mut refused = None;
        for auth in credentials {
            let is_anonymous = auth == RegistryAuth::Anonymous;
            let asking = registry::ask(insecure, &reference, &auth, &architecture);
            let asked = tokio::time::timeout_at(deadline, asking).await.unwrap_or_else(|_| {
                Err(Refusal::Unreachable(format!("it has not told all within {} s", RESOLVED_WITHIN.as_secs())))
            });
            match asked {
                Ok(resolved) => return Ok(resolved),
                Err(Refusal::Unauthorised(words)) => {
                    // The anonymous answer says least: keep that of a credential.
                    if refused.is_none() || !is_anonymous {
                        refused = Some(words);
                    }
                }
                Err(Refusal::Unreachable(words)) => {
                    return pinned(&reference).ok_or_else(|| unreachable(query, &words));
                }
                Err(Refusal::Missing(words)) => return Err(missing(query, &words)),
                Err(Refusal::Unusable(reason, words)) => {
                    return Err(Error::stalled(reason, format!("image {}: {words}", query.reference)));
                }
            }
        }
        Err(unauthorised(query, &refused.unwrap_or_default()))
    }

    /// The architecture of the cluster's nodes; where they differ, ours if it is among them.
    async fn architecture(&self) -> String {
        let own = go_architecture(std::env::consts::ARCH);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let listed = nodes.list_metadata(&ListParams::default()).await;
        let Ok(listed) = listed else {
            return own.to_owned(); // not allowed to look at nodes: assume that they are like ours
        };
        let mut found: Vec<String> =
            listed.items.iter().filter_map(|node| node.labels().get("kubernetes.io/arch").cloned()).collect();
        found.sort();
        if found.iter().any(|name| name == own) {
            return own.to_owned();
        }
        found.into_iter().next().unwrap_or_else(|| own.to_owned())
    }
}

fn unauthorised(query: &ImageQuery<'_>, words: &str) -> Error {
    Error::stalled(
        Reason::ImageUnauthorized,
        format!(
            "the registry does not let us read {}: {words}. Name a Secret of type \
             kubernetes.io/dockerconfigjson for it in pod.imagePullSecrets, or check the name",
            query.reference
        ),
    )
}

fn missing(query: &ImageQuery<'_>, words: &str) -> Error {
    let (lacks, check) = lacking(words);
    let message =
        format!("the registry has no image {}: {lacks}. Check {check}, or push it ({words})", query.reference);
    Error::stalled(Reason::ImageNotFound, message)
}

/// What a registry lacks, and what to look at, by its words. Some say of a repository that is not there only that the tag
/// is not.
fn lacking(words: &str) -> (&'static str, &'static str) {
    let lower = words.to_lowercase();
    if ["name unknown", "name_unknown", "nameunknown", "repository name not known"].iter().any(|it| lower.contains(it))
    {
        ("it knows no repository of that name", "the name")
    } else if ["manifest unknown", "manifest_unknown", "manifestunknown"].iter().any(|it| lower.contains(it)) {
        ("it knows no such tag or digest under that name", "name and tag")
    } else {
        ("it knows no such name or tag", "name and tag")
    }
}

fn unreachable(query: &ImageQuery<'_>, words: &str) -> Error {
    Error::waiting(
        Reason::ImageUnreachable,
        format!(
            "the registry of {} does not answer: {words}. It is asked again; if that goes on, check the registry's name \
             in container.image and whether the operator's pods can reach it",
            query.reference
        ),
    )
}

/// What a reference with a digest means without asking anybody.
fn pinned(reference: &Reference) -> Option<ResolvedImage> {
    let digest = reference.digest()?.to_owned();
    Some(ResolvedImage {
        reference: format!("{}/{}@{digest}", reference.registry(), reference.repository()),
        digest: digest.clone(),
        manifest_digest: digest,
        config: None,
    })
}

/// Go's name of an architecture, as images and nodes use it.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_registry_does_not_know_is_told_from_a_tag() {
        let lacks = |words: &str| lacking(words).0;
        assert_eq!(lacks("OCI API errors: [NAME_UNKNOWN: none]"), "it knows no repository of that name");
        assert_eq!(lacks("manifest unknown"), "it knows no such tag or digest under that name");
        assert_eq!(lacks("it answers with code 404"), "it knows no such name or tag");
    }

    #[test]
    fn a_digest_needs_no_registry() {
        let reference = |text: &str| text.parse::<Reference>().unwrap();
        let digest = format!("sha256:{}", "7".repeat(64));
        let image = pinned(&reference(&format!("one.example/x@{digest}"))).unwrap();
        assert_eq!(image.reference, format!("one.example/x@{digest}"));
        assert_eq!(image.manifest_digest, digest);
        assert_eq!(pinned(&reference("one.example/x:1")), None);
    }
}
