//! Events: what `kubectl describe` and the operator's explanations read. One that can't be written is not missed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};

/// What happened.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// As `FailedMount`.
    pub(crate) reason: &'static str,
    /// The sentence.
    pub(crate) message: String,
}

/// Writes Events as one component.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    component: &'static str,
}

impl Events {
    pub(crate) fn new(client: Client, component: &'static str) -> Self {
        Self { client, component }
    }

    /// Says that something went wrong about an object.
    pub(crate) async fn warn<K: Resource<DynamicType = ()>>(&self, about: &K, note: Note) {
        let now = Time(Timestamp::now());
        let namespace = about.namespace();
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}.", about.name_any())),
                namespace: namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: about.meta().name.clone(),
                namespace: namespace.clone(),
                uid: about.meta().uid.clone(),
                resource_version: about.meta().resource_version.clone(),
                field_path: None,
            },
            type_: Some("Warning".to_owned()),
            reason: Some(note.reason.to_owned()),
            message: Some(note.message),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: None }),
            ..Event::default()
        };
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace.unwrap_or_default());
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "an Event could not be written");
        }
    }
}
