//! A node as it is stored: rows in columns, and beside them what no id covers.
//!
//! `version u8 | level u8 | kind: len u8, ASCII | rows u32 | key lengths u16… | keys | kinds u8… | files u64… (directories
//! and children) | bytes u64… | ids | longest u16… (directories and children) | references: length u32, and for each row
//! count u16 and as many locations`. The references column can be read without knowing the kind of map: of each row, the
//! first location is that of the thing itself.
//!
//! `longest` is the longest path below, in bytes: with it a graft is checked against the limit of paths at the cost of
//! one node, not of a walk.

use bytes::Bytes;
use varve_format::{DecodeError, Hash, Kind, Location, MapKind, Row, Totals, node_id};

use crate::error::TreeFault;

const VERSION: u8 = 1;
/// No node is larger, plain.
pub(crate) const MAX_NODE_BYTES: u64 = 1 << 20;
/// What a decoded row weighs beside its key and its bytes in references.
const ROW_WEIGHT: usize = 200;

/// A row and its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) row: Row,
    /// Where the content, the value, or the root or child node lies.
    pub(crate) at: Location,
    /// What a value refers to beside.
    pub(crate) refs: Vec<Location>,
    /// Longest path below a directory or child, in bytes from there; 0 otherwise.
    pub(crate) longest: u16,
}

impl Slot {
    /// Bytes of the longest path from this node's directory on.
    fn path_bytes(&self) -> u16 {
        match self.row.kind {
            Kind::Node => self.longest,
            _ => u16::try_from(self.row.key.len()).unwrap_or(u16::MAX).saturating_add(self.longest),
        }
    }
}

/// A decoded node, its id checked.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: MapKind,
    pub(crate) level: u8,
    pub(crate) id: Hash,
    pub(crate) totals: Totals,
    pub(crate) slots: Vec<Slot>,
    weight: usize,
}

impl Node {
    /// The stored bytes of a node.
    pub(crate) fn encode(kind: &MapKind, level: u8, slots: &[Slot]) -> Bytes {
        let mut out = vec![VERSION, level, u8::try_from(kind.as_str().len()).expect("map kinds have at most 32 bytes")];
        out.extend_from_slice(kind.as_str().as_bytes());
        put_u32(&mut out, slots.len());
        for slot in slots {
            out.extend_from_slice(&u16::try_from(slot.row.key.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        for slot in slots {
            out.extend_from_slice(&slot.row.key);
        }
        out.extend(slots.iter().map(|slot| u8::from(slot.row.kind)));
        for slot in slots.iter().filter(|slot| counts_files(slot.row.kind)) {
            out.extend_from_slice(&slot.row.files.to_le_bytes());
        }
        for slot in slots {
            out.extend_from_slice(&slot.row.bytes.to_le_bytes());
        }
        for slot in slots {
            out.extend_from_slice(slot.row.id.as_bytes());
        }
        for slot in slots.iter().filter(|slot| counts_files(slot.row.kind)) {
            out.extend_from_slice(&slot.longest.to_le_bytes());
        }
        let mut references = Vec::new();
        for slot in slots {
            let count = u16::try_from(slot.refs.len() + 1).unwrap_or(u16::MAX);
            references.extend_from_slice(&count.to_le_bytes());
            slot.at.encode(&mut references);
            slot.refs.iter().for_each(|at| at.encode(&mut references));
        }
        put_u32(&mut out, references.len());
        out.extend_from_slice(&references);
        out.into()
    }

    /// Reads stored bytes. The rows are checked and the id is computed; that it is the one looked for is the caller's
    /// check.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, TreeFault> {
        let unreadable = |error: DecodeError| TreeFault::Unreadable(error.to_string());
        let mut reader = Columns { bytes, at: 0 };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unreadable(DecodeError::Unknown { what: "node", field: "version", value: version.into() }));
        }
        let level = reader.u8()?;
        let kind_bytes = reader.u8()? as usize;
        let kind = String::from_utf8_lossy(reader.take(kind_bytes)?).into_owned();
        let kind = MapKind::parse(&kind).map_err(|error| TreeFault::Unreadable(error.to_string()))?;
        let count = reader.u32()? as usize;
        // A row takes at least 44 bytes; so a declared count is never worth more memory than the bytes at hand.
        if count > bytes.len() / 44 + 1 {
            return Err(TreeFault::Unreadable(format!("it declares {count} rows in {} bytes", bytes.len())));
        }
        let lengths: Vec<usize> = reader.many(count, Columns::u16)?.into_iter().map(usize::from).collect();
        let keys = lengths.into_iter().map(|length| reader.bytes(length)).collect::<Result<Vec<Bytes>, _>>()?;
        let kinds = reader.many(count, Columns::u8)?;
        let kinds: Vec<Kind> = kinds.into_iter().map(Kind::try_from).collect::<Result<_, _>>().map_err(unreadable)?;
        let mut slots = Vec::with_capacity(count);
        for (key, &kind) in keys.into_iter().zip(&kinds) {
            let files = match kind {
                Kind::Directory | Kind::Node => reader.u64()?,
                Kind::Value => 0,
                Kind::File | Kind::Executable | Kind::Symlink => 1,
            };
            let row = Row { key, kind, id: Hash::ZERO, files, bytes: 0 };
            slots.push(Slot { row, at: Location::Erased, refs: Vec::new(), longest: 0 });
        }
        for slot in &mut slots {
            slot.row.bytes = reader.u64()?;
        }
        for slot in &mut slots {
            slot.row.id = Hash::from_slice(reader.take(32)?).map_err(unreadable)?;
        }
        for slot in slots.iter_mut().filter(|slot| counts_files(slot.row.kind)) {
            slot.longest = reader.u16()?;
        }
        let references_bytes = reader.u32()? as usize;
        let end = reader.at + references_bytes;
        for slot in &mut slots {
            let places = reader.u16()?;
            if places == 0 {
                return Err(TreeFault::Unreadable("a row has no location".to_owned()));
            }
            slot.at = reader.location()?;
            slot.refs = reader.many(usize::from(places) - 1, Columns::location)?;
        }
        if reader.at != end || end != bytes.len() {
            return Err(TreeFault::Unreadable("its columns do not have the lengths they declare".to_owned()));
        }
        Self::of(kind, level, slots)
    }

