//! The wire format of protobuf, and messages as JSON.

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::ProtobufError;
use super::table::{self, Field, Kind, Message, Place};

/// How deep messages may lie in each other: a pod's deepest lie nine deep.
const MAX_DEPTH: usize = 32;

/// One field on the wire.
#[derive(Clone, Copy)]
pub(super) enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    pub(super) fn text(self) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes()).map_err(|_| ProtobufError::Text)
    }

    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    /// Negative numbers are on the wire in two's complement.
    fn signed(self) -> i64 {
        self.number().cast_signed()
    }
}

/// The fields of a message, in the order of the wire.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(ProtobufError::Truncated)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ProtobufError::Number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), ProtobufError> {
        let tag = self.varint()?;
        let number = tag >> 3;
        let value = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(little_endian(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Number(little_endian(self.take(4)?)),
            _ => return Err(ProtobufError::WireType(number)),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A message as JSON; empty texts and zeros that only say "not set" are left out.
pub(super) fn message(message: &Message, bytes: &[u8]) -> Result<Value, ProtobufError> {
    object(message, bytes, 0).map(Value::Object)
}

fn object(message: &Message, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let mut fields = Map::new();
    for wire in Reader::new(bytes) {
        let (number, wire) = wire?;
        let Some(field) = message.get(&number) else { continue };
        put(&mut fields, field, wire, depth)?;
    }
    // Go writes every text, also those that are not set.
    fields.retain(|_, value| !matches!(value, Value::Null) && value.as_str() != Some(""));
    Ok(fields)
}

fn put(fields: &mut Map<String, Value>, field: &Field, wire: Wire<'_>, depth: usize) -> Result<(), ProtobufError> {
    match field.place {
        Place::One if field.is_zero_unset && wire.number() == 0 => {}
        Place::One => drop(fields.insert(field.name.into(), value(field.kind, wire, depth)?)),
        Place::Inline => {
            if let Value::Object(inner) = value(field.kind, wire, depth)? {
                fields.extend(inner);
            }
        }
        Place::List => {
            let item = value(field.kind, wire, depth)?;
            if let Some(list) = fields.entry(field.name).or_insert_with(|| json!([])).as_array_mut() {
                list.push(item);
            }
        }
        Place::Map => {
            let (mut key, mut item) = ("", Value::Null);
            for entry in Reader::new(wire.bytes()) {
                match entry? {
                    (1, wire) => key = wire.text()?,
                    (2, wire) => item = value(field.kind, wire, depth)?,
                    _ => {}
                }
            }
            if item.is_null() {
                item = "".into();
            }
            if let Some(map) = fields.entry(field.name).or_insert_with(|| json!({})).as_object_mut() {
                map.insert(key.into(), item);
            }
        }
    }
    Ok(())
}

fn value(kind: Kind, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match kind {
        Kind::Text => wire.text()?.into(),
        Kind::Bytes => BASE64.encode(wire.bytes()).into(),
        Kind::Bool => (wire.number() != 0).into(),
        Kind::Int => wire.signed().into(),
        Kind::Double => f64::from_bits(wire.number()).into(),
        Kind::Time | Kind::MicroTime => time(kind, wire)?,
        Kind::Quantity => first(wire)?.map_or(Ok(Value::Null), |inner| inner.text().map(Value::from))?,
        Kind::Json => match first(wire)? {
            Some(inner) => serde_json::from_slice(inner.bytes()).unwrap_or_default(),
            None => Value::Null,
        },
        Kind::IntOrString => {
            let (mut is_text, mut number, mut text) = (false, 0, "");
            for field in Reader::new(wire.bytes()) {
                match field? {
                    (1, wire) => is_text = wire.number() == 1,
                    (2, wire) => number = wire.signed(),
                    (3, wire) => text = wire.text()?,
                    _ => {}
                }
            }
            if is_text { text.into() } else { number.into() }
        }
        Kind::Message(name) => match table::message(name) {
            Some(message) => object(message, wire.bytes(), depth + 1)?.into(),
            None => Value::Null,
        },
    })
}

/// Field 1 of a message that has only this one.
fn first(wire: Wire<'_>) -> Result<Option<Wire<'_>>, ProtobufError> {
    for field in Reader::new(wire.bytes()) {
        if let (1, inner) = field? {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}

/// Go's zero time, which is no time, is not written at all or as nothing.
fn time(kind: Kind, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    for field in Reader::new(wire.bytes()) {
        match field? {
            (1, wire) => seconds = Some(wire.signed()),
            (2, wire) => nanoseconds = wire.signed(),
            _ => {}
        }
    }
    let moment = seconds
        .zip(i32::try_from(nanoseconds).ok())
        .and_then(|(seconds, nanoseconds)| jiff::Timestamp::new(seconds, nanoseconds).ok());
    let format = if kind == Kind::MicroTime { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(moment.map_or(Value::Null, |moment| moment.strftime(format).to_string().into()))
}
