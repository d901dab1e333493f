//! Maps other than trees: keys to values. A small value stands in its node; a larger one is a frame of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use varve_format::{Domain, Hash, Location, MapKind, PackLocation, Row};

use crate::error::{Error, Result};
use crate::map::edit::KeyEdit;
use crate::map::node::Slot;
use crate::session::Session;
use crate::store::Store;
use crate::types::{NodeRef, Value};

/// Values up to this size stand in the node, as small contents do.
const INLINE_BYTES: usize = 256;
/// The longest value.
const MAX_VALUE_BYTES: u64 = 16 << 20;
/// Values read at once by a scan; nearly all are inline, and cost nothing.
const READS_IN_FLIGHT: usize = 8;

impl Store {
    /// The value of a key.
    pub async fn map_get(&self, map: &NodeRef, kind: &MapKind, key: &[u8]) -> Result<Option<Value>> {
        match self.find_slot(kind, map, key).await? {
            Some(slot) => self.value_of(&slot).await.map(Some),
            None => Ok(None),
        }
    }

    /// The keys and values of a map in key order, beginning with the first key that is not less than `from`.
    pub fn map_scan(
        &self,
        map: &NodeRef,
        kind: &MapKind,
        from: Option<Bytes>,
    ) -> BoxStream<'static, Result<(Bytes, Value)>> {
        let store = self.clone();
        self.scan_slots(kind.clone(), map.clone(), from)
            .map(move |slot| {
                let store = store.clone();
                async move {
                    let slot = slot?;
                    Ok((slot.row.key.clone(), store.value_of(&slot).await?))
                }
            })
            .buffered(READS_IN_FLIGHT)
            .boxed()
    }

    pub(crate) async fn value_of(&self, slot: &Slot) -> Result<Value> {
        let bytes = match &slot.at {
            Location::Inline(bytes) => bytes.clone(),
            Location::Pack(range) => self.read_meta(range, slot.row.bytes).await?,
            Location::Erased => return Err(Error::Erased { id: slot.row.id }),
            _ => return Err(Error::Outside { id: slot.row.id }),
        };
        if Domain::Value.hash(&bytes) != slot.row.id {
            return Err(Error::corrupt(format!("value {}", slot.row.id), "its bytes do not have this hash"));
        }
        Ok(Value { bytes, refs: slot.refs.clone() })
    }

    async fn read_meta(&self, range: &PackLocation, size: u64) -> Result<Bytes> {
        if size > MAX_VALUE_BYTES {
            return Err(Error::TooLarge { what: "a value".to_owned(), size, max: MAX_VALUE_BYTES });
        }
        self.read_frames(range, size).await
    }
}

impl Session {
    /// Puts and removes keys of a map; of one key the last edit wins. Returns the map's new root.
    pub async fn edit_map(&self, kind: &MapKind, map: &NodeRef, edits: Vec<(Bytes, Option<Value>)>) -> Result<NodeRef> {
        let last: BTreeMap<Bytes, Option<Value>> = edits.into_iter().collect();
        let edits = futures::stream::iter(last).then(|(key, value)| async move {
            let put = match value {
                Some(value) => Some(self.value_slot(key.clone(), value).await?),
                None => None,
            };
            Ok::<_, Error>(KeyEdit { key, put })
        });
        self.edit_sorted(kind, map, edits.try_collect().await?).await
    }

    async fn value_slot(&self, key: Bytes, value: Value) -> Result<Slot> {
        if value.bytes.len() as u64 > MAX_VALUE_BYTES {
            let size = value.bytes.len() as u64;
            return Err(Error::TooLarge { what: "a value".to_owned(), size, max: MAX_VALUE_BYTES });
        }
        let row = Row::value(key, &value.bytes);
        let at = if value.bytes.len() <= INLINE_BYTES {
            Location::Inline(value.bytes)
        } else {
            Location::Pack(self.append_meta_as(Hash::of_content(&value.bytes), value.bytes).await?)
        };
        Ok(Slot { row, at, refs: value.refs, longest: 0 })
    }
}
