#!/usr/bin/env python3
"""Computes Varve's ids from FORMAT.md alone. Knows nothing of Varve's own code."""

import json, os, stat, struct, sys
from blake3 import blake3
from xxhash import xxh3_64_intdigest as xxh3

FILE, EXECUTABLE, SYMLINK, DIRECTORY, VALUE, NODE = 0, 1, 2, 3, 5, 255


def plain(data): return blake3(data).digest()
def h(x, data): return blake3(data, derive_key_context="varve v1 " + x).digest()
def u8(n): return struct.pack("<B", n)
def u16(n): return struct.pack("<H", n)
def u32(n): return struct.pack("<I", n)
def u64(n): return struct.pack("<Q", n)
def string(s): return u32(len(s.encode())) + s.encode()
def option(value, put): return u8(0) if value is None else u8(1) + put(value)
def many(items, put): return u32(len(items)) + b"".join(put(item) for item in items)


# Maps. A row is (key, kind, files, bytes, id); files and bytes are what it adds to its node's sums.

def encode_row(key, kind, files, size, id):
    counts = u64(files) + u64(size) if kind in (DIRECTORY, NODE) else u64(size)
    return u16(len(key)) + key + u8(kind) + counts + id


def node_id(map_kind, level, rows):
    counted = [row for row in rows if row[1] != VALUE]
    files, size = sum(row[2] for row in counted), sum(row[3] for row in counted)
    level_hashes = [h("row group", b"".join(encode_row(*row) for row in rows[i:i + 4])) for i in range(0, len(rows), 4)]
    while len(level_hashes) > 1:
        pairs = [level_hashes[i:i + 2] for i in range(0, len(level_hashes), 2)]
        level_hashes = [h("pair", b"".join(pair)) if len(pair) == 2 else pair[0] for pair in pairs]
    root = level_hashes[0] if level_hashes else bytes(32)
    head = u32(1) + u8(len(map_kind)) + map_kind.encode() + u8(level) + u32(len(rows)) + u64(files) + u64(size)
    return h("node", head + root), files, size


def cut(level, rows):
    seed, size, node = 0x9E3779B97F4A7C15 * (level + 1) % 2**64, 0, []
    for row in rows:
        before, size = size, size + len(row[0]) + 64
        node.append(row)
        if size >= 2**17 or size >= 2**13 and xxh3(row[0], seed=seed) < (size**4 - before**4) * 2**4:
            yield node
            size, node = 0, []
    if node:
        yield node


def build(map_kind, rows):
    """(id, files, bytes, nodes, levels) of the map with these rows."""
    rows, count = sorted(rows), 0
    for level in range(16):
        nodes = list(cut(level, rows)) or [[]]
        count += len(nodes)
        parents = [(node[-1][0] if node else b"", NODE, *node_id(map_kind, level, node)[1:], node_id(map_kind, level, node)[0])
                   for node in nodes]
        if len(nodes) == 1:
            _, _, files, size, id = parents[0]
            return id, files, size, count, level + 1
        rows = parents
    raise ValueError("MapTooDeep")


# Trees. `files` is a dictionary: path as bytes -> (kind, content).

def tree(files):
    rows, below = [], {}
    for path, (kind, content) in files.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = (kind, content)
        else:
            rows.append((name, kind, 1, len(content), plain(content)))
    for name, inner in below.items():
        id, count, size = tree(inner)[:3]
        rows.append((name + b"/", DIRECTORY, count, size, id))
    return build("tree", rows)


