//! How many files a commit adds, changes and removes: counted along the difference of two trees.

use futures::TryStreamExt;
use varve_format::commit::ChangeSummary;
use varve_store::{Depth, NodeRef, Store};

use crate::error::{Error, Result};

/// What `after` changes of `before`; all of it where there is none. O(change).
pub(crate) async fn summarize(store: &Store, before: Option<&NodeRef>, after: &NodeRef) -> Result<ChangeSummary> {
    let failed = || Error::store("compare with the commit before");
    let mut summary = ChangeSummary::default();
    let mut changes = store.diff(before, Some(after), Depth::Full);
    while let Some(change) = changes.try_next().await.map_err(failed())? {
        match (change.before, change.after) {
            (None, Some(_)) => summary.added += 1,
            (Some(_), Some(_)) => summary.changed += 1,
            (Some(_), None) => summary.removed += 1,
            (None, None) => {}
        }
    }
    Ok(summary)
}
