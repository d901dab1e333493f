//! The vectors of the format: every id and encoding in `vectors/*.json` is computed again from what is given.
//!
//! `VARVE_WRITE_VECTORS=1` writes what was computed into the files, after an addition. What justifies a vector is the
//! independent reader, which computes the same from the documents alone (`reader.rs`).

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use varve_format::commit::{self, CommitIdentity};
use varve_format::location::{Area, Form};
use varve_format::pack::{self, Footer, FooterChunk, Frame, Header, Trailer};
use varve_format::reference::{self, File};
use varve_format::{
    BranchName, DatumKey, DatumRow, DatumState, EnvFromSource, EnvSource, Found, Hash, Head, Kind, Location, MapKind,
    Member, PackLocation, RecordAt, RepoPath, Row, SpecDigest, commit_uid, datum_hash, keys, sort_members,
};

#[test]
fn every_vector_is_computed_again() -> Result<()> {
    for path in support::vector_files()? {
        let text = std::fs::read_to_string(&path)?;
        let mut file: Value = serde_json::from_str(&text)?;
        let about = text_of(&file["about"])?.to_owned();
        let vectors = file["vectors"].as_array_mut().context("`vectors` is a list")?;
        for vector in vectors {
            let name = format!("{}: {}", path.display(), vector["name"]);
            let found = compute(&about, &vector["given"]).with_context(|| name.clone())?;
            if std::env::var_os("VARVE_WRITE_VECTORS").is_some() {
                vector["then"] = found;
            } else {
                assert_eq!(found, vector["then"], "{name}");
            }
        }
        if std::env::var_os("VARVE_WRITE_VECTORS").is_some() {
            std::fs::write(&path, in_ascii(&serde_json::to_string_pretty(&file)?) + "\n")?;
        }
    }
    Ok(())
}

#[test]
fn the_identities_of_the_vectors_are_read_and_written_as_they_stand() -> Result<()> {
    let path = support::vectors_dir().join("seals.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let identity =
        |index: usize| -> Result<Vec<u8>> { Ok(hex::decode(text_of(&file["vectors"][index]["given"]["identity"])?)?) };
    let (user, output, later) = (identity(0)?, identity(1)?, identity(2)?);

    for bytes in [&user, &output] {
        let read = CommitIdentity::from_bytes(bytes)?;
        assert_eq!(hex::encode(prost::Message::encode_to_vec(&read)), hex::encode(bytes));
    }
    assert_eq!(CommitIdentity::from_bytes(&later)?, CommitIdentity::from_bytes(&user)?);
    assert_ne!(commit::seal(&later), commit::seal(&user), "the seal covers what this version does not know");

    let read = CommitIdentity::from_bytes(&output)?;
    let tree = read.map(&MapKind::TREE).context("it has a tree")?;
    assert_eq!((tree.level, tree.files, tree.bytes), (1, 1000, 12000));
    assert_eq!(read.uid()?.to_string(), "018bcfe5-7000-7123-89ab-0123456789ad");
    assert_eq!((read.name.as_str(), read.sequence, read.time_ns), ("edges-abcdefghij", 2, 1_700_000_001_000_000_000));
    let provenance = read.provenance.context("it has provenance")?;
    assert_eq!((provenance.inputs[0].name.as_str(), provenance.closure[0].sequence), ("photos", 1));
    Ok(())
}

/// JSON with everything beyond printable ASCII escaped: some of the names would change how the file is shown.
fn in_ascii(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c == '\n' || c == ' ' || c.is_ascii_graphic() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

fn compute(about: &str, given: &Value) -> Result<Value> {
    match about {
        "trees" => tree(given),
        "maps" => map(given),
        "datums" => datum(given),
        "datum-rows" => datum_row(given),
        "specs" => Ok(json!(spec(given)?.digest())),
        "seals" => Ok(json!(commit::seal(&hex_of(&given["identity"])?))),
        "commit-specs" => Ok(json!(commit::spec_hash(given))),
        "commit-uids" => {
            let milliseconds = given["milliseconds"].as_i64().context("milliseconds")?;
            Ok(json!(commit_uid(milliseconds, text_of(&given["owner"])?)))
        }
        "reflog" => reflog(given),
        "locations" => location(given),
        "packs" => whole_pack(given),
        other => bail!("no vectors are known about `{other}`"),
    }
}

fn text_of(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} must be a text"))
}

fn number_of(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} must be a number"))
}

fn hex_of(value: &Value) -> Result<Vec<u8>> {
    Ok(hex::decode(text_of(value)?)?)
}

fn kind_of(value: &Value) -> Result<Kind> {
    Ok(Kind::try_from(u8::try_from(value.as_u64().unwrap_or(0))?)?)
}

fn entries(value: &Value) -> Result<impl Iterator<Item = (&String, &Value)>> {
    Ok(value.as_object().context("an object")?.iter())
}

fn items(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("a list")
}