    /// A node of these slots: checks the rows, computes the id.
    pub(crate) fn of(kind: MapKind, level: u8, slots: Vec<Slot>) -> Result<Self, TreeFault> {
        // Rows share their keys' buffers: cloning one copies no key.
        let rows: Vec<Row> = slots.iter().map(|slot| slot.row.clone()).collect();
        let (id, totals) = node_id(&kind, level, &rows)?;
        let refs = |slot: &Slot| slot.refs.iter().map(|at| size_of::<Location>() + in_place_bytes(at)).sum::<usize>();
        let own = |slot: &Slot| ROW_WEIGHT + slot.row.key.len() + in_place_bytes(&slot.at);
        let weight = slots.iter().map(|slot| own(slot) + refs(slot)).sum();
        Ok(Self { kind, level, id, totals, slots, weight })
    }

    /// Longest path of a file below, in bytes, from this node's directory on; only of trees.
    pub(crate) fn longest(&self) -> u16 {
        if !self.kind.is_tree() {
            return 0;
        }
        self.slots.iter().map(Slot::path_bytes).max().unwrap_or(0)
    }

    /// The slot of a key in a leaf.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.binary_search_by(|slot| slot.row.key.as_ref().cmp(key)).ok().map(|index| &self.slots[index])
    }

    /// Index of the first slot whose key is not less: in a parent, the child that a key belongs to. May be one past
    /// the last.
    pub(crate) fn position(&self, key: &[u8]) -> usize {
        self.slots.partition_point(|slot| slot.row.key.as_ref() < key)
    }

    pub(crate) fn last_key(&self) -> Option<&Bytes> {
        self.slots.last().map(|slot| &slot.row.key)
    }

    /// Roughly the bytes that this node holds in memory.
    pub(crate) fn weight(&self) -> usize {
        self.weight + ROW_WEIGHT
    }
}

/// Bytes that stand in the node itself.
pub(crate) fn in_place_bytes(at: &Location) -> usize {
    match at {
        Location::Inline(bytes) | Location::Embedded(bytes) | Location::Outside(bytes) => bytes.len(),
        Location::Pack(_) | Location::Erased => 0,
    }
}

fn counts_files(kind: Kind) -> bool {
    matches!(kind, Kind::Directory | Kind::Node)
}

fn put_u32(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).expect("a node is at most 1 MiB").to_le_bytes());
}

/// Takes fields off the front; keys share the node's buffer.
struct Columns<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Columns<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TreeFault> {
        let taken = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end));
        let taken =
            taken.ok_or_else(|| TreeFault::Unreadable(format!("it is cut short at byte {}", self.bytes.len())))?;
        self.at += length;
        Ok(taken)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, TreeFault> {
        let taken = self.take(length)?;
        Ok(self.bytes.slice_ref(taken))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TreeFault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, TreeFault> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, TreeFault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, TreeFault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, TreeFault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn location(&mut self) -> Result<Location, TreeFault> {
        let mut rest = &self.bytes[self.at..];
        let location = Location::decode(&mut rest).map_err(|error| TreeFault::Unreadable(error.to_string()))?;
        self.at = self.bytes.len() - rest.len();
        Ok(location)
    }

    fn many<T>(&mut self, count: usize, take: impl Fn(&mut Self) -> Result<T, TreeFault>) -> Result<Vec<T>, TreeFault> {
        (0..count).map(|_| take(self)).collect()
    }
}
