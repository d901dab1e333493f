//! Asks registries what a reference means now: manifest, config, entrypoint.
//!
//! The *config digest* is an image's identity: it is the same for a tag, an index, a digest and a local
//! import, while the digest of an index names many images. Pods run `repo@sha256:<manifest>`, so a tag
//! that moves during a Job changes nothing. Credentials are found as the kubelet finds them: the pull
//! secrets of the Pipeline, then those of its service account; each that fits the registry is tried, the
//! anonymous way last.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::{Node, Secret, ServiceAccount};
use kube::{Api, Client, ResourceExt, api::ListParams};
use oci_client::{
    Client as Registry, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{ImageIndexEntry, OciManifest},
    secrets::RegistryAuth,
};
use serde::Deserialize;
use varve_api::conditions::Reason;

use crate::{
    error::{Error, Result},
    runner::chain,
};

/// Longest wait for a connection to a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a registry.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest image config read. They are a few KiB; one per layer of history grows slowly.
const MAX_CONFIG_BYTES: i64 = 4 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub struct ImageQuery<'a> {
    /// The Pipeline's namespace.
    pub namespace: &'a str,
    /// The reference as the user wrote it.
    pub reference: &'a str,
    /// `pod.imagePullSecrets`.
    pub pull_secrets: &'a [String],
    /// `pod.serviceAccountName`; `default` where absent.
    pub service_account: Option<&'a str>,
    /// `kubernetes.io/arch` of the nodes it will run on, where the Pipeline says; else the nodes are asked.
    pub architecture: Option<&'a str>,
}

/// What a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// What pods run: `repo@sha256:<manifest>`.
    pub reference: String,
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
    /// `Env`, as `NAME=value`.
    pub env: Vec<String>,
    /// The architecture that it is built for, in Go's words; absent where empty.
    pub architecture: Option<String>,
}

impl ResolvedImage {
    /// What decides whether two images are the same: the config digest, else the best there is.
    pub fn identity(&self) -> &str {
        self.config.as_ref().map_or(&self.manifest_digest, |config| &config.digest)
    }
}

/// Asks registries.
pub struct Images {
    client: Client,
    insecure: Vec<String>,
}

impl Images {
    /// A resolver that reads Secrets by `client` and speaks plain HTTP to `insecure` registries.
    pub fn new(client: Client, insecure: Vec<String>) -> Self {
        Self { client, insecure }
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
        let mut refused = None;
        for auth in self.credentials(query, &reference).await? {
            let is_anonymous = auth == RegistryAuth::Anonymous;
            match self.ask(&reference, &auth, &architecture).await {
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

    async fn ask(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
        architecture: &str,
    ) -> Result<ResolvedImage, Refusal> {
        let registry = Registry::try_from(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(self.insecure.clone()),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: "varve",
            platform_resolver: None,
            ..ClientConfig::default()
        })?;
        registry.auth(reference, auth, RegistryOperation::Pull).await?;
        let (manifest, digest) = registry.pull_manifest(reference, auth).await?;
        let (manifest, digest) = match manifest {
            OciManifest::Image(manifest) => (manifest, digest),
            OciManifest::ImageIndex(index) => {
                let chosen = choose(&index.manifests, architecture)?;
                let entry = reference.clone_with_digest(chosen.clone());
                match registry.pull_manifest(&entry, auth).await? {
                    (OciManifest::Image(manifest), _) => (manifest, chosen),
                    (OciManifest::ImageIndex(_), _) => {
                        return Err(Refusal::Unusable(Reason::ImageInvalid, "its index names another index".into()));
                    }
                }
            }
        };
        if manifest.config.size > MAX_CONFIG_BYTES {
            return Err(Refusal::Unusable(
                Reason::ImageInvalid,
                format!("its config has {} bytes", manifest.config.size),
            ));
        }
        let mut bytes = Vec::new();
        registry.pull_blob(reference, &manifest.config, &mut bytes).await?;
        Ok(ResolvedImage {
            reference: format!("{}/{}@{digest}", reference.registry(), reference.repository()),
            manifest_digest: digest,
            config: Some(read_config(manifest.config.digest, &bytes)?),
        })
    }

    /// The credentials to try, in order: those that pull secrets hold for this registry, then none.
    async fn credentials(&self, query: &ImageQuery<'_>, reference: &Reference) -> Result<Vec<RegistryAuth>> {
        let mut names: Vec<String> = query.pull_secrets.to_vec();
        let account = query.service_account.unwrap_or("default");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), query.namespace);
        let found =
            accounts.get_opt(account).await.map_err(Error::api(format_args!("get ServiceAccount {account}")))?;
        names.extend(
            found.and_then(|found| found.image_pull_secrets).unwrap_or_default().into_iter().map(|secret| secret.name),
        );
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), query.namespace);
        let mut found = Vec::new();
        for name in names {
            // The kubelet passes over a pull secret that is not there; so do we.
            let secret = secrets.get_opt(&name).await.map_err(Error::api(format_args!("get Secret {name}")))?;
            let Some(secret) = secret else { continue };
            found.extend(credentials_in(&secret, reference));
        }
        found.push(RegistryAuth::Anonymous);
        Ok(found)
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

