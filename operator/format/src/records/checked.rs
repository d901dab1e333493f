//! Records that end in a hash of themselves: those that stand alone under keys and are read in part, so that no id covers
//! what is read.
//!
//! The hash is one more field, number 15, and the last: readers that do not know it pass over it. It finds bytes that
//! changed by accident; who can write the bucket can write it too.

use prost::Message;

use super::Versioned;
use crate::error::DecodeError;
use crate::hash::Hash;

/// Field 15, bytes, 32 of them.
const FIELD: [u8; 2] = [15 << 3 | 2, 32];
const FIELD_BYTES: usize = FIELD.len() + 32;

/// The record's bytes, and at their end plain BLAKE3 of all before it.
pub fn encode_checked(record: &impl Message) -> Vec<u8> {
    let mut bytes = record.encode_to_vec();
    let hash = Hash::of_content(&bytes);
    bytes.extend_from_slice(&FIELD);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// Reads a record and checks the hash at its end. One without is read too: those written at first had none.
pub fn decode_checked<T: Versioned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if let Some((record, field)) = bytes.len().checked_sub(FIELD_BYTES).map(|at| bytes.split_at(at))
        && let Some(hash) = field.strip_prefix(&FIELD)
        && Hash::of_content(record).as_bytes() != hash
    {
        return Err(DecodeError::invalid(
            T::WHAT,
            "its bytes do not have the hash that stands at their end".to_owned(),
        ));
    }
    T::from_bytes(bytes)
}
