"""Mutations that corrupt files, with and without knowledge of the file format.

A document is a file or a folder of files: contents by name. Mutations depend on a random generator
alone, so that an input can be reproduced from its number.
"""

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import yaml

Document = Mapping[str, bytes]
Operator = Callable[[random.Random, bytes], bytes]

_INTEGERS = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1),
    *(2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
_NUMBERS = (
    *("0", "-1", "1", "7", "65537", "300000000", "4294967296"),
    *("1000000000000", "9223372036854775808", "1e308", "1e999", "-0.0", "1e-320"),
    *("NaN", "Infinity", "9" * 5000),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 1e308, 2**31, 2**40, 2**63, 10**400, float("nan"), float("inf")),
    *("", "x", "\0", "../../etc/passwd", "x" * 5000, [], {}, [[]]),
)


def corrupt(rng: random.Random, documents: Sequence[Document]) -> dict[str, bytes]:
    """Return one of the documents with one or a few mutations."""
    document = dict(rng.choice(documents))
    other = rng.choice(documents)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        name = rng.choice(sorted(document))
        if len(document) > 1 and rng.random() < 0.05:
            del document[name]
        elif len(document) > 1 and rng.random() < 0.05:
            document[name] = document[rng.choice(sorted(document))]
        elif name in other and rng.random() < 0.05:
            document[name] = _spliced(rng, document[name], other[name])
        else:
            document[name] = rng.choice(_operators(name))(rng, document[name])
    return document


def _operators(name: str) -> Sequence[Operator]:
    """Return the mutations of a file; format-aware ones are as likely as the generic ones."""
    aware = next((ways for end, ways in _FORMAT_AWARE.items() if name.endswith(end)), ())
    return (*_GENERIC, *(aware * (len(_GENERIC) // len(aware) if aware else 0)))


# Generic


def _part(rng: random.Random, content: bytes, longest: int = 4096) -> tuple[int, int]:
    """Return the start and end of a random part of the content."""
    begin = rng.randrange(len(content) + 1)
    length = min(int(rng.expovariate(1 / 32)), longest)
    return begin, min(begin + length, len(content))


def _flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if changed else 0):
        # Headers are at the start, and sometimes at the end.
        reach = rng.choice((len(changed), min(len(changed), 64), min(len(changed), 512)))
        position = rng.randrange(reach)
        changed[position if rng.random() < 0.8 else -1 - position] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _drop(rng: random.Random, content: bytes) -> bytes:
    begin, end = _part(rng, content)
    return content[:begin] + content[end:]


def _repeat(rng: random.Random, content: bytes) -> bytes:
    begin, end = _part(rng, content, 256)
    return content[:end] + content[begin:end] * rng.choice((1, 1, 2, 1000)) + content[end:]


def _insert(rng: random.Random, content: bytes) -> bytes:
    position = rng.randrange(len(content) + 1)
    return content[:position] + rng.randbytes(rng.randint(1, 64)) + content[position:]


def _swap(rng: random.Random, content: bytes) -> bytes:
    (a, b), (c, d) = sorted((_part(rng, content), _part(rng, content)))
    b = min(b, c)
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _integer(rng: random.Random, size: int, order: Literal["little", "big"]) -> bytes:
    return (rng.choice(_INTEGERS) % (1 << 8 * size)).to_bytes(size, order)


def _set_integer(rng: random.Random, content: bytes) -> bytes:
    value = _integer(rng, rng.choice((1, 2, 4, 8)), rng.choice(("little", "big")))
    reach = rng.choice((len(content), min(len(content), 512)))
    position = rng.randrange(reach + 1)
    return content[:position] + value + content[position + len(value) :]


def _set_number(rng: random.Random, content: bytes) -> bytes:
    """Replace a decimal number, in UTF-8 or UTF-16."""
    numbers = list(re.finditer(rb"\d+(\.\d+)?", content))
    wide = list(re.finditer(rb"(\d\0)+(\.\0(\d\0)+)?", content))
    if not numbers:
        return _flip(rng, content)
    found = rng.choice(wide if wide and rng.random() < 0.8 else numbers)
    number = rng.choice(_NUMBERS).encode("utf-16-le" if found in wide else "ascii")
    if rng.random() < 0.5:  # texts with a stored length must keep it
        width = found.end() - found.start()
        number = number.rjust(width, b"0")[:width]
    return content[: found.start()] + number + content[found.end() :]


def _nest(rng: random.Random, content: bytes) -> bytes:
    begins = [found.end() for found in re.finditer(rb"[:\[,>(] ?", content)]
    position = rng.choice(begins) if begins else rng.randrange(len(content) + 1)
    deep = rng.choice((b"[", b'{"a":', b"<a>", b"- ", b"(")) * rng.choice((50, 2000, 100_000))
    return content[:position] + deep + content[position:]


def _spliced(rng: random.Random, one: bytes, other: bytes) -> bytes:
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


_GENERIC: tuple[Operator, ...] = (
    *(_flip, _set_integer, _set_number) * 3,  # these do not shift the rest of the file
    *(_cut, _drop, _repeat, _insert, _swap, _nest),
)


# Trees of values, as in JSON and YAML


def _corrupted_tree(rng: random.Random, tree: Any) -> Any:
    """Return a copy of a tree with a changed, removed or added value."""
    if isinstance(tree, (dict, list)) and tree and rng.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = rng.choice(keys)
        changed = tree.copy()
        if rng.random() < 0.1:
            del changed[key]
        elif isinstance(changed, dict) and rng.random() < 0.05:
            changed[rng.choice(("", "x", "__class__", str(key) * 2))] = changed[key]
        else:
            changed[key] = _corrupted_tree(rng, changed[key])
        return changed
    if isinstance(tree, str) and rng.random() < 0.3:
        return _flip(rng, tree.encode()).decode(errors="replace")
    if isinstance(tree, (int, float)) and rng.random() < 0.4:
        return type(tree)(rng.choice((tree * 2, -tree, tree + 1, tree * 1_000_003)))
    value = rng.choice(_VALUES)
    many = rng.choice((1, 3, 3 if isinstance(value, str) else 2000))
    return [value] * many if rng.random() < 0.1 else value


def _corrupt_json(rng: random.Random, content: bytes) -> bytes:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):  # it is already corrupted
        return _flip(rng, content)
    return json.dumps(_corrupted_tree(rng, tree)).encode()


def _corrupt_json_line(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    number = rng.randrange(len(lines))
    lines[number] = _corrupt_json(rng, lines[number])
    return b"\n".join(lines)


def _corrupt_yaml(rng: random.Random, content: bytes) -> bytes:
    try:
        tree = None if b"&" in content else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError, RecursionError):
        return _flip(rng, content)
    text: str = yaml.safe_dump(_corrupted_tree(rng, tree))
    return text.encode()


def _add_billion_laughs(rng: random.Random, content: bytes) -> bytes:
    """Add nested aliases: a few lines that expand to billions of values."""
    first, form = rng.choice((("[lol]", "[{}]"), ("{na: 1}", "{{<<: [{}]}}")))
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {form.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 12)]
    return "\n".join(lines).encode() + b"\n" + content


