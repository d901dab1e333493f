//! The image of a Pipeline: looked up once per generation, or when the annotation `varve.dev/resolve-image`
//! changes; then it stands in `status.image`, whatever its tag does.

use kube::ResourceExt;
use varve_api::{Pipeline, labels, pipeline::ResolvedImage};

use super::{State, observe::api_image};
use crate::{cx::Cx, error::Result, image::ImageQuery};

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
        architecture: pod.and_then(|pod| pod.node_selector.get("kubernetes.io/arch")).map(String::as_str),
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
    state.remember_image(uid, image.clone());
    Ok(image)
}
