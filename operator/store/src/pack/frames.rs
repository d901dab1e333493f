//! Between plain bytes and frames: cutting at 1 MiB, compressing where it pays, and back with every length checked
//! before anything is allocated.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use varve_format::pack::{Codec, Frame, MAX_FRAME};

use crate::error::{Error, Result};

/// zstd's level: 1 compresses about as fast as a disk reads, and higher levels gain little on data of this size.
const ZSTD_LEVEL: i32 = 1;
/// A frame is stored raw unless compression saves at least this fraction: photographs and archives stay readable
/// without the work.
const WORTH_SAVING: usize = 16;

/// The inside of a frame that has no place yet.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) codec: Codec,
    pub(crate) plain_bytes: u32,
    pub(crate) stored: Bytes,
}

/// Cuts bytes into frames' insides. Runs on the caller's thread: about 2 ms per MiB.
pub(crate) fn compress(plain: &Bytes) -> Vec<Payload> {
    let mut payloads = Vec::with_capacity(plain.len().div_ceil(MAX_FRAME));
    let mut rest = plain.clone();
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(MAX_FRAME));
        let plain_bytes = u32::try_from(part.len()).expect("a frame is at most 1 MiB");
        let compressed = zstd::bulk::compress(&part, ZSTD_LEVEL).ok();
        let worth_it = compressed.filter(|bytes| bytes.len() + part.len() / WORTH_SAVING < part.len());
        payloads.push(match worth_it {
            Some(bytes) => Payload { codec: Codec::Zstd, plain_bytes, stored: bytes.into() },
            None => Payload { codec: Codec::Raw, plain_bytes, stored: part },
        });
    }
    payloads
}

/// The plain bytes of consecutive frames, which begin at `offset` of the pack. At most `max` of them.
pub(crate) fn decompress(pack: Uuid, offset: u64, bytes: &Bytes, frames: u32, max: u64) -> Result<Bytes> {
    let what = |at: u64| format!("pack {pack}, frame at {at}");
    let mut at = offset;
    let mut rest: &[u8] = bytes;
    let mut plain = BytesMut::new();
    for _ in 0..frames {
        let (frame, length) = Frame::parse(rest, pack, at).map_err(Error::decode(what(at)))?;
        let total = plain.len() as u64 + u64::from(frame.plain_bytes);
        if total > max {
            return Err(Error::TooLarge { what: what(at), size: total, max });
        }
        match frame.codec {
            // The common case of a photograph: no copy.
            Codec::Raw if frames == 1 && length == rest.len() => return Ok(bytes.slice_ref(frame.stored)),
            Codec::Raw => plain.extend_from_slice(frame.stored),
            Codec::Zstd => {
                let out = zstd::bulk::decompress(frame.stored, frame.plain_bytes as usize)
                    .map_err(|error| Error::corrupt(what(at), error.to_string()))?;
                if out.len() != frame.plain_bytes as usize {
                    return Err(Error::corrupt(what(at), "it does not unpack to its declared length"));
                }
                plain.extend_from_slice(&out);
            }
        }
        rest = &rest[length..];
        at += length as u64;
    }
    if rest.is_empty() {
        return Ok(plain.freeze());
    }
    Err(Error::corrupt(what(at), "bytes follow the last frame of what was asked for"))
}
