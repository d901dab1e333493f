//! The id of a node: a header and a binary Merkle tree over its rows in groups of four.
//!
//! Groups, so that one file's inclusion proof is about 1.4 KB; the id covers rows only, never how or where they are
//! stored.

use crate::error::{MapError, escape};
use crate::hash::{Domain, Hash};
use crate::name::{MAX_KEY, MAX_TARGET, MapKind, check_name};
use crate::row::{Kind, Row, Totals};

/// The highest level of a node.
pub const MAX_LEVEL: u8 = 15;
/// Rows per leaf of a node's Merkle tree.
pub const GROUP: usize = 4;

/// The id and totals of a node with these rows, after [`check_rows`].
pub fn node_id(kind: &MapKind, level: u8, rows: &[Row]) -> Result<(Hash, Totals), MapError> {
    let totals = check_rows(kind, level, rows)?;
    Ok((hash_node(kind, level, rows, totals), totals))
}

/// The id of the empty map of a kind.
pub fn empty_map_id(kind: &MapKind) -> Hash {
    hash_node(kind, 0, &[], Totals::default())
}

/// Checks that these rows may stand in one node of this kind and level: order, keys, kinds, names, counts. Returns
/// the node's totals.
///
/// What no single node shows is not checked here: `a` and `a/` in two nodes, boundaries, and what ids stand for.
pub fn check_rows(kind: &MapKind, level: u8, rows: &[Row]) -> Result<Totals, MapError> {
    if level > MAX_LEVEL {
        return Err(MapError::MapTooDeep { level });
    }
    if rows.is_empty() && level > 0 {
        return Err(MapError::EmptyInner { level });
    }
    let mut totals = Totals::default();
    let mut previous: Option<&Row> = None;
    for row in rows {
        if previous.is_some_and(|previous| previous.key >= row.key) {
            return Err(MapError::Order { shown: escape(&row.key) });
        }
        check_row(kind, level, row)?;
        totals = totals.plus(row.totals())?;
        previous = Some(row);
    }
    if kind.is_tree() {
        check_no_twins(rows)?;
    }
    Ok(totals)
}

pub(crate) fn check_row(map: &MapKind, level: u8, row: &Row) -> Result<(), MapError> {
    let shown = || escape(&row.key);
    if row.key.is_empty() || row.key.len() > MAX_KEY {
        return Err(MapError::KeyLength { shown: shown(), length: row.key.len(), max: MAX_KEY });
    }
    let is_kind_allowed = match (level, map.is_tree()) {
        (0, true) => row.kind.is_file() || row.kind == Kind::Directory,
        (0, false) => row.kind == Kind::Value,
        _ => row.kind == Kind::Node,
    };
    if !is_kind_allowed {
        return Err(MapError::KindHere { shown: shown(), kind: row.kind, level, map: map.to_string() });
    }
    if map.is_tree() {
        return check_tree_row(row);
    }
    if row.kind == Kind::Node && row.totals() != Totals::default() {
        return Err(MapError::CountsOutsideTree { shown: shown() });
    }
    Ok(())
}

fn check_tree_row(row: &Row) -> Result<(), MapError> {
    let shown = || escape(&row.key);
    let name = row.key.strip_suffix(b"/");
    let is_right = match row.kind {
        Kind::Directory => name.is_some(),
        Kind::Node => true,
        _ => name.is_none(),
    };
    if !is_right {
        return Err(MapError::Slash { shown: shown() });
    }
    check_name(name.unwrap_or(&row.key)).map_err(|source| MapError::Name { shown: shown(), source })?;
    match row.kind {
        Kind::Directory | Kind::Node if row.files == 0 => Err(MapError::Hollow { shown: shown() }),
        Kind::Symlink if !(1..=MAX_TARGET).contains(&row.bytes) => {
            Err(MapError::TargetLength { shown: shown(), length: row.bytes })
        }
        _ => Ok(()),
    }
}

/// No name may be a file and a directory at once. (The two need not be neighbours: `a`, `a.txt`, `a/`.)
fn check_no_twins(rows: &[Row]) -> Result<(), MapError> {
    for row in rows.iter().filter(|row| row.kind == Kind::Directory) {
        let name = &row.key[..row.key.len() - 1];
        if rows.binary_search_by(|other| other.key.as_ref().cmp(name)).is_ok() {
            return Err(MapError::FileAndDirectory { shown: escape(name) });
        }
    }
    Ok(())
}

/// `H_node(1u32 | map kind: len u8, ASCII | level u8 | rows u32 | files u64 | bytes u64 | root[32])`.
fn hash_node(kind: &MapKind, level: u8, rows: &[Row], totals: Totals) -> Hash {
    let kind_length = u8::try_from(kind.as_str().len()).expect("map kinds have at most 32 bytes");
    let mut hasher = Domain::Node.hasher();
    hasher.update(&1_u32.to_le_bytes());
    hasher.update(&[kind_length]);
    hasher.update(kind.as_str().as_bytes());
    hasher.update(&[level]);
    hasher.update(&crate::codec::length_u32(rows.len()));
    hasher.update(&totals.files.to_le_bytes());
    hasher.update(&totals.bytes.to_le_bytes());
    hasher.update(rows_root(rows).as_bytes());
    hasher.finalize().into()
}

/// The root of the Merkle tree over the rows: groups of exactly four from the first, paired from the left, an
/// unpaired last one moving up unchanged; 32 zero bytes for no rows.
pub fn rows_root(rows: &[Row]) -> Hash {
    let mut encoded = Vec::new();
    let mut hashes: Vec<Hash> = Vec::with_capacity(rows.len().div_ceil(GROUP));
    for group in rows.chunks(GROUP) {
        encoded.clear();
        for row in group {
            row.encode(&mut encoded);
        }
        hashes.push(Domain::RowGroup.hash(&encoded));
    }
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(pair).collect();
    }
    hashes.first().copied().unwrap_or(Hash::ZERO)
}

fn pair(hashes: &[Hash]) -> Hash {
    let [left, right] = hashes else { return hashes[0] };
    Domain::Pair.hash(&[*left.as_bytes(), *right.as_bytes()].concat())
}
