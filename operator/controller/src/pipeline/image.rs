//! The image of a Pipeline: looked up once per generation, or when the annotation `varve.dev/resolve-image`
//! changes; then it stands in `status.image`, whatever its tag does.
//!
//! Registries are asked first. Where they don't tell, and never have, a pod asks a node. An image that is known so is
//! not pinned: its Jobs see to it that every pod reports the same, and its registry is asked again from time to time.
//! What an image is known by stays what it is known by, so a registry that comes back runs nothing again.

use std::time::Duration;

use tokio::time::Instant;

use kube::ResourceExt;
use varve_api::{
    Pipeline,
    conditions::Reason,
    job::Snapshot,
    labels,
    pipeline::{MAX_ARGS, MAX_COMMAND_WORDS, MAX_WORD, ResolvedImage},
};
use varve_engine::pod::{self, Asked, ImageId, Probe};

use super::State;
use crate::{
    cx::Cx,
    error::{Error, Result},
    image::{self, ImageQuery},
    runner,
};

/// How often the registry of an image that is not pinned is asked again.
const ASKED_EVERY: Duration = Duration::from_mins(10);
/// How long a registry's refusal stands while a pod asks a node, which makes many looks at a Pipeline; and else.
const ASKING: Duration = Duration::from_secs(30);
const ASKED: Duration = Duration::from_secs(3);
/// How long what a pod could not find out stands.
const FAILURE_STANDS: Duration = Duration::from_mins(5);

/// What is remembered of a Pipeline's image. Losing it costs a few questions.
#[derive(Default)]
pub(super) struct Known {
    /// The image, until the status shows it.
    image: Option<ResolvedImage>,
    /// When the registry was asked last.
    asked: Option<Instant>,
    /// What it refused with, and for which pod's name that holds.
    refused: Option<(String, Refusal)>,
    /// Which pod could not find out, when, and why.
    failed: Option<(String, Instant, String)>,
}

/// One look at the image of a Pipeline.
pub(super) struct Resolving<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) cx: &'a Cx,
    pub(super) state: &'a State,
    pub(super) namespace: &'a str,
}

