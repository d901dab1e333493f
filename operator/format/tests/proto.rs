//! `docs/format/commit.proto` says what the crate's messages say: it is written from their sources.
//!
//! `VARVE_WRITE_VECTORS=1` writes it again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

const HEAD: &str = "// The messages of a commit's record (FORMAT.md, \"Commit\"). Written from operator/format/src by its test; do not edit.
//
// Hashes are 32 bytes, uids 16, locations the exact encoding of FORMAT.md. Field numbers are never used twice.

syntax = \"proto3\";

package varve.v1;
";

/// In the order of reading.
const MESSAGES: [&str; 12] = [
    "CommitIdentity",
    "Parent",
    "MapRoot",
    "Provenance",
    "ProvenanceInput",
    "Ancestor",
    "ChangeSummary",
    "CommitRecord",
    "Placement",
    "RootPlacement",
    "PackUse",
    "ContentRef",
];

#[test]
fn the_proto_file_is_that_of_the_crate() -> Result<()> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = messages(&std::fs::read_to_string(crate_dir.join("src/commit/messages.rs"))?)?;
    found.extend(messages(&std::fs::read_to_string(crate_dir.join("src/records/mod.rs"))?)?);
    let mut wanted = HEAD.to_owned();
    for name in MESSAGES {
        wanted.push('\n');
        wanted.push_str(found.get(name).with_context(|| format!("message {name}"))?);
    }
    let path = crate_dir.join("../../docs/format/commit.proto");
    if std::env::var_os("VARVE_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &wanted)?;
    }
    assert_eq!(std::fs::read_to_string(&path)?, wanted);
    Ok(())
}

/// The messages of a source file, as the text of a .proto.
fn messages(source: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let (mut docs, mut field) = (Vec::new(), None::<Field>);
    let mut open: Option<(String, String)> = None;
    for line in source.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// ") {
            docs.push(doc.to_owned());
        } else if let Some(attribute) = line.strip_prefix("#[prost(") {
            field = Some(Field::parse(attribute)?);
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            open = Some((name.to_owned(), format!("{}message {name} {{\n", comment(&docs, ""))));
            docs.clear();
        } else if let (Some(field), Some((_, text))) = (field.take(), open.as_mut()) {
            let (name, rust_type) = line.trim_start_matches("pub ").split_once(": ").context("a field")?;
            text.push_str(&comment(&docs, "  "));
            text.push_str(&field.show(name, rust_type));
            docs.clear();
        } else if line == "}" {
            if let Some((name, text)) = open.take() {
                found.insert(name, text + "}\n");
            }
            docs.clear();
        } else if !line.starts_with("#[") {
            docs.clear();
        }
    }
    Ok(found)
}

struct Field {
    kind: String,
    label: &'static str,
    tag: String,
}

impl Field {
    /// From `bytes = "vec", optional, tag = "5")]`.
    fn parse(attribute: &str) -> Result<Self> {
        let mut parts = attribute.trim_end_matches(")]").split(", ");
        let kind = parts.next().context("a type")?.split(' ').next().context("a type")?.to_owned();
        let (mut label, mut tag) = ("", "");
        for part in parts {
            match part {
                "optional" => label = "optional ",
                "repeated" => label = "repeated ",
                other => tag = other.trim_start_matches("tag = ").trim_matches('"'),
            }
        }
        Ok(Self { kind, label, tag: tag.to_owned() })
    }

    fn show(&self, name: &str, rust_type: &str) -> String {
        let inner = rust_type.trim_end_matches(',').trim_end_matches('>').rsplit(['<', ':']).next().unwrap_or_default();
        let is_message = self.kind == "message";
        let kind = if is_message { inner } else { self.kind.as_str() };
        let label = if is_message && self.label == "optional " { "" } else { self.label };
        format!("  {label}{kind} {name} = {};\n", self.tag)
    }
}

/// Rust's links are no use in a .proto.
fn comment(docs: &[String], indent: &str) -> String {
    let lines: Vec<String> = docs.iter().map(|line| line.replace(['[', ']'], "")).collect();
    lines.iter().flat_map(|line| [indent, "// ", line, "\n"]).collect()
}
