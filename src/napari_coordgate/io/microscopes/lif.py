"""Leica LIF files.

The pixels of an image are one uncompressed block; the file's XML states the stride in bytes of
each axis and channel. liffile finds the block, but we index it ourselves: liffile 2026.2 loads
whole frames (36 windows of 288 x 288 pixels of an 8192 x 8192 plane take 6 s instead of 0.02 s),
refuses blocks with padded rows, and takes interleaved channels for colors.
"""

import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import AxisIndex, FileSnapshot, PlaneStackArray, bounds, mute_logger
from napari_coordgate.io.metadata import ImageMetadata, micrometers, seconds
from napari_coordgate.io.optical_metadata import Found, OpticalMetadata, stated_optics
from napari_coordgate.io.scenes import Content, Scene
from napari_coordgate.opening import regular

_COLORS = MappingProxyType(
    {
        "Red": "FF0000",
        "Green": "00FF00",
        "Blue": "0000FF",
        "Cyan": "00FFFF",
        "Magenta": "FF00FF",
        "Yellow": "FFFF00",
        "Gray": "FFFFFF",
    }
)
"""Display colors by Leica's names."""
_MAGIC = b"\x70\0\0\0"
_TILE_AXIS = "M"
_LETTERS = {1: "X", 2: "Y", 3: "Z", 4: "T", 10: _TILE_AXIS}
"""Axes by Leica's number."""
_DESCRIPTION = "./Data/Image/ImageDescription"


def lif_scenes(path: Path) -> list[Scene]:
    """Images of a file, and the tiles of mosaics; ImageError if there is none."""
    from liffile import LifFile

    mute_logger("liffile")
    snapshot = FileSnapshot(path)
    with open(path, "rb", opener=regular) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it has no LIF header")
        file.seek(0)
        # Given a path instead of an open file, the library would open files that it refers to.
        images = [image for image in LifFile(file).images if not image.is_flim]
        if not images:
            raise ImageError(f"{path} has no image; export one as TIFF.")
        found: list[Scene] = []
        for image in images:
            description, offset = image.xml_element, image.memory_block.offset
            tiles = _tiles(description)
            if tiles.length > snapshot.size:
                raise ValueError("it has more tiles than bytes")
            for tile in range(tiles.length):
                name = image.name if tiles.length == 1 else f"{image.name} tile {tile}"
                start = offset + tile * tiles.stride
                read = partial(_read_image, snapshot, description, start, tile)
                found.append(Scene(name, read, path))
        return found


