//! Reading what lies in packs: one ranged GET, every frame checked against its pack and offset.

use bytes::Bytes;
use varve_format::PackLocation;
use varve_format::pack::FRAME_OVERHEAD;

use crate::error::{Error, Result};
use crate::pack::{self, frames};
use crate::store::Store;

impl Store {
    /// The plain bytes of the frames at a location, at most `max` of them, from the first frame's beginning.
    ///
    /// Checked against the frames' own checksums, not against any id: that is the caller's part.
    pub(crate) async fn read_frames(&self, at: &PackLocation, max: u64) -> Result<Bytes> {
        if let Some(plain) = self.pending().find(at.pack, at.offset) {
            return Ok(plain);
        }
        // Compression never makes a frame longer than its content, so the cap on one bounds the other.
        let overhead = (FRAME_OVERHEAD as u64).saturating_mul(at.frames.into());
        if at.stored > max.saturating_add(overhead) {
            let what = format!("pack {}, frames at {}", at.pack, at.offset);
            return Err(Error::TooLarge { what, size: at.stored, max });
        }
        let end = at.offset.saturating_add(at.stored);
        let stored = self.objects().get_range(&pack::key(at.area, at.pack), at.offset..end).await?;
        frames::decompress(at.pack, at.offset, &stored, at.frames, max)
    }
}
