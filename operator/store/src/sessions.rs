//! Sessions of clients: an object that says that somebody is writing, so that a collector leaves their packs alone. Jobs
//! and Commits need none: their CRs say it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use varve_format::keys;

use crate::error::Result;
use crate::store::{Store, to_json};

/// An open session of a client. Ended by [`Store::end_client_session`]; one that is never ended ages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSession {
    /// What a Commit names as the `session` of its `tree`.
    pub id: Uuid,
}

#[derive(Serialize, Deserialize)]
struct SessionFile {
    started_unix_ns: i64,
}

impl Store {
    /// Says that a client begins to write.
    pub async fn begin_client_session(&self) -> Result<ClientSession> {
        let id = self.environment().new_id();
        let file = SessionFile { started_unix_ns: self.environment().now_unix_ns() };
        self.objects().put(&open_key(id), to_json(&file)).await?;
        Ok(ClientSession { id })
    }

    /// Says that the client is done: a commit holds what it wrote, or nobody wants it.
    pub async fn end_client_session(&self, session: ClientSession) -> Result<()> {
        self.objects().delete(&open_key(session.id)).await
    }
}

fn open_key(id: Uuid) -> String {
    format!("{}/open", keys::session_prefix(id))
}
