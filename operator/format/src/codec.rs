//! Reading and writing of the format's plain encodings: fixed width, little-endian, lengths as u32.
//!
//! A reader knows what it reads, for its errors, and never allocates by a declared length alone: a length is
//! compared with its cap and with the bytes at hand first.

use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::Hash;

/// Takes fields off the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Truncated { what: self.what, needed: length - self.rest.len() }),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, DecodeError> {
        Ok(Hash::from_bytes(self.array()?))
    }

    /// A u32 length, then as many bytes, at most `max`.
    pub(crate) fn bytes(&mut self, max: u32) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()?;
        if length > max {
            return Err(DecodeError::TooLong { what: self.what, length: length.into(), max: max.into() });
        }
        self.take(length as usize)
    }

    /// A u32 count of items of at least `item_bytes` each: never more than the bytes at hand can hold.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.u32()?;
        let max = self.remaining() / item_bytes;
        if count as usize > max {
            return Err(DecodeError::TooLong { what: self.what, length: count.into(), max: max as u64 });
        }
        Ok(count as usize)
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Trailing { what: self.what, extra: self.rest.len() })
    }
}

/// A length or count as the format writes it.
///
/// # Panics
/// Beyond 4 GiB, which no caller reaches: everything that is written this way is held in memory and capped before.
pub(crate) fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("lengths written as u32 are capped far below 4 GiB").to_le_bytes()
}

/// A string: length u32, UTF-8.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&length_u32(text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// An option: u8 0, or u8 1 and the value.
pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

/// A list: count u32, then each item.
pub(crate) fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    out.extend_from_slice(&length_u32(items.len()));
    for item in items {
        put(out, item);
    }
}