fn shape(kind: &MapKind, rows: Vec<Row>) -> Result<Value> {
    let levels = reference::build(kind, rows)?;
    let (root, nodes) = (reference::root(&levels), levels.iter().map(Vec::len).sum::<usize>());
    let totals = root.totals;
    Ok(json!({
        "id": root.id, "files": totals.files, "bytes": totals.bytes, "nodes": nodes, "levels": levels.len()
    }))
}

fn tree(given: &Value) -> Result<Value> {
    if let Some(count) = given["flat"].as_u64() {
        let width = usize::try_from(given["width"].as_u64().unwrap_or(0))?;
        let at_least = u64::from_str_radix(given["hashAtLeast"].as_str().unwrap_or("0"), 16)?;
        let rows = support::flat(count, width, at_least);
        return shape(&MapKind::TREE, rows);
    }
    let mut files = BTreeMap::new();
    for (path, file) in entries(&given["files"])? {
        let content = match file.get("hex") {
            Some(hex) => hex_of(hex)?,
            None => text_of(&file["text"])?.as_bytes().to_vec(),
        };
        files.insert(RepoPath::parse(path)?, File::of(kind_of(&file["kind"])?, &content));
    }
    let (id, totals) = reference::tree_id(&files)?;
    let root = shape(&MapKind::TREE, reference::root_rows(&files)?)?;
    assert_eq!((&json!(id), &json!(totals.files)), (&root["id"], &root["files"]));
    Ok(root)
}

fn map(given: &Value) -> Result<Value> {
    let mut rows = Vec::new();
    for entry in given["entries"].as_array().into_iter().flatten() {
        rows.push(Row::value(hex_of(&entry[0])?, &hex_of(&entry[1])?));
    }
    let width = usize::try_from(given["width"].as_u64().unwrap_or(0))?;
    for n in 0..given["count"].as_u64().unwrap_or(0) {
        rows.push(Row::value(format!("{:k<width$}", format!("key-{n:07}")), n.to_string().as_bytes()));
    }
    shape(&MapKind::parse(text_of(&given["kind"])?)?, rows)
}

fn datum(given: &Value) -> Result<Value> {
    let mut members = Vec::new();
    for member in items(&given["members"])? {
        let found = match member.get("path") {
            None => None,
            Some(path) => Some(Found {
                path: RepoPath::parse(text_of(path)?)?,
                kind: kind_of(&member["kind"])?,
                id: text_of(&member["id"])?.parse()?,
                join_key: member["join_key"].as_str().map(str::to_owned),
            }),
        };
        let (input, mount) = (text_of(&member["input"])?.to_owned(), text_of(&member["mount"])?.to_owned());
        members.push(Member { input, mount, found });
    }
    sort_members(&mut members);
    let key = DatumKey::of(&members)?;
    let read = DatumKey::from_bytes(key.as_bytes().clone())?.members()?;
    let wanted = members.iter().map(|m| (m.input.clone(), m.found.as_ref().map(Found::key_path)));
    assert_eq!(read, wanted.collect::<Vec<_>>());
    let hash = datum_hash(&text_of(&given["specDigest"])?.parse()?, &members)?;
    Ok(json!({ "key": hex::encode(key.as_bytes()), "hash": hash }))
}

fn datum_row(given: &Value) -> Result<Value> {
    let state = if given["state"] == 1 { DatumState::Succeeded } else { DatumState::Recovered };
    let row = DatumRow { hash: text_of(&given["hash"])?.parse()?, state, output: text_of(&given["output"])?.parse()? };
    assert_eq!(DatumRow::decode(&row.encode())?, row);
    Ok(json!(hex::encode(row.encode())))
}

fn spec(given: &Value) -> Result<SpecDigest> {
    let texts = |value: &Value| -> Option<Vec<String>> {
        Some(value.as_array()?.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect())
    };
    let mut spec = SpecDigest {
        image_config_digest: text_of(&given["imageConfigDigest"])?.to_owned(),
        command: texts(&given["command"]),
        args: texts(&given["args"]),
        working_dir: given["workingDir"].as_str().map(str::to_owned),
        ..SpecDigest::default()
    };
    for env in items(&given["env"])? {
        spec.env.push((text_of(&env["name"])?.to_owned(), env_source(&env["source"])?));
    }
    for env in items(&given["envFrom"])? {
        spec.env_from.push((text_of(&env["prefix"])?.to_owned(), env_from_source(env)?));
    }
    for (mount, keys) in entries(&given["configMaps"])? {
        let mut contents = BTreeMap::new();
        for (key, content) in entries(keys)? {
            contents.insert(key.clone(), Hash::of_content(text_of(content)?.as_bytes()));
        }
        spec.config_maps.insert(mount.clone(), contents);
    }
    for (mount, secret) in entries(&given["secrets"])? {
        let keys = texts(&secret["keys"]).unwrap_or_default().into_iter().collect();
        spec.secrets.insert(mount.clone(), (text_of(&secret["name"])?.to_owned(), keys));
    }
    for code in items(&given["acceptExitCodes"])? {
        spec.accept_exit_codes.insert(i32::try_from(code.as_i64().context("an exit code")?)?);
    }
    for (name, input) in entries(&given["inputs"])? {
        let (mount, mode) = (text_of(&input["mount"])?.to_owned(), text_of(&input["mode"])?.to_owned());
        spec.inputs.insert(name.clone(), (mount, mode));
    }
    Ok(spec)
}

