"""CZI files of Zeiss's microscopes, read by Zeiss's own library."""

import contextlib
import threading
import weakref
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import PixelArray
from napari_coordgate.io.lazy import Part, PlaneStackArray, Source, as_index, span
from napari_coordgate.io.metadata import Metadata, micrometers, seconds

__all__ = ["read_czi"]

_DTYPES = {
    "Gray8": "u1",
    "Gray16": "u2",
    "Gray32Float": "f4",
    "Bgr24": "u1",
    "Bgr48": "u2",
    "Bgr96Float": "f4",
}
_OTHER_AXES = {"R": "rotation", "I": "illumination", "H": "phase", "V": "view", "B": "block"}


def read_czi(path: Path) -> tuple[PixelArray, str, Metadata]:
    """Read the first scene of a CZI file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    data : PixelArray
        Windows of its planes are loaded alone.
    axes : str
        Of TCZYX, and S where it has colors; those of length 1 are left out.
    metadata : Metadata
        Sizes and names.

    Raises
    ------
    ImageError
        If it has axes other than TCZYX, or channels of different types. Any
        other exception also means a damaged file.
    """
    from pylibCZIrw.czi import open_czi

    with contextlib.ExitStack() as opened:
        czi = opened.enter_context(open_czi(str(path)))
        layout = _Layout.of(czi, path)
        xml = ElementTree.fromstring(czi.raw_metadata)
        data = _ScenePixels(Source(path), czi, layout)
        weakref.finalize(data, opened.pop_all().close)
    axes = layout.outer + "YXS"[: 3 if layout.is_colored else 2]
    return data, axes, _metadata(xml)


class _Layout(NamedTuple):
    """How the first scene lies in a file.

    Attributes
    ----------
    scene : int or None
        Its number; None where scenes are not told apart.
    ranges : dict of str to range
        Indices that the file has along each of its axes.
    pixel_type : str
        Zeiss's name.
    """

    scene: int | None
    ranges: dict[str, range]
    pixel_type: str

    @classmethod
    def of(cls, czi: Any, path: Path) -> "_Layout":
        """Look at the tiles of a file; its XML may tell otherwise, or nothing."""
        found: set[tuple[tuple[tuple[str, int], ...], str]] = set()

        def note(_: int, tile: Any) -> bool:
            found.add((tuple(tile.coordinate.to_dict().items()), tile.pixelType.name))
            return True

        czi.enumerate_subblocks(note)
        tiles = [(dict(place), kind) for place, kind in found]
        scene = min((place["S"] for place, _ in tiles if "S" in place), default=None)
        tiles = [(place, kind) for place, kind in tiles if place.get("S") == scene]
        types = {kind for _, kind in tiles}
        if len(types) != 1 or not types <= _DTYPES.keys():
            raise ImageError(
                f"{path} has pixels of type {', '.join(sorted(types)) or 'none'}; "
                "export it with one type of pixels, gray or color."
            )
        ranges = {}
        for letter in {letter for place, _ in tiles for letter in place}:
            indices = {place[letter] for place, _ in tiles if letter in place}
            ranges[letter] = range(min(indices), max(indices) + 1)
            if len(indices) != len(ranges[letter]):
                raise ValueError("planes are missing")
        for letter, name in _OTHER_AXES.items():
            if len(ranges.get(letter, "")) > 1:
                raise ImageError(
                    f"{path} has {len(ranges[letter])} images for each plane ({name}); "
                    "process it in ZEN, or export it as a plain stack."
                )
        return cls(scene, ranges, types.pop())

    @property
    def outer(self) -> str:
        """Axes before the planes."""
        return "".join(letter for letter in "TCZ" if len(self.ranges.get(letter, "")) > 1)

    @property
    def is_colored(self) -> bool:
        """Whether a pixel has three samples."""
        return self.pixel_type.startswith("Bgr")


class _ScenePixels(PlaneStackArray):
    """Pixels of a scene, of which tiles may be anywhere: what lies between them is black."""

    def __init__(self, source: Source, czi: Any, layout: _Layout) -> None:
        scenes = czi.scenes_bounding_rectangle_no_pyramid
        whole = czi.total_bounding_rectangle_no_pyramid
        self._region = whole if layout.scene is None else scenes[layout.scene]
        outer = [len(layout.ranges[letter]) for letter in layout.outer]
        samples = [3] if layout.is_colored else []
        super().__init__(
            source.path,
            (*outer, self._region.h, self._region.w, *samples),
            np.dtype(_DTYPES[layout.pixel_type]),
            range(len(outer)),
        )
        self._source = source
        self._czi = czi
        self._layout = layout
        self._lock = threading.Lock()

    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        ranges, outer = self._layout.ranges, self._layout.outer
        plane = {letter: ranges[letter][0] for letter in "TCZ" if letter in ranges}
        for letter, at in zip(outer, parts, strict=False):
            plane[letter] = ranges[letter][span(at)[0]]
        (top, bottom), (left, right) = map(span, parts[len(outer) : len(outer) + 2])
        region = (self._region.x + left, self._region.y + top, right - left, bottom - top)
        with self._lock, self._source.open():
            pixels = self._czi.read(
                region, plane, self._layout.scene, pixel_type=self._layout.pixel_type
            )
        rows, columns, *samples = parts[len(outer) :]
        within = (_from_first(rows), _from_first(columns), *map(as_index, samples or [0]))
        blue_last: NDArray[Any] = pixels[..., ::-1][within]
        return blue_last


def _from_first(part: Part) -> int | slice:
    """Index of a part in what was loaded from its first place on."""
    return 0 if isinstance(part, int) else slice(None, None, part.step)


def _metadata(xml: ElementTree.Element) -> Metadata:
    """Sizes and names."""
    x, y, z = (
        micrometers(xml.findtext(f".//Scaling/Items/Distance[@Id='{letter}']/Value"), "m")
        for letter in "XYZ"
    )
    dimensions = "./Metadata/Information/Image/Dimensions"
    interval = xml.findtext(f"{dimensions}/T/Positions/Interval/Increment")
    names = [channel.get("Name", "") for channel in xml.findall(f"{dimensions}/Channels/Channel")]
    return Metadata.of((y, x), z, seconds(interval, "s"), names)
