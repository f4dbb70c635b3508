"""Writers of small CZI, ND2 and LIF files with known pixels, for tests.

CZI is written by Zeiss's library. For ND2 and LIF there is no writer; these follow the
layouts that the libraries reading them describe.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pylibCZIrw.czi import create_czi

__all__ = ["add_to_czi", "write_czi", "write_lif", "write_nd2"]

Pixels = NDArray[Any]
_CZI_METADATA = 92
"""Offset of the metadata's position in the header of a CZI file."""


def write_czi(
    path: Path,
    scenes: Sequence[Pixels],
    names: Sequence[str] = (),
    pixel_um: float | None = None,
    z_um: float | None = None,
    tiles: int = 1,
    compression: str = "uncompressed:",
) -> None:
    """Write scenes of axes TCZYX, or TCZYXS, each cut into tiles side by side."""
    with create_czi(str(path), compression_options=compression) as czi:
        for scene, pixels in enumerate(scenes):
            for t, c, z in np.ndindex(pixels.shape[:3]):
                left = 1000 * scene
                for tile in np.array_split(pixels[t, c, z], tiles, axis=1):
                    stored = tile[..., ::-1] if tile.ndim == 3 else tile
                    plane = {"T": t, "C": c, "Z": z}
                    czi.write(np.ascontiguousarray(stored), (left, 50), plane, scene=scene)
                    left += tile.shape[1]
        czi.write_metadata(
            channel_names=dict(enumerate(names)),
            scale_x=pixel_um and pixel_um * 1e-6,
            scale_y=pixel_um and pixel_um * 1e-6,
            scale_z=z_um and z_um * 1e-6,
        )


def add_to_czi(path: Path, *parts: str) -> None:
    """Replace parts of a CZI file's metadata, which the library cannot write in full."""
    content = bytearray(path.read_bytes())
    (position,) = struct.unpack_from("<q", content, _CZI_METADATA)
    (size,) = struct.unpack_from("<i", content, position + 32)
    xml = ElementTree.fromstring(content[position + 288 : position + 288 + size])
    metadata = xml.find("Metadata")
    assert metadata is not None
    for part in map(ElementTree.fromstring, parts):
        for old in metadata.findall(part.tag):
            metadata.remove(old)
        metadata.append(part)
    text = ElementTree.tostring(xml, "utf-8")
    # A new segment at the end of the file: ID, allocated and used bytes, size of the XML.
    content += bytes(-len(content) % 32)
    struct.pack_into("<q", content, _CZI_METADATA, len(content))
    content += b"ZISRAWMETADATA".ljust(16, b"\0")
    content += struct.pack("<qqii", 256 + len(text), 256 + len(text), len(text), 0).ljust(
        272, b"\0"
    )
    path.write_bytes(content + text)


# LIF: XML in UTF-16, then blocks of bytes with their names

_LIF_TEST = 0x2A


def write_lif(
    path: Path,
    images: Sequence[tuple[str, Pixels]],
    names: Sequence[str] = (),
    steps: dict[str, float] | None = None,
    row_padding: int = 0,
    blue_first: bool = False,
    hardware: str | None = None,
) -> None:
    """Write images, each with its axes in the order of the file: last changes fastest.

    Steps are in meters and seconds. M stands for the tiles of a mosaic, L for a loop.
    """
    root = ElementTree.Element("LMSDataContainerHeader", Version="2")
    folder = ElementTree.SubElement(root, "Element", Name="experiment", UniqueID="0")
    children = ElementTree.SubElement(folder, "Children")
    blocks = []
    for number, (axes, pixels) in enumerate(images):
        if blue_first:
            pixels = pixels[..., ::-1]
        padding = [(0, row_padding if letter == "X" else 0) for letter in axes]
        stored = np.pad(pixels, padding)
        element = ElementTree.SubElement(children, "Element", Name=f"image {number}")
        data = ElementTree.SubElement(element, "Data")
        image = ElementTree.SubElement(data, "Image")
        description = ElementTree.SubElement(image, "ImageDescription")
        strides = dict(zip(axes, stored.strides, strict=True))
        lengths = dict(zip(axes, pixels.shape, strict=True))
        _lif_channels(description, lengths, strides, pixels.dtype, names, blue_first)
        _lif_dimensions(description, lengths, strides, steps or {})
        if hardware is not None:
            image.append(ElementTree.fromstring(hardware))
        block = f"MemBlock_{number}"
        ElementTree.SubElement(element, "Memory", Size=str(stored.nbytes), MemoryBlockID=block)
        blocks.append((block, stored.tobytes()))
    text = ElementTree.tostring(root, "unicode")
    with path.open("wb") as file:
        file.write(struct.pack("<IIBI", 0x70, 5 + 2 * len(text), _LIF_TEST, len(text)))
        file.write(text.encode("utf-16-le"))
        for name, content in blocks:
            head = (0x70, 14 + 2 * len(name), _LIF_TEST, len(content), _LIF_TEST, len(name))
            file.write(struct.pack("<IIBQBI", *head) + name.encode("utf-16-le") + content)