impl Resolving<'_> {
    /// What the image reference stands for, from the status where that is of this generation and request.
    pub(super) async fn run(&self) -> Result<ResolvedImage> {
        if !self.cx.images.are_used() {
            return Ok(self.bare());
        }
        let uid = self.pipeline.uid().unwrap_or_default();
        let (remembered, asked) = self.state.images.with(&uid, |known| (known.image.clone(), known.asked));
        let current = [remembered, self.shown()].into_iter().flatten().find(|image| self.is_current(image));
        if let Some(image) = current {
            if image.unpinned().is_none() || asked.is_some_and(|asked| asked.elapsed() < ASKED_EVERY) {
                return Ok(image);
            }
            let told = self.ask().await.ok().filter(|told| names_same(&image, told));
            let image = told.map_or(image.clone(), |told| self.image(Some(&image), told));
            return Ok(self.remember(image));
        }
        let image = match self.refusal().await? {
            Ok(told) => self.image(self.shown().as_ref(), told),
            Err(refusal) => self.without_registry(refusal).await?,
        };
        check_words(&image)?;
        let (name, identity) = (self.pipeline.name_any(), image.identity());
        tracing::info!(
            namespace = self.namespace,
            pipeline = name,
            image = image.reference,
            identity,
            "image resolved"
        );
        Ok(self.remember(image))
    }

    /// The image in the status, of any generation.
    fn shown(&self) -> Option<ResolvedImage> {
        let image = self.pipeline.status.as_ref()?.image.clone()?;
        (image.reference == self.pipeline.spec.container.image).then_some(image)
    }

    fn is_current(&self, image: &ResolvedImage) -> bool {
        image.reference == self.pipeline.spec.container.image
            && image.resolved_generation == self.generation()
            && image.resolved_request == self.request()
    }

    fn generation(&self) -> i64 {
        self.pipeline.metadata.generation.unwrap_or_default()
    }

    fn request(&self) -> Option<String> {
        self.pipeline.annotations().get(labels::RESOLVE_IMAGE).map(|text| text.chars().take(256).collect())
    }

    fn remember(&self, image: ResolvedImage) -> ResolvedImage {
        let uid = self.pipeline.uid().unwrap_or_default();
        self.state
            .images
            .with(&uid, |known| *known = Known { image: Some(image.clone()), asked: known.asked, ..Known::default() });
        image
    }

    /// What the registry says now.
    async fn ask(&self) -> Result<image::ResolvedImage> {
        let uid = self.pipeline.uid().unwrap_or_default();
        self.state.images.with(&uid, |known| known.asked = Some(Instant::now()));
        let spec = &self.pipeline.spec;
        self.cx.images.resolve(&ImageQuery::of(self.namespace, spec, &spec.container.image)).await
    }

    /// What the registry says, or why it does not tell, where a node may know all the same.
    async fn refusal(&self) -> Result<Result<image::ResolvedImage, Refusal>> {
        let uid = self.pipeline.uid().unwrap_or_default();
        let pod = self.name_of_probe();
        let stands = if self.cx.caches.pods.get(self.namespace, &pod).is_some() { ASKING } else { ASKED };
        let refused = self.state.images.with(&uid, |known| {
            let is_fresh = known.asked.is_some_and(|asked| asked.elapsed() < stands);
            known.refused.clone().filter(|(of, _)| is_fresh && *of == pod)
        });
        if let Some((_, refusal)) = refused {
            return Ok(Err(refusal));
        }
        let refusal = match self.ask().await {
            Ok(told) => return Ok(Ok(told)),
            Err(Error::Told { reason, message, .. }) if Refusal::is_one(reason) => Refusal { reason, message },
            Err(error) => return Err(error),
        };
        self.state.images.with(&uid, |known| known.refused = Some((pod, refusal.clone())));
        Ok(Err(refusal))
    }

    /// What a node says of an image of which no registry ever told.
    async fn without_registry(&self, refusal: Refusal) -> Result<ResolvedImage> {
        if self.shown().is_some_and(|image| image.unpinned().is_none()) {
            return Err(refusal.error("")); // it was known better than a node knows it: what was, is waited for
        }
        let uid = self.pipeline.uid().unwrap_or_default();
        let name = self.name_of_probe();
        let failed = self.state.images.with(&uid, |known| known.failed.clone());
        if let Some((_, _, why)) = failed.filter(|(of, when, _)| *of == name && when.elapsed() < FAILURE_STANDS) {
            return Err(refusal.error(&format!("; no node has it either: {why}")));
        }
        let asked = match self.cx.caches.pods.get(self.namespace, &name) {
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => Asked::Pending(None),
            Some(pod) => {
                let asked = pod::asked(&pod);
                if !matches!(asked, Asked::Pending(_)) {
                    self.cx.act.delete(pod.as_ref()).await?;
                }
                asked
            }
            None => self.start_probe().await?,
        };
        match asked {
            Asked::Pending(held) => {
                let held = held.map(|held| format!(" ({held})")).unwrap_or_default();
                Err(refusal.error(&format!("; pod {name} asks whether a node has it{held}")))
            }
            Asked::Failed(why) => {
                self.state.images.with(&uid, |known| known.failed = Some((name, Instant::now(), why.clone())));
                Err(refusal.error(&format!("; no node has it either: {why}")))
            }
            Asked::Known(id) => Ok(ResolvedImage {
                config_digest: self.configuration(&id).await,
                image_id: Some(id.digest().to_owned()),
                ..self.bare()
            }),
        }
    }

    /// The digest of the configuration of what a node calls so. Of a name that it was pulled by its registry tells.
    async fn configuration(&self, id: &ImageId) -> Option<String> {
        match id {
            ImageId::Config(digest) => Some(digest.clone()),
            ImageId::Name(name) => image::configuration(self.cx, self.namespace, &self.pipeline.spec, name).await,
        }
    }

    async fn start_probe(&self) -> Result<Asked> {
        let snapshot = self.snapshot();
        let around = self.cx.surroundings(self.namespace, "");
        match self.cx.act.create(&pod::probe(&self.probe(&snapshot), &around)).await {
            Ok(_) => Ok(Asked::Pending(None)),
            Err(error) if matches!(error.api_code(), Some(400..=499)) => {
                Ok(Asked::Failed(format!("a pod that asks can't be made: {}", runner::chain(&error))))
            }
            Err(error) => Err(error),
        }
    }

    fn name_of_probe(&self) -> String {
        self.probe(&self.snapshot()).name()
    }

    fn probe<'a>(&'a self, snapshot: &'a Snapshot) -> Probe<'a> {
        let pipeline = self.pipeline.metadata.name.as_deref().unwrap_or_default();
        Probe { pipeline, snapshot, request: self.request() }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            uid: self.pipeline.uid().unwrap_or_default(),
            generation: self.generation(),
            spec: self.pipeline.spec.clone(),
            image: self.bare(),
        }
    }

    /// The image as its reference alone tells.
    fn bare(&self) -> ResolvedImage {
        ResolvedImage {
            reference: self.pipeline.spec.container.image.clone(),
            resolved_generation: self.generation(),
            resolved_request: self.request(),
            ..ResolvedImage::default()
        }
    }

    /// The image as statuses keep it. What it was known by `before` it stays known by, if it is the same.
    fn image(&self, before: Option<&ResolvedImage>, told: image::ResolvedImage) -> ResolvedImage {
        let bare = self.bare();
        let before = before.filter(|before| names_same(before, &told));
        let known_as =
            before.filter(|before| before.config_digest.is_none()).map(|before| before.identity().to_owned());
        let Some(config) = told.config else {
            // Its reference names a digest, so whatever was known of it holds.
            let digest = Some(told.manifest_digest);
            let new = ResolvedImage { manifest_digest: digest.clone(), image_id: digest, ..bare.clone() };
            let ResolvedImage { resolved_generation, resolved_request, .. } = bare;
            let known = before.cloned().unwrap_or(new);
            return ResolvedImage { resolved_generation, resolved_request, ..known };
        };
        ResolvedImage {
            manifest_digest: Some(told.manifest_digest),
            config_digest: known_as.is_none().then_some(config.digest),
            image_id: known_as,
            architecture: config.architecture,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            working_dir: config.working_dir,
            user: config.user,
            ..bare
        }
    }
}

