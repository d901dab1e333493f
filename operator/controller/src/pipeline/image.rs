//! The image of a Pipeline: looked up once per generation, or when the annotation `varve.dev/resolve-image`
//! changes; then it stands in `status.image`, whatever its tag does.

use kube::ResourceExt;
use varve_api::{
    Pipeline,
    conditions::Reason,
    labels,
    pipeline::{MAX_ARGS, MAX_COMMAND_WORDS, MAX_WORD, ResolvedImage},
};
use varve_engine::pod::architecture;

use super::{State, observe::api_image};
use crate::{
    cx::Cx,
    error::{Error, Result},
    image::ImageQuery,
};

/// What the image reference stands for, from the status where that is of this generation and request.
pub(crate) async fn resolve(pipeline: &Pipeline, cx: &Cx, state: &State, namespace: &str) -> Result<ResolvedImage> {
    let spec = &pipeline.spec;
    let generation = pipeline.metadata.generation.unwrap_or_default();
    let request = pipeline.annotations().get(labels::RESOLVE_IMAGE).map(|text| text.chars().take(256).collect());
    let is_current = |image: &ResolvedImage| {
        image.reference == spec.container.image
            && image.resolved_generation == generation
            && image.resolved_request == request
    };
    let uid = pipeline.uid().unwrap_or_default();
    let known = pipeline.status.as_ref().and_then(|status| status.image.clone()).filter(is_current);
    if let Some(image) = known.or_else(|| state.image(&uid).filter(is_current)) {
        return Ok(image);
    }
    let pod = spec.pod.as_ref();
    let pull_secrets: Vec<String> =
        pod.iter().flat_map(|pod| &pod.image_pull_secrets).map(|secret| secret.name.clone()).collect();
    let query = ImageQuery {
        namespace,
        reference: &spec.container.image,
        pull_secrets: &pull_secrets,
        service_account: pod.and_then(|pod| pod.service_account_name.as_deref()),
        architecture: pod.and_then(architecture),
    };
    let resolved = cx.images.resolve(&query).await?;
    tracing::info!(
        namespace,
        pipeline = pipeline.name_any(),
        image = resolved.reference,
        identity = resolved.identity(),
        "image resolved"
    );
    let image = api_image(&spec.container.image, resolved, generation, request);
    check_words(&image)?;
    state.remember_image(uid, image.clone());
    Ok(image)
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