/// Why a registry did not tell.
enum Refusal {
    Unauthorised(String),
    Missing(String),
    Unreachable(String),
    Unusable(Reason, String),
}

impl From<OciDistributionError> for Refusal {
    fn from(error: OciDistributionError) -> Self {
        let words = chain(&error);
        match &error {
            OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
                Self::Unauthorised(words)
            }
            OciDistributionError::ImageManifestNotFoundError(_) => Self::Missing(words),
            OciDistributionError::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|e| codes.contains(&e.code));
                if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    Self::Unauthorised(words)
                } else if has(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                    OciErrorCode::BlobUnknown,
                    OciErrorCode::NameInvalid,
                    OciErrorCode::TagInvalid,
                ]) {
                    Self::Missing(words)
                } else {
                    Self::Unreachable(words)
                }
            }
            OciDistributionError::ServerError { code, .. } => match code {
                401 | 403 => Self::Unauthorised(words),
                404 => Self::Missing(words),
                _ => Self::Unreachable(words),
            },
            OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => Self::Unreachable(words),
            _ => Self::Unusable(Reason::ImageInvalid, words),
        }
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
    Error::stalled(
        Reason::ImageNotFound,
        format!("the registry has no image {}: {words}. Check name and tag, or push it", query.reference),
    )
}

fn unreachable(query: &ImageQuery<'_>, words: &str) -> Error {
    Error::waiting(Reason::ImageUnreachable, format!("the registry of {} does not answer: {words}", query.reference))
}

/// What a reference with a digest means without asking anybody.
fn pinned(reference: &Reference) -> Option<ResolvedImage> {
    let digest = reference.digest()?.to_owned();
    Some(ResolvedImage {
        reference: format!("{}/{}@{digest}", reference.registry(), reference.repository()),
        manifest_digest: digest,
        config: None,
    })
}

fn choose(entries: &[ImageIndexEntry], architecture: &str) -> Result<String, Refusal> {
    let name = |entry: &ImageIndexEntry| {
        let platform = entry.platform.as_ref()?;
        Some((platform.os.to_string(), platform.architecture.to_string()))
    };
    if let Some(entry) =
        entries.iter().find(|entry| name(entry).is_some_and(|(os, arch)| os == "linux" && arch == architecture))
    {
        return Ok(entry.digest.clone());
    }
    // Some builders leave the platform out where there is but one.
    if let [only] = entries
        && only.platform.is_none()
    {
        return Ok(only.digest.clone());
    }
    let mut has: Vec<_> = entries.iter().filter_map(name).map(|(os, arch)| format!("{os}/{arch}")).collect();
    has.sort();
    has.dedup();
    Err(Refusal::Unusable(
        Reason::ImagePlatformMissing,
        format!("it has nothing for linux/{architecture}, the nodes' platform; it has {}", has.join(", ")),
    ))
}

