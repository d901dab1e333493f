//! The images of an engine: pulled where missing, and called by the digest of their configuration.

use super::{Engine, EngineKind, last_line};

/// Why an image isn't there, as a waiting container says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullError {
    /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
    pub(crate) reason: &'static str,
    /// The engine's words.
    pub(crate) message: String,
}

impl PullError {
    /// The pod is to stop before its image was there.
    pub(crate) fn stopped() -> Self {
        Self { reason: "ErrImagePull", message: "the pod is being stopped".to_owned() }
    }
}

impl Engine {
    /// Sees to it that the image is there; gives its `imageID`.
    pub(crate) async fn image(&self, reference: &str, policy: Option<&str>) -> Result<String, PullError> {
        let known = self.image_id(reference).await;
        match (known, policy) {
            (Some(id), policy) if policy != Some("Always") => return Ok(id),
            (None, Some("Never")) => {
                let message = format!("Container image \"{reference}\" is not present with pull policy of Never");
                return Err(PullError { reason: "ErrImageNeverPull", message });
            }
            _ => {}
        }
        let failed = |message: String| PullError { reason: reason(&message), message };
        let pulled = self.call(&["pull", reference]).await.map_err(|error| failed(error.to_string()))?;
        if !pulled.status.success() {
            return Err(failed(last_line(&pulled.stderr)));
        }
        let missing = || failed(format!("image {reference} is not there although it was pulled"));
        self.image_id(reference).await.ok_or_else(missing)
    }

    async fn image_id(&self, reference: &str) -> Option<String> {
        let said = self.call(&["image", "inspect", "--format", "{{.Id}}", reference]).await.ok()?;
        let id = String::from_utf8_lossy(&said.stdout).lines().next()?.trim().to_owned();
        (said.status.success() && !id.is_empty()).then(|| EngineKind::image_id(&id))
    }
}

fn reason(message: &str) -> &'static str {
    if message.contains("invalid reference format") { "InvalidImageName" } else { "ErrImagePull" }
}