# Files with a header of known layout


def _corrupt_safetensors(rng: random.Random, content: bytes) -> bytes:
    """Change the header or the JSON within it, with a correct length."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
        texts = header.get("__metadata__", {})
        if texts and rng.random() < 0.6:
            name = rng.choice(list(texts))
            texts[name] = json.dumps(_corrupted_tree(rng, json.loads(texts[name])))
        else:
            header = _corrupted_tree(rng, header)
    except (AttributeError, ValueError, RecursionError, struct.error, TypeError):
        return _flip(rng, content)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _corrupt_tag(rng: random.Random, content: bytes) -> bytes:
    """Change the type, count or value of one tag of a little-endian TIFF file."""
    big = content[2:3] == b"+"
    position, width, entry, form = (8, 8, 20, "<Q") if big else (4, 2, 12, "<H")
    try:
        (offset,) = struct.unpack_from("<Q" if big else "<I", content, position)
        (count,) = struct.unpack_from(form, content, offset)
    except struct.error:
        return _flip(rng, content)
    if not 0 < count < 1000:
        return _flip(rng, content)
    at = offset + width + entry * rng.randrange(count)
    field, size = rng.choice(((2, 2), (4, 8), (12, 8)) if big else ((2, 2), (4, 4), (8, 4)))
    value = _integer(rng, size, "little")
    return content[: at + field] + value + content[at + field + size :]


def _corrupt_chunk(rng: random.Random, content: bytes) -> bytes:
    """Change a chunk of a PNG file, with a correct checksum."""
    chunks, position = [], 8
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        chunks.append(
            (content[position + 4 : position + 8], content[position + 8 : position + 8 + length])
        )
        position += 12 + length
    if not chunks:
        return _flip(rng, content)
    number = rng.choice((0, rng.randrange(len(chunks))))
    kind, data = chunks[number]
    chunks[number] = kind, rng.choice((_set_integer, _flip, _repeat, _cut))(rng, data)
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


_FORMAT_AWARE: Mapping[str, tuple[Operator, ...]] = {
    ".json": (_corrupt_json,),
    ".zarray": (_corrupt_json,),
    ".zattrs": (_corrupt_json,),
    ".zgroup": (_corrupt_json,),
    ".jsonl": (_corrupt_json_line,),
    ".yaml": (_corrupt_yaml, _corrupt_yaml, _corrupt_yaml, _add_billion_laughs),
    ".safetensors": (_corrupt_safetensors,),
    ".tif": (_corrupt_tag, _set_number),
    ".png": (_corrupt_chunk,),
    ".npy": (_set_number,),
}