fn env_source(source: &Value) -> Result<EnvSource> {
    let text = |key: &str| text_of(&source[key]).map(str::to_owned);
    Ok(match text_of(&source["from"])? {
        "literal" => EnvSource::Literal(text("value")?),
        "secret" => EnvSource::Secret { name: text("name")?, key: text("key")? },
        "configMap" => EnvSource::ConfigMap(text("content")?),
        "field" => EnvSource::Field(text("path")?),
        other => bail!("no variable comes from `{other}`"),
    })
}

fn env_from_source(source: &Value) -> Result<EnvFromSource> {
    Ok(match text_of(&source["from"])? {
        "secret" => EnvFromSource::Secret(text_of(&source["name"])?.to_owned()),
        _ => EnvFromSource::ConfigMap(serde_json::from_value(source["data"].clone())?),
    })
}

fn reflog(given: &Value) -> Result<Value> {
    let record: Vec<&str> = text_of(&given["record"])?.split(' ').collect();
    let head = Head {
        repo: text_of(&given["repo"])?.parse()?,
        branch: BranchName::parse_stored(text_of(&given["branch"])?)?,
        seq: number_of(&given["seq"])?,
        commit: text_of(&given["commit"])?.parse()?,
        seal: text_of(&given["seal"])?.parse()?,
        record: RecordAt { pack: record[0].parse()?, offset: record[1].parse()?, length: record[2].parse()? },
        time_ns: given["time"].as_i64().context("time")?,
        previous: text_of(&given["previous"])?.parse()?,
        is_deleted: given["deleted"] == true,
    };
    assert_eq!(Head::parse(&head.to_text())?, head);
    Ok(json!({ "text": head.to_text(), "hash": head.hash(), "key": keys::reflog(&head) }))
}

fn location(given: &Value) -> Result<Value> {
    let bytes = || hex_of(&given["bytes"]).map(Bytes::from);
    let location = match number_of(&given["tag"])? {
        1 => Location::Pack(PackLocation {
            area: if given["area"] == 0 { Area::Data } else { Area::Meta },
            pack: text_of(&given["pack"])?.parse()?,
            offset: number_of(&given["offset"])?,
            frames: u32::try_from(number_of(&given["frames"])?)?,
            stored: number_of(&given["stored"])?,
            skip: u32::try_from(number_of(&given["skip"])?)?,
            form: if given["form"] == 0 { Form::Plain } else { Form::Index },
        }),
        2 => Location::Inline(bytes()?),
        3 => Location::Embedded(bytes()?),
        4 => Location::Outside(bytes()?),
        _ => Location::Erased,
    };
    assert_eq!(Location::from_slice(&location.to_vec())?, location);
    Ok(json!(hex::encode(location.to_vec())))
}

/// Takes a whole pack apart, puts it together again from its parts, and compares.
fn whole_pack(given: &Value) -> Result<Value> {
    let bytes = hex_of(&given["hex"])?;
    let pack = Header::parse(&bytes[..pack::HEADER_BYTES])?.pack;
    let trailer_at = bytes.len() - pack::TRAILER_BYTES;
    let trailer = Trailer::parse(&bytes[trailer_at..])?;
    let footer_at = trailer_at - trailer.footer_bytes as usize;
    trailer.check(&bytes[footer_at..trailer_at], footer_at as u64)?;
    let footer = Footer::parse(&bytes[footer_at..trailer_at])?;
    let mut frames = Vec::new();
    for offset in footer.offsets() {
        frames.push(Frame::parse(&bytes[usize::try_from(offset)?..footer_at], pack, offset)?.0);
    }
    assert_eq!(hex::encode(put_together(pack, &frames, &footer.chunks)), hex::encode(&bytes));
    let shown = |frame: &Frame<'_>| json!({ "codec": frame.codec as u8, "plain": frame.plain_bytes, "stored": hex::encode(frame.stored) });
    Ok(json!({
        "pack": hex::encode(pack.as_bytes()),
        "frames": frames.iter().map(shown).collect::<Vec<_>>(),
        "chunks": footer.chunks.iter().map(|c| json!([c.first_frame, c.frames, c.hash])).collect::<Vec<_>>(),
    }))
}

fn put_together(pack: Uuid, frames: &[Frame<'_>], chunks: &[FooterChunk]) -> Vec<u8> {
    let mut out = Header::plain(pack).encode().to_vec();
    let mut footer = Footer { frames: Vec::new(), chunks: chunks.to_vec() };
    for frame in frames {
        let offset = out.len() as u64;
        frame.encode_into(&mut out, pack, offset);
        footer.push_frame(frame);
    }
    let footer = footer.encode();
    out.extend_from_slice(&footer);
    out.extend_from_slice(&Trailer::of(&footer).encode());
    out
}