def folder(top):
    files = {}
    for here, directories, names in os.walk(os.fsencode(top)):
        links = [name for name in directories if os.path.islink(os.path.join(here, name))]
        for name in names + links:
            path = os.path.join(here, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found = SYMLINK, os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found = EXECUTABLE if mode & 0o100 else FILE, file.read()
            files[os.path.relpath(path, os.fsencode(top))] = found
    return files


def flat(count, width=0, at_least=0):
    """Files `file-0000000`, …, padded with `x` to `width` bytes, each holding its own name; of those whose boundary
    hash is at least `at_least`: names that an adversary would choose, since no cut falls between them."""
    names, n = [], 0
    while len(names) < count:
        name = f"file-{n:07}".ljust(width, "x").encode()
        names += [name] if xxh3(name, seed=0x9E3779B97F4A7C15) >= at_least else []
        n += 1
    return {name: (FILE, name) for name in names}


# Datums. A member is a dictionary: input, mount, and unless it is absent path, kind, id and perhaps join_key.

def member_path(member):
    if "path" not in member:
        return None
    path = member["path"].encode()
    return path + b"/" if member["kind"] == DIRECTORY and path else path


def in_order(members):
    return sorted(members, key=lambda m: (m["input"].encode(), member_path(m) is None, member_path(m) or b""))


def datum_key(members):
    key = b""
    for member in in_order(members):
        name, path = member["input"].encode(), member_path(member)
        key += u8(len(name)) + name + (struct.pack(">H", len(path)) + path if path is not None else b"\xff\xff")
    return key


def datum_hash(spec_digest, members):
    data = spec_digest + u32(len(members))
    for member in in_order(members):
        path = member_path(member)
        data += string(member["mount"])
        if path is None:
            data += u32(0xFFFFFFFF) + u8(0) + bytes(32) + u8(0)
        else:
            data += u32(len(path)) + path + u8(member["kind"]) + bytes.fromhex(member["id"])
            data += option(member.get("join_key"), string)
    return h("datum", data)


def rfc8785(value):  # for objects whose keys are ASCII and whose numbers are integers
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def spec_digest(spec):
    def texts(strings): return many(strings, string)
    def source(s):
        tag, values = {"literal": (0, ["value"]), "secret": (1, ["name", "key"]), "configMap": (2, ["content"]),
                       "field": (3, ["path"])}[s["from"]]
        return u8(tag) + b"".join(string(s[value]) for value in values)
    def all_of(s):
        return u8(1) + string(s["name"]) + string("") if s["from"] == "secret" else u8(2) + string(rfc8785(s["data"]))
    def by_bytes(items): return sorted(items, key=lambda item: (item[0] if isinstance(item, tuple) else item).encode())
    data = string(spec["imageConfigDigest"])
    data += option(spec.get("command"), texts) + option(spec.get("args"), texts)
    data += option(spec.get("workingDir"), string)
    data += many(spec["env"], lambda e: string(e["name"]) + source(e["source"]))
    data += many(spec["envFrom"], lambda e: string(e["prefix"]) + all_of(e))
    data += many(by_bytes(spec["configMaps"].items()), lambda m: string(m[0]) + many(
        by_bytes(m[1].items()), lambda k: string(k[0]) + plain(k[1].encode())))
    data += many(by_bytes(spec["secrets"].items()), lambda m: string(m[0]) + string(m[1]["name"]) + texts(
        by_bytes(m[1]["keys"])))
    data += many(sorted(spec["acceptExitCodes"]), lambda code: struct.pack("<i", code))
    data += many(by_bytes(spec["inputs"].items()), lambda i: string(i[0]) + string(i[1]["mount"]) + string(i[1]["mode"]))
    return h("spec", data)


# Commits, reflog, locations, packs.

def uuid_bytes(text): return bytes.fromhex(text.replace("-", ""))


def commit_uid(milliseconds, owner):
    raw = bytearray(milliseconds.to_bytes(6, "big") + plain(owner.encode())[:10])
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def reflog_text(entry):
    lines = ["varve-reflog 1"]
    lines += [f"{key} {entry[key]}" for key in "repo branch seq commit seal record time previous".split()]
    return "".join(line + "\n" for line in lines + (["deleted true"] if entry.get("deleted") else []))


def location(at):
    if at["tag"] == 1:
        data = u8(1) + u8(at["area"]) + uuid_bytes(at["pack"]) + u64(at["offset"]) + u32(at["frames"])
        return data + u64(at["stored"]) + u32(at["skip"]) + u8(at["form"])
    return u8(5) if at["tag"] == 5 else u8(at["tag"]) + u32(len(at["bytes"]) // 2) + bytes.fromhex(at["bytes"])


def read_pack(data):
    """Checks a pack's framing; returns its id, its frames as (codec, plain length, stored bytes), its chunks."""
    magic, version, cipher, key, pack = struct.unpack("<8sIB16s16s", data[:45])
    length, checksum, end = struct.unpack("<IQ8s", data[-20:])
    assert magic == end == b"VARVEPK1" and (version, cipher, key) == (1, 0, bytes(16)), "not a pack of format 1"
    footer = data[-20 - length:-20]
    assert xxh3(footer) == checksum and footer[0] == 1, "the footer is corrupt"
    count, at, offset, frames = struct.unpack("<I", footer[1:5])[0], 5, 45, []
    for _ in range(count):
        head, at = footer[at:at + 9], at + 9
        codec, stored, size = struct.unpack("<BII", head)
        frame, found = data[offset:offset + 9 + stored], data[offset + 9 + stored:offset + 17 + stored]
        assert frame[:9] == head and codec in (0, 1), f"the frame at {offset} is not the one listed"
        assert 1 <= stored <= 2**20 and 1 <= size <= 2**20 and (codec or stored == size), f"lengths at {offset}"
        assert u64(xxh3(pack + u64(offset) + frame)) == found, f"the frame at {offset} is corrupt"
        frames.append((codec, size, frame[9:]))
        offset += 17 + stored
    assert offset == len(data) - 20 - length, "bytes between the last frame and the footer"
    count, chunks = struct.unpack("<I", footer[at:at + 4])[0], footer[at + 4:]
    assert len(chunks) == 40 * count, "the footer's length"
    chunks = [struct.unpack("<II32s", chunks[i:i + 40]) for i in range(0, len(chunks), 40)]
    for first, number, id in chunks:
        mine = frames[first:first + number]
        assert len(mine) == number > 0, "a chunk beyond the frames"
        if all(codec == 0 for codec, _, _ in mine):
            assert plain(b"".join(stored for _, _, stored in mine)) == id, "a chunk's hash"
    return pack.hex(), frames, chunks


# The vectors: `given` and what must come of it.

def content(file):
    data = bytes.fromhex(file["hex"]) if "hex" in file else file["text"].encode()
    return file.get("kind", FILE), data


def files_of(given):
    if "flat" in given:
        return flat(given["flat"], given.get("width", 0), int(given.get("hashAtLeast", "0"), 16))
    return {path.encode(): content(file) for path, file in given["files"].items()}


def map_rows(given):
    entries = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in given.get("entries", [])]
    width = given.get("width", 0)
    entries += [(f"key-{n:07}".ljust(width, "k").encode(), str(n).encode()) for n in range(given.get("count", 0))]
    return [(key, VALUE, 0, len(value), h("value", value)) for key, value in entries]


def shape(built):
    return dict(zip(("id", "files", "bytes", "nodes", "levels"), (built[0].hex(), *built[1:])))


def reflog(entry):
    text = reflog_text(entry)
    id = h("reflog", text.encode()).hex()
    return {"text": text, "hash": id, "key": f"v1/reflog/{entry['repo']}/{entry['branch']}/{entry['seq']:020}-{id[:16]}"}


def pack(given):
    id, frames, chunks = read_pack(bytes.fromhex(given["hex"]))
    frames = [{"codec": codec, "plain": size, "stored": stored.hex()} for codec, size, stored in frames]
    return {"pack": id, "frames": frames, "chunks": [[first, number, hash.hex()] for first, number, hash in chunks]}


COMPUTE = {
    "trees": lambda given: shape(tree(files_of(given))),
    "maps": lambda given: shape(build(given["kind"], map_rows(given))),
    "datums": lambda given: {"key": datum_key(given["members"]).hex(),
                             "hash": datum_hash(bytes.fromhex(given["specDigest"]), given["members"]).hex()},
    "datum-rows": lambda given: (u8(1) + bytes.fromhex(given["hash"]) + u8(given["state"])
                                 + bytes.fromhex(given["output"])).hex(),
    "specs": lambda given: spec_digest(given).hex(),
    "seals": lambda given: h("commit", bytes.fromhex(given["identity"])).hex(),
    "commit-specs": lambda given: h("commit spec", rfc8785(given).encode()).hex(),
    "commit-uids": lambda given: commit_uid(given["milliseconds"], given["owner"]),
    "reflog": reflog,
    "locations": lambda given: location(given).hex(),
    "packs": pack,
}


def check(paths):
    count = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            vectors = json.load(file)
        for vector in vectors["vectors"]:
            found = COMPUTE[vectors["about"]](vector["given"])
            assert found == vector["then"], f"{path}: {vector['name']}: found {found}"
            count += 1
    print(f"{count} vectors hold")


if __name__ == "__main__":
    command, arguments = sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]
    if command == "tree":
        print(json.dumps(shape(tree(folder(arguments[0])))))
    elif command == "flat":
        print(json.dumps(shape(tree(flat(*map(int, arguments))))))
    elif command == "pack":
        with open(arguments[0], "rb") as file:
            id, frames, chunks = read_pack(file.read())
        print(f"pack {id}: {len(frames)} frames and {len(chunks)} chunks hold")
    elif command == "check":
        check(arguments)
    else:
        sys.exit(__doc__ + "\nUsage: varve_ids.py tree FOLDER | flat COUNT [WIDTH] | pack FILE | check VECTORS…")
