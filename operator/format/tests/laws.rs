//! Laws of the codecs: what is written is read back, what is changed is refused, and no bytes make a reader panic or
//! believe a length that is not there.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;
use varve_format::commit::{CommitIdentity, CommitRecord};
use varve_format::location::{Area, Form};
use varve_format::pack::{Codec, Footer, FooterChunk, Frame, FrameHead, Header, MAX_FRAME, Trailer};
use varve_format::records::{JobRecord, Plan, PlanDatum, PlanMember, PlanShard, ShardResults, Task, Versioned};
use varve_format::{
    BranchName, DatumKey, DatumRow, DatumState, DecodeError, Found, Hash, Head, Kind, Location, Member, PackLocation,
    RecordAt, RepoPath, Row, commit_uid, datum_hash, plan, sort_members,
};

fn hashes() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid::from_bytes)
}

fn some_bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn pack_locations() -> impl Strategy<Value = PackLocation> {
    let flags = (any::<bool>(), any::<bool>());
    let place = (uuids(), 45..u64::MAX / 2, 1..1000_u32, 0..1000_u64, 0..(1_u32 << 20));
    (flags, place).prop_map(|((is_meta, is_index), (pack, offset, frames, more, skip))| PackLocation {
        area: if is_meta { Area::Meta } else { Area::Data },
        pack,
        offset,
        frames,
        stored: u64::from(frames) * 18 + more,
        skip,
        form: if is_index { Form::Index } else { Form::Plain },
    })
}

fn locations() -> impl Strategy<Value = Location> {
    prop_oneof![
        pack_locations().prop_map(Location::Pack),
        some_bytes(300).prop_map(Location::Inline),
        some_bytes(300).prop_map(Location::Embedded),
        some_bytes(300).prop_map(Location::Outside),
        Just(Location::Erased),
    ]
}

fn heads() -> impl Strategy<Value = Head> {
    let branch =
        prop_oneof![Just(BranchName::MEMO), "[a-z0-9]{1,9}".prop_map(|name| BranchName::parse(&name).unwrap())];
    let ids = (uuids(), uuids(), uuids(), hashes(), hashes());
    let numbers = (1..u64::MAX, any::<u64>(), any::<u64>(), any::<i64>());
    (branch, ids, numbers, any::<bool>()).prop_map(|(branch, ids, (seq, offset, length, time_ns), is_deleted)| {
        let (repo, commit, pack, seal, previous) = ids;
        let record = RecordAt { pack, offset, length };
        Head { repo, branch, seq, commit, seal, record, time_ns, previous, is_deleted }
    })
}

/// Members of distinct inputs and paths, unsorted.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let path = vec("[a-c.0é]{1,3}", 1..4).prop_filter_map("no dots", |names| RepoPath::parse(&names.join("/")).ok());
    let kind = prop_oneof![Just(Kind::File), Just(Kind::Executable), Just(Kind::Symlink), Just(Kind::Directory)];
    let found = (path, kind, hashes(), prop::option::of("[a-z]{0,2}"));
    let found = prop::option::weighted(0.8, found);
    let members = prop::collection::btree_map("[a-zé]{1,3}", ("[a-z]{1,3}", found), 1..6);
    members.prop_map(|members| {
        let member = |(input, (mount, found)): (String, (String, _))| {
            let found = Option::map(found, |(path, kind, id, join_key)| Found { path, kind, id, join_key });
            Member { input, mount, found }
        };
        members.into_iter().rev().map(member).collect()
    })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let kind = prop::sample::select(vec![
        Kind::File,
        Kind::Executable,
        Kind::Symlink,
        Kind::Directory,
        Kind::Value,
        Kind::Node,
    ]);
    let row = (vec(any::<u8>(), 1..50), kind, hashes(), any::<u64>(), any::<u64>());
    vec(
        row.prop_map(|(key, kind, id, files, bytes)| {
            let files = match kind {
                Kind::Directory | Kind::Node => files,
                Kind::Value => 0,
                _ => 1,
            };
            Row { key: key.into(), kind, id, files, bytes }
        }),
        0..20,
    )
}