#[derive(Deserialize)]
struct ConfigBlob {
    #[serde(default)]
    config: Option<ConfigPart>,
    #[serde(default)]
    architecture: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigPart {
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    env: Option<Vec<String>>,
}

fn read_config(digest: String, bytes: &[u8]) -> Result<ImageConfig, Refusal> {
    let blob: ConfigBlob = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::Unusable(Reason::ImageInvalid, format!("its config is unreadable: {error}")))?;
    let part = blob.config.unwrap_or_default();
    Ok(ImageConfig {
        digest,
        entrypoint: part.entrypoint.unwrap_or_default(),
        cmd: part.cmd.unwrap_or_default(),
        working_dir: part.working_dir.filter(|dir| !dir.is_empty()),
        user: part.user.filter(|user| !user.is_empty()),
        env: part.env.unwrap_or_default(),
        architecture: blob.architecture.filter(|architecture| !architecture.is_empty()),
    })
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

/// What a pull secret holds for the registry of `reference`, the longest matching entry first.
fn credentials_in(secret: &Secret, reference: &Reference) -> Vec<RegistryAuth> {
    let data = secret.data.iter().flatten();
    let mut found: Vec<(usize, RegistryAuth)> = Vec::new();
    for (key, value) in data {
        let auths = match key.as_str() {
            ".dockerconfigjson" => {
                serde_json::from_slice::<DockerConfig>(&value.0).map(|config| config.auths).unwrap_or_default()
            }
            ".dockercfg" => serde_json::from_slice(&value.0).unwrap_or_default(),
            _ => continue,
        };
        for (server, auth) in auths {
            if let (true, Some(basic)) = (is_for(&server, reference), basic(&auth)) {
                found.push((server.len(), basic));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// Whether an entry of a docker config (`https://index.docker.io/v1/`, `host:5000`, `host/path`) is for
/// this image.
fn is_for(server: &str, reference: &Reference) -> bool {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_start_matches("v1").trim_start_matches("v2").trim_matches('/');
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let is_host = host == reference.registry() || hub.contains(&host) && hub.contains(&reference.registry());
    let repository = reference.repository();
    let is_path =
        path.is_empty() || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_host && is_path
}

fn basic(auth: &DockerAuth) -> Option<RegistryAuth> {
    if let (Some(user), Some(password)) = (&auth.username, &auth.password) {
        return Some(RegistryAuth::Basic(user.clone(), password.clone()));
    }
    let decoded = BASE64.decode(auth.auth.as_ref()?.trim().as_bytes()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic(user.into(), password.into()))
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
    use k8s_openapi::ByteString;

    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn pull_secret(json: &str) -> Secret {
        Secret { data: Some([(".dockerconfigjson".into(), ByteString(json.into()))].into()), ..Secret::default() }
    }

    #[test]
    fn a_pull_secret_serves_its_own_registry_alone() {
        let secret = pull_secret(
            r#"{"auths": {"https://one.example:5000/v2/": {"auth": "YW5uOnNlY3JldA=="},
                          "two.example/team": {"username": "bob", "password": "pw"}}}"#,
        );
        assert_eq!(
            credentials_in(&secret, &reference("one.example:5000/a/b:1")),
            [RegistryAuth::Basic("ann".into(), "secret".into())]
        );
        assert_eq!(
            credentials_in(&secret, &reference("two.example/team/x:1")),
            [RegistryAuth::Basic("bob".into(), "pw".into())]
        );
        assert_eq!(credentials_in(&secret, &reference("two.example/teamwork/x:1")), []);
        assert_eq!(credentials_in(&secret, &reference("three.example/x:1")), []);
    }

    #[test]
    fn docker_hub_goes_by_several_names() {
        assert!(is_for("https://index.docker.io/v1/", &reference("python:3")));
    }

    #[test]
    fn an_image_config_with_nulls_is_read() {
        let config = read_config(
            "sha256:c".into(),
            br#"{"architecture": "arm64", "config": {"Entrypoint": null, "Cmd": ["/bin/x"], "WorkingDir": "", "Env": ["A=1"]}}"#,
        )
        .ok()
        .unwrap();
        assert_eq!(
            config,
            ImageConfig {
                digest: "sha256:c".into(),
                entrypoint: vec![],
                cmd: vec!["/bin/x".into()],
                working_dir: None,
                user: None,
                env: vec!["A=1".into()],
                architecture: Some("arm64".into()),
            }
        );
    }

    #[test]
    fn a_digest_needs_no_registry() {
        let digest = format!("sha256:{}", "7".repeat(64));
        let image = pinned(&reference(&format!("one.example/x@{digest}"))).unwrap();
        assert_eq!(image.reference, format!("one.example/x@{digest}"));
        assert_eq!(image.identity(), digest);
        assert_eq!(pinned(&reference("one.example/x:1")), None);
    }
}
