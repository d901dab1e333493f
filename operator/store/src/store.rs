//! A store: one prefix of one bucket. Opening makes it where it is not there yet and refuses what a later version wrote.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use varve_format::{PackLocation, keys};

use crate::caches::{self, Caches};
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{Error, Result};
use crate::objects::{Created, Objects};
use crate::pack::pending::Pending;

/// The format that this crate reads and writes.
const FORMAT: u32 = 1;
/// Features beyond format 1 that this version understands: none yet.
const KNOWN_FEATURES: [&str; 0] = [];

/// What a store is opened with, beside its backend.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clock and ids.
    pub environment: Arc<dyn Environment>,
    /// Where it keeps nodes, blob indexes and shared frames. A process that opens many stores gives all of them the same.
    pub caches: Caches,
}

impl Default for Options {
    fn default() -> Self {
        Self { environment: Arc::new(SystemEnvironment), caches: Caches::default() }
    }
}

/// A store. Cheap to clone; clones share caches.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    id: Uuid,
    environment: Arc<dyn Environment>,
    pending: Pending,
    caches: Caches,
    /// Its number in the caches' keys.
    number: u64,
}

#[derive(Serialize, Deserialize)]
struct StoreFile {
    id: Uuid,
    format: u32,
}

/// What a reader, and what a writer, must understand.
#[derive(Default, Serialize, Deserialize)]
struct Features {
    #[serde(default)]
    read: BTreeSet<String>,
    #[serde(default)]
    write: BTreeSet<String>,
}

impl Store {
    /// Opens the store under a prefix, and makes it if nothing is there.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: Path) -> Result<Self> {
        Self::open_with(store, prefix, Options::default()).await
    }

    /// Opens a store with a given clock and given caches.
    pub async fn open_with(store: Arc<dyn ObjectStore>, prefix: Path, options: Options) -> Result<Self> {
        let objects = Objects::new(store, prefix);
        let id = find_or_make_id(&objects, options.environment.as_ref()).await?;
        let opened = Self {
            inner: Arc::new(Inner {
                objects,
                id,
                environment: options.environment,
                pending: Pending::default(),
                number: options.caches.next_store(),
                caches: options.caches,
            }),
        };
        opened.check_features(false).await?;
        Ok(opened)
    }

    /// The store's random id, made with it: what `adopt` names.
    pub fn id(&self) -> Uuid {
        self.inner.id
    }

    /// The clock and ids that the store was opened with.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        &self.inner.environment
    }

    /// Reads the features again; a writer must understand more than a reader.
    pub(crate) async fn check_features(&self, for_writing: bool) -> Result<()> {
        for bytes in self.objects().series(keys::features).await? {
            let features: Features = from_json(&bytes, "the store's features")?;
            let wanted = features.read.iter().chain(features.write.iter().filter(|_| for_writing));
            for feature in wanted {
                if !KNOWN_FEATURES.contains(&feature.as_str()) {
                    return Err(Error::FeatureUnknown { feature: feature.clone() });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.inner.pending
    }

    pub(crate) fn caches(&self) -> &Caches {
        &self.inner.caches
    }

    /// What the caches know the bytes at this place by.
    pub(crate) fn cache_key(&self, at: &PackLocation) -> caches::Key {
        (self.inner.number, *at)
    }
}

async fn find_or_make_id(objects: &Objects, environment: &dyn Environment) -> Result<Uuid> {
    let key = keys::store();
    let bytes = if let Some(bytes) = objects.find(&key).await? {
        bytes
    } else {
        let made = to_json(&StoreFile { id: environment.new_id(), format: FORMAT });
        match objects.create(&key, made.clone()).await? {
            Created::Ours => made,
            Created::Stands(bytes) => bytes,
        }
    };
    let file: StoreFile = from_json(&bytes, "store.json")?;
    if file.format == FORMAT {
        Ok(file.id)
    } else {
        Err(Error::FeatureUnknown { feature: format!("format {}", file.format) })
    }
}

pub(crate) fn to_json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("these records hold only strings and numbers");
    text.push(b'\n');
    text.into()
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(bytes: &'a Bytes, what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::corrupt(what, error.to_string()))
}
