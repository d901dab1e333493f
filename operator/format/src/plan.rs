//! A plan's bytes: `header length u32 | header | a blob for each shard`.
//!
//! The header is a [`Plan`] message whose index says where each shard's blob stands, counted from the header's end:
//! a keeper reads the header and its own range, however large the plan. The plan's id covers all bytes; for those who
//! read a part, the header ends in a hash of itself and names the hash of each blob.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::error::DecodeError;
use crate::hash::{Domain, Hash};
use crate::records::{Plan, PlanShard, ShardSlice, decode_checked, encode_checked};
use crate::wire;

/// Most bytes of a plan's header.
pub const MAX_HEADER: u32 = 1 << 24;
/// Bytes of the header's length.
pub const LENGTH_BYTES: usize = 4;

/// The plan's bytes. The index is made here; `format` is set to 1.
pub fn encode(mut plan: Plan, shards: &[PlanShard]) -> Bytes {
    plan.format = 1;
    plan.shard_index = Vec::with_capacity(shards.len());
    let mut blobs = BytesMut::new();
    for shard in shards {
        let offset = blobs.len();
        shard.encode(&mut blobs).expect("a BytesMut grows");
        let hash = Hash::of_content(&blobs[offset..]).to_vec();
        let (offset, length) = (offset as u64, (blobs.len() - offset) as u64);
        let members = shard.datums.iter().flat_map(|datum| &datum.members);
        let bytes = members.fold(0_u64, |sum, member| sum.saturating_add(member.bytes));
        plan.shard_index.push(ShardSlice { offset, length, datums: shard.datums.len() as u64, bytes, hash });
    }
    let header = encode_checked(&plan);
    let mut out = BytesMut::new();
    out.extend_from_slice(&crate::codec::length_u32(header.len()));
    out.extend_from_slice(&header);
    out.unsplit(blobs);
    out.freeze()
}

/// The plan's id, over all its bytes.
pub fn id(bytes: &[u8]) -> Hash {
    Domain::Plan.hash(bytes)
}

/// Where the header stands, from the first four bytes of a plan. Its end is where the shards' offsets count from.
pub fn header_range(start: &[u8]) -> Result<Range<u64>, DecodeError> {
    let length = crate::codec::Reader::new(start, "plan").u32()?;
    if length > MAX_HEADER {
        return Err(DecodeError::TooLong { what: "plan header", length: length.into(), max: MAX_HEADER.into() });
    }
    let start = LENGTH_BYTES as u64;
    Ok(start..start + u64::from(length))
}

/// Reads the header from its bytes, those of [`header_range`].
pub fn decode_header(bytes: &[u8]) -> Result<Plan, DecodeError> {
    let plan: Plan = decode_checked(bytes)?;
    plan.job_uid()?;
    plan.spec_digest()?;
    Ok(plan)
}

/// Where a shard's blob stands in a plan whose header ends at `header_end`.
pub fn shard_range(plan: &Plan, header_end: u64, shard: u32) -> Result<Range<u64>, DecodeError> {
    let slice = slice_of(plan, shard)?;
    let start = header_end.checked_add(slice.offset);
    let range = start.and_then(|start| Some(start..start.checked_add(slice.length)?));
    range.ok_or_else(|| DecodeError::invalid("plan", format!("shard {shard} ends beyond 2^64")))
}

fn slice_of(plan: &Plan, shard: u32) -> Result<&ShardSlice, DecodeError> {
    let slice = plan.shard_index.get(shard as usize);
    slice.ok_or_else(|| DecodeError::invalid("plan", format!("it has no shard {shard}")))
}

/// Reads a shard's blob, and checks it against what the header says of it.
pub fn decode_shard(plan: &Plan, shard: u32, bytes: &[u8]) -> Result<PlanShard, DecodeError> {
    let hash = &slice_of(plan, shard)?.hash;
    if !hash.is_empty() && *hash != Hash::of_content(bytes).as_bytes() {
        let why = format!("the bytes of shard {shard} do not have the hash that its header names");
        return Err(DecodeError::invalid("plan", why));
    }
    wire::message(bytes, "plan shard")
}
