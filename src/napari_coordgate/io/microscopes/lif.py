"""LIF files of Leica's microscopes.

A block of bytes holds the pixels of an image, none of them packed. The file's XML tells
for each axis, and for each channel, how many bytes further the next element lies, so that
pixels are read in whatever order their axes stand.
"""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import PixelArray
from napari_coordgate.io.lazy import Part, PlaneStackArray, Source, span
from napari_coordgate.io.metadata import Metadata, micrometers, seconds

__all__ = ["read_lif"]

logging.getLogger("liffile").addHandler(logging.NullHandler())  # what matters, we raise

_MAGIC = b"\x70\0\0\0"
_TILES = "M"
_LETTERS = {1: "X", 2: "Y", 3: "Z", 4: "T", 10: _TILES}  # by Leica's number of an axis
_DESCRIPTION = "./Data/Image/ImageDescription"


def read_lif(path: Path) -> tuple[PixelArray, str, Metadata]:
    """Read the first image of a LIF file, of a mosaic the first tile.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    data : PixelArray
        Lines of its planes are loaded alone.
    axes : str
        Of TCZYX, and S where it has colors; those of length 1 are left out.
    metadata : Metadata
        Sizes and names.

    Raises
    ------
    ImageError
        If it holds no image of pixels, or one with axes other than TCZYX. Any
        other exception also means a damaged file.
    """
    from liffile import LifFile

    source = Source(path)
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as a LIF file does")
        file.seek(0)
        # Given a name in place of an open file, the library would open what that refers to.
        images = [image for image in LifFile(file).images if not image.is_flim]
        if not images:
            raise ImageError(f"{path} holds no image of pixels; export one as TIFF.")
        description, block = images[0].xml_element, images[0].memory_block
    channels = _in_order(description.findall(f"{_DESCRIPTION}/Channels/ChannelDescription"))
    axes = _axes(description, path)
    axes["S" if _are_colors(channels) else "C"] = _channel_axis(channels, path)
    letters = "".join(
        letter
        for letter in "TCZYXS"
        if letter in axes and (letter in "YX" or axes[letter].length > 1)
    )
    data = _StridedPixels(
        source,
        block.offset + int(channels[0].attrib["BytesInc"]),
        [axes[letter] for letter in letters],
        _dtype(channels, path),
        letters.find("Y"),
    )
    step = {letter: axis.step for letter, axis in axes.items()}
    sides = step.get("Y"), step.get("X")
    return data, letters, Metadata.of(sides, step.get("Z"), step.get("T"), _names(channels))


class _Axis(NamedTuple):
    """An axis of the pixels: its elements, bytes from one to the next, and their distance."""

    length: int
    stride: int
    step: float | None = None


class _StridedPixels(PlaneStackArray):
    """Pixels whose axes go through a file in steps of any number of bytes."""

    def __init__(
        self, source: Source, offset: int, axes: Sequence[_Axis], dtype: np.dtype[Any], stacked: int
    ) -> None:
        shape = tuple(axis.length for axis in axes)
        super().__init__(source.path, shape, dtype, range(stacked))
        self._source = source
        self._offset = offset
        self._strides = [axis.stride for axis in axes]
        first, end = self._reach([range(length) for length in shape])
        if first < 0 or end > source.size:
            raise ValueError("the file ends before its pixels do")

    def _reach(self, parts: Sequence[Part]) -> tuple[int, int]:
        """First byte of what is asked for, and the one after its last."""
        ends = [
            sorted(place * stride for place in (span(part)[0], span(part)[1] - 1))
            for part, stride in zip(parts, self._strides, strict=True)
        ]
        first, last = (self._offset + sum(places) for places in zip(*ends, strict=True))
        return first, last + self.dtype.itemsize

    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        first, end = self._reach(parts)
        read = self._source.read([first], end - first)
        places = [range(part, part + 1) if isinstance(part, int) else part for part in parts]
        begin = self._offset - first
        begin += sum(part[0] * step for part, step in zip(places, self._strides, strict=True))
        pixels: NDArray[Any] = np.ndarray(
            [len(part) for part in places],
            self.dtype,
            read,
            begin,
            [part.step * step for part, step in zip(places, self._strides, strict=True)],
        )
        return pixels[tuple(0 if isinstance(part, int) else slice(None) for part in parts)]


def _axes(description: ElementTree.Element, path: Path) -> dict[str, _Axis]:
    """Axes of an image by their letters, those of channels left out."""
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
        if letter is not None and letter != _TILES:
            measure = seconds if letter == "T" else micrometers
            whole = measure(attributes["Length"], attributes["Unit"])
            # From the first element to the last.
            step = None if whole is None or length == 1 else whole / (length - 1)
            axes[letter] = _Axis(length, stride, step)
    return axes


def _in_order(channels: list[ElementTree.Element]) -> list[ElementTree.Element]:
    """Channels as the file lists them, but colors as red, green and blue."""
    return sorted(channels, key=_tag) if _are_colors(channels) else channels


def _are_colors(channels: list[ElementTree.Element]) -> bool:
    """Whether three channels are the samples of a color picture."""
    return sorted(map(_tag, channels)) == [1, 2, 3]


def _tag(channel: ElementTree.Element) -> int:
    """Gray (0), red, green or blue."""
    return int(channel.attrib["ChannelTag"])


def _channel_axis(channels: list[ElementTree.Element], path: Path) -> _Axis:
    """Axis along the channels, or the samples."""
    offsets = [int(channel.attrib["BytesInc"]) for channel in channels]
    strides = {after - before for before, after in itertools.pairwise(offsets)} or {0}
    if len(strides) > 1 or (strides == {0} and len(offsets) > 1):
        raise ImageError(f"{path} has channels at uneven distances; export it as TIFF.")
    return _Axis(len(offsets), strides.pop())


def _dtype(channels: list[ElementTree.Element], path: Path) -> np.dtype[Any]:
    """Type of the pixels, which is one for all channels."""
    types = set()
    for channel in channels:
        bits = max(8, 1 << (int(channel.attrib["Resolution"]) - 1).bit_length())
        types.add(f"<{'f' if channel.attrib['DataType'] == '1' else 'u'}{bits // 8}")
    if len(types) != 1:
        raise ImageError(f"{path} has channels of different types; export them one by one.")
    return np.dtype(types.pop())


def _names(channels: list[ElementTree.Element]) -> tuple[str, ...]:
    """Name of each channel: its dye where the file tells it, else the color it is shown in."""
    names = []
    for channel in channels:
        told = {
            item.findtext("Key"): item.findtext("Value")
            for item in channel.findall("ChannelProperty")
        }
        names.append(told.get("DyeName") or channel.get("LUTName") or "")
    return tuple(names)
