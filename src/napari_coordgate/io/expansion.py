"""What compressed data expand to, found before they are decoded: a few kB can claim gigabytes."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

MAX_EXCESS = 2**28
"""Bytes beyond its claim to which a tile, strip or chunk may expand."""
MAX_STREAMS = 100
"""Streams one after another in compressed data; each copies the rest of the data."""
_STEP = 2**20
_LZMA_MEMORY = 2**28
_ZSTD_MAGIC, _ZSTD_SKIPPED = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_ZSTD_BLOCK = 2**17
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segments with the size of a JPEG image."""


def check_expansion(codec: str, data: bytes, claimed: int) -> None:
    """Raise ValueError if compressed data expand to far more than the bytes that they claim.

    Data of a codec that is not known here pass.
    """
    limit = claimed + MAX_EXCESS
    if codec in _MAX_RATIOS and len(data) * _MAX_RATIOS[codec] <= limit:
        return
    if codec in _SIZES and _SIZES[codec](data, limit) > limit:
        raise ValueError(f"{len(data)} bytes expand to more than the {claimed} that they claim")


def jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Height, width and number of components of a JPEG image; zeros if none is stated."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            return height, width, components
        at += 2 + length
    return 0, 0, 0


def _zlib_size(data: bytes, limit: int) -> int:
    found = streams = 0
    while data and found <= limit:
        decoder = zlib.decompressobj(wbits=47)  # with the header of zlib or gzip
        try:
            while data and found <= limit and not decoder.eof:
                found += len(decoder.decompress(data, _STEP))
                data = decoder.unconsumed_tail
        except zlib.error:
            if not streams:
                raise
            break  # bytes that fill up the data
        data, streams = _rest(decoder.unused_data, streams)
    return found


def _rest(unused: bytes, streams: int) -> tuple[bytes, int]:
    """Data after a stream, without zeros that fill up the data, and the number of streams."""
    if streams + 1 >= MAX_STREAMS:
        raise ValueError(f"more than {MAX_STREAMS} streams of compressed data in one piece")
    return unused.lstrip(b"\0"), streams + 1


def _streamed_size(
    start: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor],
) -> Callable[[bytes, int], int]:
    def size(data: bytes, limit: int) -> int:
        found = streams = 0
        while data and found <= limit:
            decoder = start()
            try:
                found += len(decoder.decompress(data, _STEP))
                while not (decoder.eof or decoder.needs_input) and found <= limit:
                    found += len(decoder.decompress(b"", _STEP))
            except (lzma.LZMAError, OSError):
                if not streams:
                    raise
                break  # bytes that fill up the data
            data, streams = _rest(decoder.unused_data, streams)
        return found

    return size


def _zstd_size(data: bytes, limit: int) -> int:
    """Size that each frame states, or that its blocks have at most."""
    found, at = 0, 0
    while at + 9 <= len(data) and found <= limit:
        magic, descriptor = struct.unpack_from("<IB", data, at)
        if magic in _ZSTD_SKIPPED:
            at += 8 + int(struct.unpack_from("<I", data, at + 4)[0])
            continue
        if magic != _ZSTD_MAGIC:
            break
        is_single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
        at += 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
        stated = (is_single, 2, 4, 8)[descriptor >> 6]
        size = int.from_bytes(data[at : at + stated], "little") + 256 * (stated == 2)
        at, blocks, is_last = at + stated, 0, False
        while not is_last and at + 3 <= len(data):
            header = int.from_bytes(data[at : at + 3], "little")
            is_last, is_repeated = bool(header & 1), header >> 1 & 3 == 1
            at, blocks = at + 3 + (1 if is_repeated else header >> 3), blocks + 1
        at += 4 * has_checksum
        found += size if stated else blocks * _ZSTD_BLOCK
    return found


def _stated_at(offset: int) -> Callable[[bytes, int], int]:
    return lambda data, _: int.from_bytes(data[offset : offset + 4], "little")


def _jpeg_size(data: bytes, _: int) -> int:
    height, width, components = jpeg_frame(data)
    return height * width * components


_MAX_RATIOS: Mapping[str, int] = MappingProxyType({"zlib": 1032, "gzip": 1032})
"""Largest compression ratio of the codecs that have one; that of LZW and PackBits is harmless."""
_SIZES: Mapping[str, Callable[[bytes, int], int]] = MappingProxyType(
    {
        "zlib": _zlib_size,
        "gzip": _zlib_size,
        "lzma": _streamed_size(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
        "bz2": _streamed_size(bz2.BZ2Decompressor),
        "zstd": _zstd_size,
        "blosc": _stated_at(4),
        "lz4": _stated_at(0),
        "jpeg": _jpeg_size,
    }
)
