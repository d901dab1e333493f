//! Images that can't be pulled: what the node's container runtime says of them.

use k8s_openapi::api::core::v1::Pod;
use varve_api::conditions::Reason;
use varve_api::pod;

use super::finding::{Finding, Who};
use super::pods::waiting;

/// Why an image can't be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    NoImageName,
    NeverPulled,
    Signature,
    Platform,
    NoRepositoryOrRight,
    NoRight,
    NoTag,
    NoRepository,
    NoImage,
    NoLonger,
    Certificate,
    TooMany,
    DiskFull,
    NoAnswer,
    Unknown,
}

/// An image that can't be pulled.
pub(super) fn image(pods: &[&Pod]) -> Option<Finding> {
    let pulls = waiting(pods).filter(|(_, state)| {
        matches!(
            state.reason.as_deref(),
            Some(
                "ErrImagePull"
                    | "ImagePullBackOff"
                    | "InvalidImageName"
                    | "ErrImageNeverPull"
                    | "ImageInspectError"
                    | "RegistryUnavailable"
                    | "SignatureValidationFailed"
            )
        )
    });
    // The first failure has the registry's words; the back-off after it may have none.
    let (container, state) = pulls.min_by_key(|(_, state)| without_frame(state.message.as_deref()).is_empty())?;
    let said = without_frame(state.message.as_deref());
    let cause = match cause(state.reason.as_deref().unwrap_or_default(), said) {
        // Whoever resolved it to that digest has seen it there.
        Cause::NoImage | Cause::NoTag if container.image.contains("@sha256:") => Cause::NoLonger,
        cause => cause,
    };
    let what = format!("image {} can't be pulled", container.image);
    let finding = Finding::new(Reason::ImagePullFailed, what, why(cause)).said(said);
    if container.name != pod::USER {
        let remedy = "give the operator's --image a name that every node can pull: this is Varve's own image";
        return Some(finding.can(Who::Installer, remedy));
    }
    let is_hopeless = cause == Cause::NoImageName;
    let finding = to_do(cause).iter().fold(finding, |finding, (who, what)| finding.can(*who, *what));
    Some(finding.hopeless(is_hopeless))
}

/// The words without what the kubelet and the container runtime set before them, so that a failure and the pause after it
/// read the same.
fn without_frame(message: Option<&str>) -> &str {
    let mut words = message.unwrap_or_default().trim();
    if words.starts_with("Back-off pulling image ") {
        words = words.split_once("\": ").map_or("", |(_, rest)| rest);
        words = words.split_once(": ").filter(|(reason, _)| !reason.contains(' ')).map_or(words, |(_, rest)| rest);
    }
    if words.starts_with("rpc error: code = ") {
        words = words.split_once(" desc = ").map_or(words, |(_, rest)| rest);
    }
    if words.starts_with("failed to pull and unpack image ") {
        words = words.split_once("\": ").map_or(words, |(_, rest)| rest);
    }
    words
}

fn cause(reason: &str, said: &str) -> Cause {
    let lower = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let has = |number: &str| lower.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == number);
    match reason {
        "InvalidImageName" => Cause::NoImageName,
        "ErrImageNeverPull" => Cause::NeverPulled,
        "SignatureValidationFailed" => Cause::Signature,
        _ if says(&["no match for platform", "does not match the specified platform"]) => Cause::Platform,
        _ if says(&["repository does not exist or may require"]) => Cause::NoRepositoryOrRight,
        _ if says(&["unauthorized", "authentication required", "authorization failed", "access denied"])
            || says(&["requested access to the resource is denied", "no basic auth", "forbidden"])
            || has("401")
            || has("403") =>
        {
            Cause::NoRight
        }
        _ if says(&["name unknown", "name_unknown", "repository name not known"]) => Cause::NoRepository,
        _ if says(&["manifest unknown", "manifest_unknown"]) => Cause::NoTag,
        _ if says(&["not found"]) || has("404") => Cause::NoImage,
        _ if says(&["x509", "certificate", "server gave http response to https client"]) => Cause::Certificate,
        _ if says(&["toomanyrequests", "too many requests", "rate limit"]) || has("429") => Cause::TooMany,
        _ if says(&["no space left on device"]) => Cause::DiskFull,
        "RegistryUnavailable" => Cause::NoAnswer,
        _ if says(&[
            "dial tcp",
            "connection refused",
            "no such host",
            "timeout",
            "deadline exceeded",
            "unavailable",
        ]) =>
        {
            Cause::NoAnswer
        }
        _ => Cause::Unknown,
    }
}

fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::NoImageName => "no image can have that name",
        Cause::NeverPulled => "the node lacks it and may not pull it",
        Cause::Signature => "its signature is not one that the node accepts",
        Cause::Platform => "its registry has none for the node's processor",
        Cause::NoRepositoryOrRight => {
            "its registry has no repository of that name, or does not show it without credentials"
        }
        Cause::NoRight => "its registry wants credentials, or other ones",
        Cause::NoTag => "its registry has no such tag or digest under that name",
        Cause::NoRepository => "its registry has no repository of that name",
        Cause::NoImage => "its registry has no image of that name and tag",
        Cause::NoLonger => "its registry has no image of that digest, or no longer",
        Cause::Certificate => "the node does not trust its registry's certificate",
        Cause::TooMany => "its registry answers no more for now, since it was asked too often",
        Cause::DiskFull => "the node's disk is full",
        Cause::NoAnswer => "the node does not reach its registry",
        Cause::Unknown => "",
    }
}

fn to_do(cause: Cause) -> &'static [(Who, &'static str)] {
    const CREDENTIALS: &str = "name a Secret with the registry's credentials in pod.imagePullSecrets";
    match cause {
        Cause::NoImageName => &[(Who::You, "correct container.image")],
        Cause::NeverPulled => &[(Who::Cluster, "bring the image to every node")],
        Cause::Signature => &[
            (Who::You, "name a signed image in container.image"),
            (Who::Cluster, "say which signatures the nodes accept"),
        ],
        Cause::Platform => &[(
            Who::You,
            "push the image for that processor too, or choose other nodes with pod.nodeSelector \
                        (kubernetes.io/arch)",
        )],
        Cause::NoRepositoryOrRight => &[(
            Who::You,
            "correct container.image, push the image, or name a Secret with the registry's credentials in \
             pod.imagePullSecrets",
        )],
        Cause::NoRight => &[(Who::You, CREDENTIALS)],
        Cause::NoTag | Cause::NoRepository | Cause::NoImage => {
            &[(Who::You, "push the image, or correct container.image")]
        }
        Cause::NoLonger => &[(
            Who::You,
            "push the image again and have it looked up anew: kubectl annotate vpipe NAME --overwrite \
             varve.dev/resolve-image=\"$(date)\"",
        )],
        Cause::Certificate => &[(Who::Cluster, "make the nodes trust the registry")],
        Cause::TooMany => &[
            (Who::You, "wait, or name a Secret with the registry's credentials in pod.imagePullSecrets"),
            (Who::Cluster, "set up a mirror of the registry"),
        ],
        Cause::DiskFull => &[(Who::Cluster, "make room on the node's disk")],
        Cause::NoAnswer => &[
            (Who::You, "check the registry's name in container.image"),
            (Who::Cluster, "open the way from the nodes to it"),
        ],
        Cause::Unknown => &[(Who::You, "check container.image, and that the nodes can reach its registry")],
    }
}