def _tiles(description: ElementTree.Element) -> "_Axis":
    """Axis of the tiles of a mosaic, of length 1 if it is none."""
    for dimension in description.findall(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        if _LETTERS.get(int(dimension.attrib["DimID"])) == _TILE_AXIS:
            return _Axis(
                int(dimension.attrib["NumberOfElements"]), int(dimension.attrib["BytesInc"])
            )
    return _Axis(1, 0)


def _read_image(
    snapshot: FileSnapshot, description: ElementTree.Element, start: int, tile: int
) -> Content:
    """Read the image, or tile of one, that starts at a byte: lazy pixels, axes and metadata.

    Axes of length 1 are dropped. ImageError if it has axes other than TCZYX.
    """
    path = snapshot.path
    channels = _channels(description)
    axes = _dimensions(description, path)
    axes["S" if _are_colors(channels) else "C"] = _channel_axis(channels, path)
    letters = "".join(
        letter
        for letter in "TCZYXS"
        if letter in axes and (letter in "YX" or axes[letter].length > 1)
    )
    data = _StridedArray(
        snapshot,
        start + int(channels[0].attrib["BytesInc"]),
        [axes[letter] for letter in letters],
        _dtype(channels, path),
        letters.find("Y"),
    )
    step = {letter: axis.step for letter, axis in axes.items()}
    pixel_size = step.get("Y"), step.get("X")
    metadata = ImageMetadata.sanitized(
        pixel_size,
        step.get("Z"),
        step.get("T"),
        _channel_names(channels),
        _optics(description).completed_by(_stage(description, tile)),
        [_COLORS.get(channel.get("LUTName", ""), "") for channel in channels],
    )
    return data, letters, metadata


class _Axis(NamedTuple):
    """Length of an axis, its stride in bytes, and the physical step between elements."""

    length: int
    stride: int
    step: float | None = None


class _StridedArray(PlaneStackArray):
    """Array in a file with any strides; the first ``stack_ndim`` axes are loaded one by one."""

    def __init__(
        self,
        file: FileSnapshot,
        offset: int,
        axes: Sequence[_Axis],
        dtype: np.dtype[Any],
        stack_ndim: int,
    ) -> None:
        shape = tuple(axis.length for axis in axes)
        super().__init__(file.path, shape, dtype, range(stack_ndim))
        self._file = file
        self._offset = offset
        self._strides = [axis.stride for axis in axes]
        first, end = self._byte_range([range(length) for length in shape])
        if first < 0 or end > file.size:
            raise ValueError("the file ends before the end of its pixels")

    def _byte_range(self, indices: Sequence[AxisIndex]) -> tuple[int, int]:
        """First byte of the indexed elements, and the one after their last."""
        ends = [
            sorted(element * stride for element in (bounds(item)[0], bounds(item)[1] - 1))
            for item, stride in zip(indices, self._strides, strict=True)
        ]
        first, last = (self._offset + sum(offsets) for offsets in zip(*ends, strict=True))
        return first, last + self.dtype.itemsize

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        first, end = self._byte_range(indices)
        buffer = self._file.read([first], end - first)
        ranges = [range(item, item + 1) if isinstance(item, int) else item for item in indices]
        begin = self._offset - first
        begin += sum(r[0] * stride for r, stride in zip(ranges, self._strides, strict=True))
        pixels: NDArray[Any] = np.ndarray(
            [len(r) for r in ranges],
            self.dtype,
            buffer,
            begin,
            [r.step * stride for r, stride in zip(ranges, self._strides, strict=True)],
        )
        return pixels[tuple(0 if isinstance(item, int) else slice(None) for item in indices)]


def _dimensions(description: ElementTree.Element, path: Path) -> dict[str, _Axis]:
    """Axes of an image by letter, without channels and tiles."""
    axes = {}
    for dimension in description.findall(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        attributes = dimension.attrib
        length, stride = int(attributes["NumberOfElements"]), int(attributes["BytesInc"])
        letter = _LETTERS.get(int(attributes["DimID"]))
        if letter is None and length > 1:
            raise ImageError(
                f"{path} has an axis other than T, C, Z and tiles (Leica's number "
                f"{attributes['DimID']}); export it as a plain stack first."
            )
        if length < 1 or (stride < 1 and length > 1):
            raise ValueError("an axis has no length")
        if letter is not None and letter != _TILE_AXIS:
            convert = seconds if letter == "T" else micrometers
            total = convert(attributes["Length"], attributes["Unit"])
            # The length is the distance from the first element to the last.
            step = None if total is None or length == 1 else total / (length - 1)
            axes[letter] = _Axis(length, stride, step)
    return axes


def _channels(description: ElementTree.Element) -> list[ElementTree.Element]:
    """Channels in the order of the file, but colors as red, green and blue."""
    channels = description.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    return sorted(channels, key=_color) if _are_colors(channels) else channels


def _are_colors(channels: list[ElementTree.Element]) -> bool:
    """Whether the channels are the three samples of a color image."""
    return sorted(map(_color, channels)) == [1, 2, 3]


def _color(channel: ElementTree.Element) -> int:
    """0 is gray; 1, 2 and 3 are red, green and blue."""
    return int(channel.attrib["ChannelTag"])


def _channel_axis(channels: list[ElementTree.Element], path: Path) -> _Axis:
    """Axis of the channels or color samples."""
    offsets = [int(channel.attrib["BytesInc"]) for channel in channels]
    strides = {after - before for before, after in itertools.pairwise(offsets)} or {0}
    if len(strides) > 1 or (strides == {0} and len(offsets) > 1):
        raise ImageError(f"{path} has channels at uneven offsets; export it as TIFF.")
    return _Axis(len(offsets), strides.pop())


def _dtype(channels: list[ElementTree.Element], path: Path) -> np.dtype[Any]:
    """Type of the pixels, the same for all channels."""
    types = set()
    for channel in channels:
        bits = max(8, 1 << (int(channel.attrib["Resolution"]) - 1).bit_length())
        types.add(f"<{'f' if channel.attrib['DataType'] == '1' else 'u'}{bits // 8}")
    if len(types) != 1:
        raise ImageError(f"{path} has channels of different types; export them one by one.")
    return np.dtype(types.pop())


def _channel_names(channels: list[ElementTree.Element]) -> tuple[str, ...]:
    """Name of each channel: its dye if the file states it, else its display color."""
    names = []
    for channel in channels:
        properties = {
            item.findtext("Key"): item.findtext("Value")
            for item in channel.findall("ChannelProperty")
        }
        names.append(properties.get("DyeName") or channel.get("LUTName") or "")
    return tuple(names)


def _optics(description: ElementTree.Element) -> OpticalMetadata:
    """Optics and camera: in the hardware settings of LAS X, or in the records of LAS AF."""
    settings = [
        element
        for kind in ("Camera", "Confocal")
        for element in description.iter(f"ATL{kind}SettingDefinition")
    ]
    stated = settings[0].attrib if settings else {}
    kind = settings[0].tag if settings else ""
    records = {
        record.get("Attribute", ""): record.get("Variant")
        for record in description.iter("FilterSettingRecord")
    }
    cameras = description.findall(".//WideFieldChannelConfigurator[@CameraName]")
    channels = list(description.iter("WideFieldChannelInfo"))
    optics = stated_optics(
        na=(stated.get("NumericalAperture"), f"LIF {kind} NumericalAperture"),
        refractive_index=(stated.get("RefractionIndex"), f"LIF {kind} RefractionIndex"),
        objective=(stated.get("ObjectiveName"), f"LIF {kind} ObjectiveName"),
        magnification=(stated.get("Magnification"), f"LIF {kind} Magnification"),
        camera=(
            cameras[0].get("CameraName") if cameras else None,
            "LIF WideFieldChannelConfigurator CameraName",
        ),
        exposures_s=[_exposure(channel.get("ExposureTime", "")) for channel in channels],
        wavelengths_nm=[
            (channel.get("EmissionWavelength"), "LIF WideFieldChannelInfo EmissionWavelength")
            for channel in channels
        ],
        excitations_nm=[
            (channel.get("ExcitationWavelength"), "LIF WideFieldChannelInfo ExcitationWavelength")
            for channel in channels
        ],
        acquired=(_acquired(description), "LIF TimeStampList"),
    )
    return optics.completed_by(
        stated_optics(
            na=(records.get("NumericalAperture"), "LIF FilterSettingRecord NumericalAperture"),
            refractive_index=(
                records.get("RefractionIndex"),
                "LIF FilterSettingRecord RefractionIndex",
            ),
            objective=(records.get("Objective"), "LIF FilterSettingRecord Objective"),
        )
    )


def _stage(description: ElementTree.Element, tile: int) -> OpticalMetadata:
    """Place of the stage of a tile, or of an image, which Leica states in m."""
    tiles = description.findall("./Data/Image/Attachment[@Name='TileScanInfo']/Tile")
    if tile < len(tiles):
        place, source, prefix = tiles[tile].attrib, "LIF TileScanInfo", "Pos"
    else:
        settings = description.iter("ATLCameraSettingDefinition")
        found = next(settings, None) or next(description.iter("ATLConfocalSettingDefinition"), None)
        place = {} if found is None else found.attrib
        source, prefix = "LIF hardware settings", "StagePos"
    return stated_optics(
        stage_x_um=(micrometers(place.get(f"{prefix}X"), "m"), source),
        stage_y_um=(micrometers(place.get(f"{prefix}Y"), "m"), source),
    )


def _acquired(description: ElementTree.Element) -> str | None:
    """Date of the first frame, which Leica counts in 100 ns since 1601."""
    stamps = description.find("./Data/Image/TimeStampList")
    if stamps is None:
        return None
    first, words = stamps.find("TimeStamp"), (stamps.text or "").split()
    try:
        if first is not None:
            ticks = (int(first.attrib["HighInteger"]) << 32) + int(first.attrib["LowInteger"])
        else:
            ticks = int(words[0], 16)
        date = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks / 10)
    except (LookupError, ValueError, OverflowError):
        return None
    return date.isoformat(timespec="milliseconds") if ticks else None


def _exposure(text: str) -> Found:
    """Exposure of a channel, in ms or s."""
    found = re.fullmatch(r"([\d.]+) *(ms|s|)", text)
    source = "LIF WideFieldChannelInfo ExposureTime"
    return found and seconds(found[1], found[2] or "s"), source
