//! One conversation with a registry: manifest, platform, config; and what it means when it does not tell.
//!
//! A registry is anybody's server: how long it is listened to, how much of it is read and what of its words
//! is shown are all bounded here and in [`super`].

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use oci_client::{
    Client as Registry, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{ImageIndexEntry, OciManifest},
    secrets::RegistryAuth,
};
use serde::Deserialize;
use tokio::io::AsyncWrite;
use varve_api::conditions::Reason;

use super::{ImageConfig, ResolvedImage};
use crate::runner::chain;

/// Longest wait for a connection to a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a registry.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest image config read. They are a few KiB; one per layer of history grows slowly.
const MAX_CONFIG_BYTES: usize = 4 << 20;
/// Characters shown of what a registry says.
const MAX_WORDS: usize = 300;

/// What `reference` means to the registry, asked with `auth`.
pub(super) async fn ask(
    insecure: &[String],
    reference: &Reference,
    auth: &RegistryAuth,
    architecture: &str,
) -> Result<ResolvedImage, Refusal> {
    let registry = Registry::try_from(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(insecure.to_vec()),
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: "varve",
        platform_resolver: None,
        ..ClientConfig::default()
    })?;
    registry.auth(reference, auth, RegistryOperation::Pull).await?;
    let (manifest, named) = registry.pull_manifest(reference, auth).await?;
    let (manifest, digest) = match manifest {
        OciManifest::Image(manifest) => (manifest, named.clone()),
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
    if usize::try_from(manifest.config.size).map_or(true, |size| size > MAX_CONFIG_BYTES) {
        return Err(too_large());
    }
    let mut bytes = Capped::new(MAX_CONFIG_BYTES);
    let pulled = registry.pull_blob(reference, &manifest.config, &mut bytes).await;
    if bytes.is_full {
        return Err(too_large());
    }
    pulled?;
    Ok(ResolvedImage {
        reference: format!("{}/{}@{digest}", reference.registry(), reference.repository()),
        digest: named,
        manifest_digest: digest,
        config: Some(read_config(manifest.config.digest, &bytes.bytes)?),
    })
}

/// Why a registry did not tell.
pub(super) enum Refusal {
    Unauthorised(String),
    Missing(String),
    Unreachable(String),
    Unusable(Reason, String),
}

impl From<OciDistributionError> for Refusal {
    fn from(error: OciDistributionError) -> Self {
        let words = told(&error);
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

/// What may be shown of a registry's refusal: the status carries it to whoever reads Pipelines, so what a
/// server answered stays out, but for the messages of the distribution API's own errors. (A token's server
/// is named by the registry, and may be anything.)
fn told(error: &OciDistributionError) -> String {
    let words = match error {
        OciDistributionError::AuthenticationFailure(body) => {
            messages(body).unwrap_or_else(|| "its token server refuses the credentials".to_owned())
        }
        OciDistributionError::RegistryTokenDecodeError(_) => "its token server's answer holds no token".to_owned(),
        OciDistributionError::ServerError { code, .. } => format!("it answers with code {code}"),
        error => chain(error),
    };
    let words = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    words.take(MAX_WORDS).collect()
}

/// The messages of a body in the form of the distribution API.
fn messages(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    let body: Body = serde_json::from_str(body).ok()?;
    let told: Vec<String> = body.errors.into_iter().map(|told| told.message).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn too_large() -> Refusal {
    Refusal::Unusable(Reason::ImageInvalid, format!("its config has more than {MAX_CONFIG_BYTES} bytes"))
}

/// Bytes up to a limit; whoever writes more is refused, whatever length was declared.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
    is_full: bool,
}

impl Capped {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, is_full: false }
    }
}

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.bytes.len() + bytes.len() > self.max {
            self.is_full = true;
            return Poll::Ready(Err(std::io::ErrorKind::FileTooLarge.into()));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
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
        architecture: blob.architecture.filter(|architecture| !architecture.is_empty()),
        env: part.env.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

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
                architecture: Some("arm64".into()),
                env: vec!["A=1".into()],
            }
        );
    }

    #[tokio::test]
    async fn a_config_that_goes_on_beyond_its_limit_is_not_read_on() {
        let mut capped = Capped::new(10);
        capped.write_all(b"0123456789").await.unwrap();
        assert!(!capped.is_full);
        capped.write_all(b"0").await.unwrap_err();
        assert_eq!((capped.is_full, capped.bytes.len()), (true, 10));
    }

    #[test]
    fn of_what_a_server_answers_only_the_api_s_own_messages_are_shown() {
        let shown = |body: &str| told(&OciDistributionError::AuthenticationFailure(body.into()));
        assert!(!shown("aws_secret_access_key=hunter2").contains("hunter2"));
        assert!(!shown(r#"{"secret": "hunter2"}"#).contains("hunter2"));
        assert_eq!(shown(r#"{"errors": [{"code": "DENIED", "message": "not\nyours"}]}"#), "not yours");
        assert_eq!(shown(&format!(r#"{{"errors": [{{"message": "{}"}}]}}"#, "x".repeat(5_000))).len(), MAX_WORDS);
        let server = OciDistributionError::ServerError { code: 500, url: "http://x".into(), message: "hunter2".into() };
        assert_eq!(told(&server), "it answers with code 500");
    }
}
