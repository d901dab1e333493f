//! Whose a store is: one cluster's and namespace's at a time, by epochs `owner/0`, `owner/1`, …, of which the last counts.
//!
//! Taking a store over needs a person's word, `adopt`, and a word is good once: it stays where it was written, often in a
//! repository that both clusters apply, and must not let an owner that was relieved of the store take it back.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use varve_format::keys;

use crate::error::{Error, Result};
use crate::objects::Created;
use crate::store::{Store, from_json, to_json};

/// The cluster and namespace that a store belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Uid of the namespace `kube-system`.
    pub cluster: Uuid,
    /// Uid of the namespace whose store it is.
    pub namespace: Uuid,
}

/// A person's word that a store may be taken over, given after making sure that its owner writes there no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopt {
    /// The store's id.
    pub store: Uuid,
    /// The epoch to end. None: whichever stands, for an owner that the store never had.
    pub epoch: Option<u64>,
}

impl fmt::Display for Adopt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            None => write!(f, "{}", self.store),
            Some(epoch) => write!(f, "{}/{epoch}", self.store),
        }
    }
}

/// What is no `<store id>` and no `<store id>/<epoch>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be the id of a store (a UUID), or that, a slash and the number of an epoch")]
pub struct NotAdopt;

impl FromStr for Adopt {
    type Err = NotAdopt;

    fn from_str(text: &str) -> Result<Self, NotAdopt> {
        let (store, epoch) = match text.split_once('/') {
            Some((store, epoch)) => (store, Some(epoch.parse().map_err(|_| NotAdopt)?)),
            None => (text, None),
        };
        Ok(Self { store: store.parse().map_err(|_| NotAdopt)?, epoch })
    }
}

impl Store {
    /// Takes the store for a cluster and namespace.
    ///
    /// Nobody's, or ours already: nothing more to say. Another's: refused, unless `adopt` names this store and `owner` has
    /// never had it, or `adopt` names the very epoch that stands. The refusal says which word would do.
    pub async fn claim(&self, owner: Owner, adopt: Option<Adopt>) -> Result<()> {
        let bytes = to_json(&owner);
        loop {
            let epochs = self.objects().series(keys::owner).await?;
            if let Some((last, earlier)) = epochs.split_last() {
                let read = |bytes| from_json::<Owner>(bytes, "the store's owner");
                if read(last)? == owner {
                    return Ok(());
                }
                let mut was_ours = false;
                for epoch in earlier {
                    was_ours |= read(epoch)? == owner;
                }
                let stands = earlier.len() as u64;
                let is_adopted = adopt.is_some_and(|adopt| {
                    adopt.store == self.id() && adopt.epoch.map_or(!was_ours, |epoch| epoch == stands)
                });
                if !is_adopted {
                    let adopt = Adopt { store: self.id(), epoch: was_ours.then_some(stands) };
                    return Err(Error::OwnedElsewhere { adopt });
                }
            }
            // Somebody else may write the same epoch at the same moment: then look again at who stands there.
            if self.objects().create(&keys::owner(epochs.len() as u64), bytes.clone()).await? == Created::Ours {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_is_what_was_shown() {
        let store = Uuid::from_u128(7);
        for adopt in [Adopt { store, epoch: None }, Adopt { store, epoch: Some(12) }] {
            assert_eq!(adopt.to_string().parse(), Ok(adopt));
        }
        for wrong in ["", "7", "00000000-0000-0000-0000-000000000007/", "00000000-0000-0000-0000-000000000007/x"] {
            assert_eq!(wrong.parse::<Adopt>(), Err(NotAdopt), "{wrong:?}");
        }
    }
}