def _lif_channels(
    description: ElementTree.Element,
    lengths: dict[str, int],
    strides: dict[str, int],
    dtype: np.dtype[Any],
    names: Sequence[str],
    blue_first: bool,
) -> None:
    channels = ElementTree.SubElement(description, "Channels")
    letter = "S" if "S" in lengths else "C"
    for number in range(lengths.get(letter, 1)):
        tag = 0 if letter == "C" else 3 - number if blue_first else 1 + number
        channel = ElementTree.SubElement(
            channels,
            "ChannelDescription",
            DataType="1" if dtype.kind == "f" else "0",
            ChannelTag=str(tag),
            Resolution=str(8 * dtype.itemsize),
            NameOfMeasuredQuantity="",
            Min="0",
            Max="255",
            Unit="",
            LUTName="Gray",
            IsLUTInverted="0",
            BytesInc=str(number * strides.get(letter, 0)),
            BitInc="0",
        )
        for name in names[number : number + 1]:
            told = ElementTree.SubElement(channel, "ChannelProperty")
            ElementTree.SubElement(told, "Key").text = "DyeName"
            ElementTree.SubElement(told, "Value").text = name


def _lif_dimensions(
    description: ElementTree.Element,
    lengths: dict[str, int],
    strides: dict[str, int],
    steps: dict[str, float],
) -> None:
    dimensions = ElementTree.SubElement(description, "Dimensions")
    for letter in sorted(lengths.keys() - set("CS"), key="XYZTML".index):
        ElementTree.SubElement(
            dimensions,
            "DimensionDescription",
            DimID=str({"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10, "L": 11}[letter]),
            NumberOfElements=str(lengths[letter]),
            Origin="0",
            Length=repr(steps.get(letter, 0.0) * (lengths[letter] - 1)),
            Unit="s" if letter == "T" else "m",
            BytesInc=str(strides[letter]),
            BitInc="0",
        )


# ND2: chunks with names, a map of them at the end, metadata as typed records

_ND2_MAGIC = 0x0ABECEDA
_ND2_HEADER = 4072
"""Bytes of a name, with which the pixels of a chunk begin at a page of 4096."""


def write_nd2(
    path: Path,
    axes: str,
    pixels: Pixels,
    names: Sequence[str] = (),
    pixel_um: float | None = None,
    steps: dict[str, float] | None = None,
    compressed: bool = False,
    optics: dict[str, Any] | None = None,
    text: str | None = None,
) -> None:
    """Write pixels whose last axes are CYX, or YXS; the steps are in um and seconds.

    P stands for positions.
    """
    loops = axes[:-3]
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    if axes.endswith("CYX"):
        frames = frames.transpose(0, 2, 3, 1)
    frames = np.ascontiguousarray(frames)
    colors = axes.endswith("S")
    chunks = {
        "ImageAttributesLV!": _record("SLxImageAttributes", _attributes(frames, compressed)),
        "ImageMetadataSeqLV|0!": _record(
            "SLxPictureMetadata",
            _picture(names or ["mono"], 3 if colors else 1, pixel_um) | (optics or {}),
        ),
    }
    if text is not None:
        chunks["ImageTextInfoLV!"] = _record("SLxImageTextInfo", {"TextInfoItem_6": text})
    if loops:
        lengths = pixels.shape[: len(loops)]
        experiment = _experiment(loops, lengths, steps or {})
        chunks["ImageMetadataLV!"] = _record("SLxExperiment", experiment)
    for number, frame in enumerate(frames):
        content = zlib.compress(frame.tobytes()) if compressed else frame.tobytes()
        chunks[f"ImageDataSeq|{number}!"] = bytes(8) + content
    with path.open("wb") as file:
        file.write(_chunk("ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32))
        chunk_map = b""
        for name, content in chunks.items():
            chunk_map += name.encode() + struct.pack("<QQ", file.tell(), len(content))
            file.write(_chunk(name, content, _ND2_HEADER))
        chunk_map += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", file.tell())
        file.write(_chunk("ND2 FILEMAP SIGNATURE NAME 0001!", chunk_map, 32))


def _chunk(name: str, content: bytes, name_length: int) -> bytes:
    header = struct.pack("<IIQ", _ND2_MAGIC, name_length, len(content))
    return header + name.encode().ljust(name_length, b"\0") + content


def _record(name: str, value: Any) -> bytes:
    """A value with its type and name; a level of values ends with a table, left empty."""
    named = bytes([len(name) + 1]) + (name + "\0").encode("utf-16-le")
    match value:
        case bool():
            return b"\1" + named + struct.pack("<B", value)
        case int():
            return b"\3" + named + struct.pack("<I", value)
        case float():
            return b"\6" + named + struct.pack("<d", value)
        case str():
            return b"\x08" + named + (value + "\0").encode("utf-16-le")
    items = b"".join(_record(key, item) for key, item in value.items())
    length = 1 + len(named) + 12 + len(items)
    return b"\x0b" + named + struct.pack("<IQ", len(value), length) + items + bytes(8 * len(value))


def _attributes(frames: Pixels, compressed: bool) -> dict[str, Any]:
    count, height, width, components = frames.shape
    return {
        "uiWidth": width,
        "uiWidthBytes": width * components * frames.itemsize,
        "uiHeight": height,
        "uiComp": components,
        "uiBpcInMemory": 8 * frames.itemsize,
        "uiBpcSignificant": 8 * frames.itemsize,
        "uiSequenceCount": count,
        "eCompression": 0 if compressed else 2,
    }


def _picture(names: Sequence[str], components: int, pixel_um: float | None) -> dict[str, Any]:
    planes = {
        f"a{number}": {
            "sDescription": name,
            "uiCompCount": components,
            "uiSampleIndex": 0,
            "uiModalityMask": 1,
            "pFluorescentProbe": {"m_sName": name},
        }
        for number, name in enumerate(names)
    }
    return {
        "bCalibrated": pixel_um is not None,
        "dCalibration": pixel_um or 1.0,
        "sPicturePlanes": {"uiCount": len(planes), "sPlaneNew": planes},
    }


def _experiment(loops: str, lengths: Sequence[int], steps: dict[str, float]) -> dict[str, Any]:
    """Nested loops, the outermost first."""
    letter, count = loops[0], lengths[0]
    step = steps.get(letter, 0.0)
    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "T": (1, {"dStart": 0.0, "dPeriod": step * 1e3, "dDuration": 0.0}),
        "P": (2, {"bUseZ": False, "Points": _points(count)}),
        "Z": (4, {"dZStep": step, "iType": 0}),
    }
    kind, parameters = kinds[letter]
    experiment: dict[str, Any] = {"eType": kind, "uLoopPars": {"uiCount": count, **parameters}}
    if loops[1:]:
        experiment["ppNextLevelEx"] = {"i0000000000": _experiment(loops[1:], lengths[1:], steps)}
    return experiment


def _points(count: int) -> dict[str, Any]:
    return {f"i{number:010}": {"dPosX": 0.0, "dPosY": 0.0} for number in range(count)}
