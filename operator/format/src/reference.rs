//! Building a map whole, in memory: the plainest reading of the format, which cleverer code is tested against.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cutter::Cutter;
use crate::error::{Error, MapError};
use crate::hash::Hash;
use crate::name::{MapKind, RepoPath};
use crate::node::{MAX_LEVEL, node_id};
use crate::row::{Kind, Row, Totals};

/// A node of a map that was built whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: Hash,
    /// Its level, 0 for leaves.
    pub level: u8,
    /// Files and bytes below it.
    pub totals: Totals,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// The levels of a map, leaves first; the last level holds the root alone.
///
/// Rows must be in strictly ascending order of their keys.
pub fn build(kind: &MapKind, rows: Vec<Row>) -> Result<Vec<Vec<Node>>, MapError> {
    let mut levels = Vec::new();
    let mut rows = rows;
    for level in 0..=MAX_LEVEL {
        let nodes = build_level(kind, level, rows)?;
        rows = nodes.iter().filter_map(child_row).collect();
        let is_root = nodes.len() == 1;
        levels.push(nodes);
        if is_root {
            return Ok(levels);
        }
    }
    Err(MapError::MapTooDeep { level: MAX_LEVEL + 1 })
}

/// The id and totals of the map that holds these rows.
pub fn map_id(kind: &MapKind, rows: &[Row]) -> Result<(Hash, Totals), MapError> {
    let levels = build(kind, rows.to_vec())?;
    let root = root(&levels);
    Ok((root.id, root.totals))
}

/// The root of a map that was built whole.
pub fn root(levels: &[Vec<Node>]) -> &Node {
    &levels[levels.len() - 1][0]
}

fn build_level(kind: &MapKind, level: u8, rows: Vec<Row>) -> Result<Vec<Node>, MapError> {
    let mut cutter = Cutter::new(level);
    let mut nodes = Vec::new();
    let mut open = Vec::new();
    for row in rows {
        let is_cut = cutter.push(&row.key);
        open.push(row);
        if is_cut {
            nodes.push(seal_node(kind, level, std::mem::take(&mut open))?);
        }
    }
    if !open.is_empty() || nodes.is_empty() {
        nodes.push(seal_node(kind, level, open)?);
    }
    Ok(nodes)
}

fn seal_node(kind: &MapKind, level: u8, rows: Vec<Row>) -> Result<Node, MapError> {
    let (id, totals) = node_id(kind, level, &rows)?;
    Ok(Node { id, level, totals, rows })
}

fn child_row(node: &Node) -> Option<Row> {
    node.rows.last().map(|last| Row::node(last.key.clone(), node.id, node.totals))
}

/// A file for [`tree_id`]: its kind (file, executable or symlink), content id and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// File, executable or symlink.
    pub kind: Kind,
    /// The content's id.
    pub id: Hash,
    /// Its size in bytes.
    pub size: u64,
}

impl File {
    /// The file with this content.
    pub fn of(kind: Kind, content: &[u8]) -> Self {
        Self { kind, id: Hash::of_content(content), size: content.len() as u64 }
    }
}

/// The id and totals of the tree that holds these files, with all its directories.
pub fn tree_id(files: &BTreeMap<RepoPath, File>) -> Result<(Hash, Totals), Error> {
    Ok(map_id(&MapKind::TREE, &root_rows(files)?)?)
}

/// The rows of the root directory of the tree that holds these files.
pub fn root_rows(files: &BTreeMap<RepoPath, File>) -> Result<Vec<Row>, Error> {
    for path in files.keys() {
        crate::name::check_file_path(path)?;
    }
    let files: Vec<(&str, &File)> = files.iter().map(|(path, file)| (path.as_str(), file)).collect();
    Ok(directory_rows(&files)?)
}

/// The rows of one directory, from its files by their paths within it. Those of one sub-directory need not be
/// neighbours in the order of paths (`a.txt` stands between `a` and `a/`), so they are gathered by name first.
fn directory_rows(files: &[(&str, &File)]) -> Result<Vec<Row>, MapError> {
    let mut rows: BTreeMap<Bytes, Row> = BTreeMap::new();
    let mut below: BTreeMap<&str, Vec<(&str, &File)>> = BTreeMap::new();
    for (path, file) in files {
        if let Some((name, rest)) = path.split_once('/') {
            below.entry(name).or_default().push((rest, file));
        } else {
            let key = Bytes::copy_from_slice(path.as_bytes());
            rows.insert(key.clone(), Row::file(key, file.kind, file.id, file.size));
        }
    }
    for (name, files) in below {
        let (id, totals) = map_id(&MapKind::TREE, &directory_rows(&files)?)?;
        let row = Row::directory(name, id, totals);
        if rows.contains_key(name.as_bytes()) {
            return Err(MapError::FileAndDirectory { shown: crate::error::escape(name.as_bytes()) });
        }
        rows.insert(row.key.clone(), row);
    }
    Ok(rows.into_values().collect())
}
