"""ND2 files of Nikon's microscopes."""

import contextlib
import math
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import PixelArray
from napari_coordgate.io.lazy import Part, PlaneStackArray, Source, as_index, span
from napari_coordgate.io.metadata import Metadata

if TYPE_CHECKING:
    from nd2 import ND2File

__all__ = ["read_nd2"]

_MOST_PACKED = 1032
"""Bytes that zlib, which packs the pixels of ND2, can make of one."""


def read_nd2(path: Path) -> tuple[PixelArray, str, Metadata]:
    """Read the first position of an ND2 file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    data : PixelArray
        Windows of its planes are loaded alone where they are not packed.
    axes : str
        Of TCZYX, and S where it has colors; those of length 1 are left out.
    metadata : Metadata
        Sizes and names.

    Raises
    ------
    ImageError
        If it has axes other than TCZYX and positions. Any other exception also
        means a damaged file.
    """
    from nd2 import ND2File

    with contextlib.ExitStack() as opened:
        nd2 = opened.enter_context(ND2File(path))
        if other := nd2.sizes.keys() - set("PTCZYXS"):
            raise ImageError(
                f"{path} has axes other than T, C, Z and positions ({', '.join(sorted(other))}); "
                "export it as a plain stack first."
            )
        axes = "".join(letter for letter in "TCZYXS" if letter in nd2.sizes or letter in "YX")
        metadata = _metadata(nd2)
        data = _FramePixels(Source(path), nd2, axes)
        weakref.finalize(data, opened.pop_all().close)
    return data, axes, metadata


class _FramePixels(PlaneStackArray):
    """Pixels of the first position; a frame of the file holds all channels."""

    def __init__(self, source: Source, nd2: "ND2File", axes: str) -> None:
        sizes = dict.fromkeys("CYXS", 1) | dict(nd2.sizes)
        super().__init__(
            source.path,
            tuple(sizes[letter] for letter in axes),
            nd2.dtype,
            range(axes.index("Y")),
        )
        self._source = source
        self._nd2 = nd2
        self._outer = axes[: axes.index("Y")]
        self._loops = {letter: n for letter, n in sizes.items() if letter not in "CYXS"}
        self._frame = [sizes[letter] for letter in "CYXS"]
        self._lock = threading.Lock()
        if math.prod(self._frame) * self.dtype.itemsize > source.size * _MOST_PACKED:
            raise ValueError("the file holds less than the frames that it tells of")

    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        at = {letter: span(part)[0] for letter, part in zip(self._outer, parts, strict=False)}
        place = [at.get(letter, 0) for letter in self._loops]
        number = np.ravel_multi_index(place, tuple(self._loops.values())) if place else 0
        rows, columns, *samples = map(as_index, parts[len(self._outer) :])
        # The file is mapped into memory: it must not have become shorter.
        with self._lock, self._source.open():
            # The library leaves out axes of length 1.
            frame = self._nd2.read_frame(int(number)).reshape(self._frame)
            return frame[at.get("C", 0), rows, columns, samples[0] if samples else 0].copy()


def _metadata(nd2: "ND2File") -> Metadata:
    """Sizes and names."""
    told = nd2.metadata
    channels = (None if isinstance(told, dict) else told.channels) or []
    names = [channel.channel.name for channel in channels]
    sides: list[float | None] = [None, None, None]
    if channels:
        volume = channels[0].volume
        known = zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
        sides = [side if is_known else None for side, is_known in known]
    x, y, z = sides
    return Metadata.of((y, x), z, _time_step_s(nd2), names)


def _time_step_s(nd2: "ND2File") -> float | None:
    """Time between the planes of axis T, where it is the same for all."""
    for loop in nd2.experiment:
        if loop.type == "TimeLoop":
            return loop.parameters.periodMs / 1e3
        if loop.type == "NETimeLoop":
            periods = {period.periodMs for period in loop.parameters.periods}
            return periods.pop() / 1e3 if len(periods) == 1 else None
    return None
