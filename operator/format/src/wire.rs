//! Typed values out of protobuf fields, with errors that name the field.

use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::Hash;
use crate::row::Kind;

/// A hash field.
pub(crate) fn hash(bytes: &[u8], field: &'static str) -> Result<Hash, DecodeError> {
    Hash::from_slice(bytes).map_err(|_| wrong_length(bytes, field, 32))
}

/// A uid field: 16 bytes in the order of their text.
pub(crate) fn uuid(bytes: &[u8], field: &'static str) -> Result<Uuid, DecodeError> {
    Uuid::from_slice(bytes).map_err(|_| wrong_length(bytes, field, 16))
}

fn wrong_length(bytes: &[u8], field: &'static str, wanted: usize) -> DecodeError {
    DecodeError::invalid(field, format!("it must have {wanted} bytes, not {}", bytes.len()))
}

/// A protobuf message, whole.
pub(crate) fn message<M: prost::Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError::invalid(what, error.to_string()))
}

/// The version that every record begins with.
pub(crate) fn version(format: u32, what: &'static str) -> Result<(), DecodeError> {
    if format == 1 { Ok(()) } else { Err(DecodeError::Unknown { what, field: "format", value: format }) }
}

/// The number of a kind, as records hold it.
pub(crate) fn kind(number: u32) -> Result<Kind, DecodeError> {
    let unknown = DecodeError::Unknown { what: "record", field: "kind", value: number };
    u8::try_from(number).map_err(|_| unknown).and_then(Kind::try_from)
}