/// Whether an image that is known is that which the registry tells of now.
fn names_same(known: &ResolvedImage, told: &image::ResolvedImage) -> bool {
    match &told.config {
        Some(config) if known.config_digest.is_some() => known.config_digest.as_ref() == Some(&config.digest),
        Some(_) => [&told.digest, &told.manifest_digest].into_iter().any(|digest| known.identity() == digest),
        None => true, // told by the digest in the reference, and `known` has the same reference
    }
}

/// Why a registry does not tell.
#[derive(Clone, Debug)]
struct Refusal {
    reason: Reason,
    message: String,
}

impl Refusal {
    /// Whether a node may know what the registry does not tell.
    fn is_one(reason: Reason) -> bool {
        matches!(reason, Reason::ImageUnreachable | Reason::ImageNotFound | Reason::ImageUnauthorized)
    }

    /// The refusal as the user reads it, with what came of asking a node.
    fn error(self, more: &str) -> Error {
        let message = format!("{}{more}", self.message);
        match self.reason {
            Reason::ImageUnreachable => Error::waiting(self.reason, message),
            reason => Error::stalled(reason, message),
        }
    }
}

/// An image may say more than an object's status and a Job's spec have room for.
fn check_words(image: &ResolvedImage) -> Result<()> {
    let parts = [("entrypoint", &image.entrypoint, MAX_COMMAND_WORDS), ("arguments", &image.cmd, MAX_ARGS)];
    for (part, words, most) in parts {
        if words.len() > most || words.iter().any(|word| word.chars().count() > MAX_WORD) {
            return Err(Error::stalled(
                Reason::ImageInvalid,
                format!(
                    "image {}: its {part} may have at most {most} words of at most {MAX_WORD} characters: put them into \
                     a script in the image",
                    image.reference
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_whose_words_no_object_can_hold_is_told_and_not_tried_for_ever() {
        let with = |entrypoint: Vec<String>, cmd: Vec<String>| {
            check_words(&ResolvedImage { entrypoint, cmd, ..ResolvedImage::default() })
        };
        let words = |count, length| vec!["x".repeat(length); count];
        assert!(with(words(MAX_COMMAND_WORDS, 1), words(MAX_ARGS, 3000)).is_ok());
        assert!(with(words(MAX_COMMAND_WORDS + 1, 1), vec![]).is_err());
        let error = with(vec![], words(1, MAX_WORD + 1)).expect_err("too long");
        assert!(error.to_string().contains("its arguments may have at most 256 words"), "{error}");
    }
}