proptest! {
    #[test]
    fn rows_are_read_as_they_were_written(rows in rows()) {
        let mut bytes = Vec::new();
        for row in &rows {
            row.encode(&mut bytes);
        }
        prop_assert_eq!(Row::decode_all(&bytes.into()).unwrap(), rows);
    }

    #[test]
    fn locations_say_where_they_end(first in locations(), second in locations()) {
        let mut bytes = Vec::new();
        first.encode(&mut bytes);
        second.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(Location::decode(&mut rest).unwrap(), first.clone());
        prop_assert_eq!(Location::decode(&mut rest).unwrap(), second);
        prop_assert!(rest.is_empty());
        prop_assert!(Location::from_slice(&bytes).is_err(), "bytes that follow are refused");
        prop_assert!(Location::from_slice(&first.to_vec()[..first.to_vec().len() - 1]).is_err());
    }

    #[test]
    fn a_frame_is_read_where_it_was_written_and_nowhere_else(
        pack in uuids(), offset in any::<u64>(), stored in vec(any::<u8>(), 1..500), behind in some_bytes(9),
    ) {
        let plain_bytes = u32::try_from(stored.len()).unwrap();
        let frame = Frame { codec: Codec::Raw, plain_bytes, stored: &stored };
        let mut bytes = Vec::new();
        frame.encode_into(&mut bytes, pack, offset);
        let length = bytes.len();
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(Frame::parse(&bytes, pack, offset), Ok((frame, length)));
        let elsewhere = DecodeError::Checksum { what: "frame", offset: offset ^ 1 };
        prop_assert_eq!(Frame::parse(&bytes, pack, offset ^ 1), Err(elsewhere));
        prop_assert!(Frame::parse(&bytes, Uuid::max(), offset).is_err());
    }

    #[test]
    fn a_frame_with_any_byte_changed_is_refused(
        stored in vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let plain_bytes = 300;
        let mut bytes = Vec::new();
        Frame { codec: Codec::Zstd, plain_bytes, stored: &stored }.encode_into(&mut bytes, Uuid::nil(), 45);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Frame::parse(&bytes, Uuid::nil(), 45).is_err());
    }

    #[test]
    fn a_footer_is_read_as_it_was_written(
        frames in vec((1..1000_u32, 1..1000_u32), 0..9), chunks in vec((0..9_u32, 1..9_u32, hashes()), 0..9),
    ) {
        let head = |(stored_bytes, plain_bytes)| FrameHead { codec: Codec::Zstd, stored_bytes, plain_bytes };
        let frames: Vec<_> = frames.into_iter().map(head).collect();
        let fits = |&(first, count, _): &(u32, u32, Hash)| (first + count) as usize <= frames.len();
        let chunk = |(first_frame, frames, hash)| FooterChunk { first_frame, frames, hash };
        let chunks = chunks.into_iter().filter(fits).map(chunk).collect();
        let footer = Footer { frames, chunks };
        let bytes = footer.encode();
        let trailer = Trailer::parse(&Trailer::of(&bytes).encode()).unwrap();
        prop_assert!(trailer.check(&bytes, 0).is_ok());
        prop_assert!(trailer.check(&bytes[1..], 0).is_err());
        prop_assert_eq!(Footer::parse(&bytes).unwrap(), footer);
    }

    #[test]
    fn a_header_is_read_as_it_was_written(pack in uuids()) {
        prop_assert_eq!(Header::parse(&Header::plain(pack).encode()), Ok(Header { pack }));
    }

    #[test]
    fn a_reflog_entry_is_one_text(head in heads(), at in any::<prop::sample::Index>()) {
        let text = head.to_text();
        prop_assert_eq!(Head::parse(&text).unwrap(), head.clone());
        let (extra, cut) = (format!("{text}\n"), &text[..at.index(text.len())]);
        prop_assert!(Head::parse(&extra).is_err());
        // A deleted branch's entry without its last line is the entry of one that was not.
        let shorter = Head { is_deleted: false, ..head };
        prop_assert!(Head::parse(cut).is_err() || Head::parse(cut) == Ok(shorter));
        prop_assert!(Head::parse(&text.replace("\nseq ", "\nseq +")).is_err());
        prop_assert!(Head::parse(&text.replace("\nseq ", "\nseq 0")).is_err());
    }

    #[test]
    fn a_datum_key_names_its_members_in_order(mut members in members()) {
        sort_members(&mut members);
        let key = DatumKey::of(&members).unwrap();
        let read = DatumKey::from_bytes(key.as_bytes().clone()).unwrap().members().unwrap();
        let wanted = members.iter().map(|member| (member.input.clone(), member.found.as_ref().map(Found::key_path)));
        prop_assert_eq!(read, wanted.collect::<Vec<_>>());
        if members.len() > 1 {
            members.reverse();
            prop_assert!(DatumKey::of(&members).is_err(), "unsorted members are refused");
        }
    }

    #[test]
    fn a_datum_hash_depends_on_mounts_and_ids_and_not_on_input_names(
        mut members in members(), spec in hashes(), other in hashes(),
    ) {
        sort_members(&mut members);
        let hash = datum_hash(&spec, &members).unwrap();
        prop_assert_ne!(datum_hash(&other, &members).unwrap(), hash);
        let mut renamed = members.clone();
        for member in &mut renamed {
            member.input.insert(0, 'x');
        }
        prop_assert_eq!(datum_hash(&spec, &renamed).unwrap(), hash);
        let mut remounted = members.clone();
        remounted[0].mount.push('x');
        prop_assert_ne!(datum_hash(&spec, &remounted).unwrap(), hash);
        if let Some(found) = &mut members[0].found {
            found.id = other;
            prop_assert_ne!(datum_hash(&spec, &members).unwrap(), hash);
        }
    }

    #[test]
    fn a_datum_row_is_read_as_it_was_written(hash in hashes(), output in hashes(), is_recovered in any::<bool>()) {
        let state = if is_recovered { DatumState::Recovered } else { DatumState::Succeeded };
        let row = DatumRow { hash, state, output };
        prop_assert_eq!(DatumRow::decode(&row.encode()), Ok(row));
    }

    #[test]
    fn a_shard_reads_its_own_range_of_a_plan(sizes in vec(vec(0..9_u64, 0..5), 0..5)) {
        let member = |bytes| PlanMember { bytes, ..PlanMember::default() };
        let datum = |&bytes: &u64| PlanDatum { members: vec![member(bytes), member(1)], ..PlanDatum::default() };
        let shard = |bytes: &Vec<u64>| PlanShard { datums: bytes.iter().map(datum).collect() };
        let shards: Vec<PlanShard> = sizes.iter().map(shard).collect();
        let header = Plan { job_uid: vec![7; 16], spec_digest: vec![8; 32], ..Plan::default() };
        let bytes = plan::encode(header, &shards);
        let range = plan::header_range(&bytes[..plan::LENGTH_BYTES]).unwrap();
        let slice = |range: std::ops::Range<u64>| &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        let header = plan::decode_header(slice(range.clone())).unwrap();
        for (index, shard) in (0_u32..).zip(&shards) {
            let own = plan::shard_range(&header, range.end, index).unwrap();
            prop_assert_eq!(&plan::decode_shard(&header, index, slice(own)).unwrap(), shard);
            let sizes = &sizes[index as usize];
            prop_assert_eq!(header.shard_index[index as usize].bytes, sizes.iter().map(|bytes| bytes + 1).sum::<u64>());
        }
        prop_assert!(plan::shard_range(&header, range.end, u32::try_from(shards.len()).unwrap()).is_err());
    }

    #[test]
    fn a_changed_byte_of_a_plan_is_found_by_whoever_reads_that_part(at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
        let argv = vec!["convert".to_owned(), "in".to_owned()];
        let task = Task { argv, ..Task::default() };
        let header = Plan { job_uid: vec![7; 16], spec_digest: vec![8; 32], task: Some(task), ..Plan::default() };
        let datum = |n| PlanDatum { key: vec![n; 20], hash: vec![n; 32], ..PlanDatum::default() };
        let shards = [1, 2].map(|n| PlanShard { datums: vec![datum(n)] });
        let whole = plan::encode(header, &shards);
        let read = |bytes: &[u8]| {
            let range = plan::header_range(bytes)?;
            let slice = |range: &std::ops::Range<u64>| {
                let end = usize::try_from(range.end).unwrap().min(bytes.len());
                &bytes[usize::try_from(range.start).unwrap().min(end)..end]
            };
            let header = plan::decode_header(slice(&range))?;
            let own = |shard| plan::decode_shard(&header, shard, slice(&plan::shard_range(&header, range.end, shard)?));
            let shards = [own(0)?, own(1)?];
            Ok::<_, DecodeError>((header, shards))
        };
        let expected = read(&whole).unwrap();
        let mut changed = whole.to_vec();
        changed[at.index(whole.len())] ^= 1 << bit;
        // Only the field that holds the hash itself may change without being noticed, and then nothing else did.
        prop_assert!(read(&changed).is_err() || read(&changed) == Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_are_never_more_than_refused(bytes in some_bytes(200)) {
        let mut rest = &bytes[..];
        if let Ok(location) = Location::decode(&mut rest) {
            prop_assert_eq!(location.to_vec(), &bytes[..bytes.len() - rest.len()]);
        }
        let _ = Row::decode_all(&bytes);
        let _ = Header::parse(&bytes);
        let _ = Footer::parse(&bytes);
        let _ = Trailer::parse(&bytes);
        let _ = Frame::parse(&bytes, Uuid::nil(), 0);
        let _ = DatumRow::decode(&bytes);
        if let Ok(key) = DatumKey::from_bytes(bytes.clone()) {
            prop_assert!(!key.to_string().is_empty());
        }
        let _ = Head::parse(&String::from_utf8_lossy(&bytes));
        let _ = CommitIdentity::from_bytes(&bytes);
        let _ = CommitRecord::from_bytes(&bytes);
        let _ = (ShardResults::from_bytes(&bytes), JobRecord::from_bytes(&bytes));
        let _ = (plan::header_range(&bytes), plan::decode_header(&bytes), plan::decode_shard(&Plan::default(), 0, &bytes));
    }

    #[test]
    fn what_decodes_after_a_change_is_written_as_it_stands(
        location in locations(), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut bytes = location.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = Location::from_slice(&bytes) {
            prop_assert_eq!(read.to_vec(), bytes);
        }
    }

    #[test]
    fn a_commit_uid_is_a_uuid_of_its_time(milliseconds in 0..1_i64 << 47, owner in "[a-f0-9-]{36}") {
        let uid = commit_uid(milliseconds, &owner);
        prop_assert_eq!(uid.get_version_num(), 7);
        let (seconds, nanoseconds) = uid.get_timestamp().unwrap().to_unix();
        prop_assert_eq!(seconds * 1000 + u64::from(nanoseconds) / 1_000_000, u64::try_from(milliseconds).unwrap());
        prop_assert_eq!(commit_uid(milliseconds, &owner), uid);
        prop_assert_ne!(commit_uid(milliseconds, &(owner + "x")), uid);
    }
}

#[test]
fn a_declared_length_is_not_believed() {
    let huge = u32::MAX.to_le_bytes();
    let inline = [&[2], &huge[..]].concat();
    let max = 1 << 20;
    let refused = DecodeError::TooLong { what: "location", length: u32::MAX.into(), max };
    assert_eq!(Location::from_slice(&inline), Err(refused));

    let footer = [&[1], &huge[..], &[0; 9]].concat();
    let refused = DecodeError::TooLong { what: "pack footer", length: u32::MAX.into(), max: 1 };
    assert_eq!(Footer::parse(&footer), Err(refused));

    let frame = [&[1], &huge[..], &huge[..]].concat();
    let refused = DecodeError::TooLong { what: "frame", length: u32::MAX.into(), max: MAX_FRAME as u64 };
    assert_eq!(Frame::parse(&frame, Uuid::nil(), 0), Err(refused));

    let trailer = [&huge[..], &[0; 8], b"VARVEPK1"].concat();
    assert!(matches!(Trailer::parse(&trailer), Err(DecodeError::TooLong { what: "pack footer", .. })));
    assert!(matches!(plan::header_range(&huge), Err(DecodeError::TooLong { what: "plan header", .. })));
}

#[test]
fn what_a_later_version_wrote_is_named_and_refused() {
    let unknown = |what, field, value| DecodeError::Unknown { what, field, value };
    assert_eq!(Location::from_slice(&[6]), Err(unknown("location", "tag", 6)));
    let mut header = Header::plain(Uuid::nil()).encode();
    header[12] = 1;
    assert_eq!(Header::parse(&header), Err(unknown("pack header", "cipher", 1)));
    header[8] = 2;
    assert_eq!(Header::parse(&header), Err(unknown("pack header", "format", 2)));
    header[0] = b'v';
    assert_eq!(Header::parse(&header), Err(DecodeError::Magic { what: "pack header" }));
    assert_eq!(Footer::parse(&[2]), Err(unknown("pack footer", "version", 2)));
    assert_eq!(Kind::try_from(4), Err(unknown("row", "kind", 4)));
    let record = CommitRecord { format: 2, ..CommitRecord::default() };
    let bytes = prost::Message::encode_to_vec(&record);
    assert_eq!(CommitRecord::from_bytes(&bytes), Err(unknown("commit record", "format", 2)));
}

#[test]
fn the_longest_datum_key_has_8127_bytes() {
    let member = |input: &str, length: usize| {
        let names = vec!["p".repeat(255); length / 256].join("/") + "/" + &"q".repeat(length % 256);
        let path = RepoPath::parse(names.trim_end_matches('/')).expect("a path");
        let found = Found { path, kind: Kind::File, id: Hash::ZERO, join_key: None };
        Member { input: input.to_owned(), mount: input.to_owned(), found: Some(found) }
    };
    let longest = [member("a", 4095), member("b", 8127 - 4095 - 8)];
    assert_eq!(DatumKey::of(&longest).map(|key| key.as_bytes().len()), Ok(8127));
    let longer = [member("a", 4095), member("b", 8127 - 4095 - 7)];
    let refused = DatumKey::of(&longer).expect_err("it is too long").to_string();
    assert!(refused.contains("the datum's key has 8128 bytes and may have at most 8127"), "{refused}");
}
