"""Frame coordinates, and windows in a frame.

Each tile or patch carries the coordinates of its own pixels in the *frame*, so that a network
trained on patches applies to any tile of any image of that frame. Coordinates are (y, x) in
[-1, 1] at pixel centers: pixel i of N is at (2i + 1) / N - 1.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.errors import FrameMismatchError, SettingsError

MAX_FRAME_SIDE = 100_000
"""Pixels; a file or flag with a larger frame is wrong."""


def format_shape(shape: Sequence[int]) -> str:
    """Shape of an image for messages, such as ``512x640``."""
    return "x".join(str(length) for length in shape)


class Window(NamedTuple):
    """Rectangle of pixels in a frame; it may extend beyond the frame.

    Parameters
    ----------
    y0, x0 : int
        Frame pixel of the first row and column.
    height, width : int
        Size in pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import Window
    >>> window = Window(10, 20, 64, 48)
    >>> frame = np.zeros((256, 256))
    >>> frame[window.within(Window.whole(frame.shape))].shape
    (64, 48)
    >>> window.expanded(16).clipped(frame.shape)
    Window(y0=0, x0=4, height=90, width=80)
    """

    y0: int
    x0: int
    height: int
    width: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Window of a whole frame of this shape."""
        return cls(0, 0, *shape)

    @property
    def origin(self) -> tuple[int, int]:
        """First pixel, (y0, x0)."""
        return self.y0, self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """Size, (height, width)."""
        return self.height, self.width

    @property
    def y1(self) -> int:
        """Row after the last."""
        return self.y0 + self.height

    @property
    def x1(self) -> int:
        """Column after the last."""
        return self.x0 + self.width

    def expanded(self, margin: int) -> Window:
        """Window with ``margin`` more pixels on every side."""
        return Window(
            self.y0 - margin,
            self.x0 - margin,
            self.height + 2 * margin,
            self.width + 2 * margin,
        )

    def shifted(self, offset: tuple[int, int]) -> Window:
        """Window moved by (y, x) pixels."""
        return self._replace(y0=self.y0 + offset[0], x0=self.x0 + offset[1])

    def snapped(self, multiple: int) -> Window:
        """Smallest window that contains this one and has its sides at multiples of ``multiple``."""
        y0, x0 = (start // multiple * multiple for start in self.origin)
        y1, x1 = (_round_up(end, multiple) for end in (self.y1, self.x1))
        return Window(y0, x0, y1 - y0, x1 - x0)

    def clipped(self, shape: tuple[int, int]) -> Window:
        """Part of the window inside a frame of this shape."""
        y0, x0 = max(self.y0, 0), max(self.x0, 0)
        y1, x1 = min(self.y1, shape[0]), min(self.x1, shape[1])
        return Window(y0, x0, max(y1 - y0, 0), max(x1 - x0, 0))

    def contains(self, other: Window) -> bool:
        """Whether every pixel of ``other`` is in this window."""
        return (
            self.y0 <= other.y0
            and self.x0 <= other.x0
            and self.y1 >= other.y1
            and self.x1 >= other.x1
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Slices of this window in an array that covers ``outer``, which must contain it."""
        if not outer.contains(self):
            raise FrameMismatchError(f"{self} extends beyond {outer}; choose a window inside it.")
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )


def as_window(window: Sequence[int]) -> Window:
    """Window that may be given as a plain sequence (y0, x0, height, width)."""
    try:
        return Window(*map(index, window))
    except TypeError:
        raise FrameMismatchError(
            f"A window must be four whole numbers, got {reprlib.repr(window)}; pass "
            "Window(y0, x0, height, width)."
        ) from None


def as_origin(origin: Sequence[int]) -> tuple[int, int]:
    """Origin (y, x) of two whole numbers; FrameMismatchError for anything else."""
    try:
        y, x = map(index, origin)
    except (TypeError, ValueError):
        raise FrameMismatchError(
            f"An origin must be two whole numbers, got {reprlib.repr(origin)}; pass the frame "
            "pixel (y, x) of the image's first pixel."
        ) from None
    return y, x


def pixel_coordinates(pixels: ArrayLike, frame_lengths: ArrayLike) -> NDArray[np.float64]:
    """Frame coordinates of (fractional) pixels, along one axis, or (y, x) in the last axis."""
    centers = 2.0 * np.asarray(pixels, np.float64) + 1.0
    coordinates: NDArray[np.float64] = centers / np.asarray(frame_lengths) - 1.0
    return coordinates


def coordinate_axis(start: int, length: int, frame_length: int) -> NDArray[np.float64]:
    """Frame coordinates (length,) of consecutive pixels; beyond [-1, 1] outside the frame."""
    return pixel_coordinates(np.arange(start, start + length), frame_length)


def frame_coordinates(
    frame_shape: tuple[int, int], window: Window | None = None
) -> NDArray[np.float32]:
    """Coordinate maps (2, H, W), y then x, of a window of the frame, or of the whole frame."""
    y, x = _axes(frame_shape, window)
    return np.stack(np.meshgrid(y, x, indexing="ij")).astype(np.float32)


def field_vectors(
    coordinates: ArrayLike, frame_shape: tuple[int, int], axis: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Vectors (..., 2) from the optical axis to frame coordinates, of length `field_radius`."""
    vectors: NDArray[np.float64] = (
        (np.asarray(coordinates, np.float64) - axis) * frame_shape / np.hypot(*frame_shape)
    )
    return vectors


def field_radius(
    frame_shape: tuple[int, int],
    window: Window | None = None,
    axis: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Distance (H, W) of each pixel of a window from the optical axis, 1 at half the diagonal."""
    y, x = _axes(frame_shape, window)
    coordinates = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    vectors = field_vectors(coordinates, frame_shape, axis)
    radius: NDArray[np.float64] = np.linalg.norm(vectors, axis=-1)
    return radius


def _axes(
    frame_shape: tuple[int, int], window: Window | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (H,) of the rows and (W,) of the columns of a window."""
    window = window or Window.whole(frame_shape)
    return (
        coordinate_axis(window.y0, window.height, frame_shape[0]),
        coordinate_axis(window.x0, window.width, frame_shape[1]),
    )


def tiles(
    shape: tuple[int, int], size: int, overlap: int, multiple: int
) -> Iterator[tuple[Window, Window]]:
    """Tiles that cover an image once, each with the larger window to compute it from.

    A window is at most ``size`` pixels wide and extends ``overlap`` pixels beyond its tile on
    each side, except at the border of the image. All windows start at multiples of ``multiple``,
    where pooled coordinates are exact; size and overlap are rounded to multiples.
    """
    overlap = _round_up(overlap, multiple)
    inner = size // multiple * multiple - 2 * overlap
    if inner < multiple and max(shape) > size:
        raise SettingsError(
            f"A tile of {size} pixels is too small for an overlap of {overlap} on each side; "
            f"choose a tile of at least {2 * overlap + multiple} pixels."
        )
    # As many tiles as needed, all of about the same size.
    steps = [
        length if length <= size else _round_up(-(-length // -(-length // inner)), multiple)
        for length in shape
    ]
    for y0 in range(0, shape[0], steps[0]):
        for x0 in range(0, shape[1], steps[1]):
            tile = Window(y0, x0, steps[0], steps[1]).clipped(shape)
            yield tile, tile.expanded(overlap).clipped(shape)


def _round_up(length: int, multiple: int) -> int:
    """Smallest multiple that is not below a length."""
    return -(-length // multiple) * multiple


def mirror_indices(start: int, length: int, source_length: int) -> NDArray[np.int64]:
    """Source indices of ``length`` pixels from ``start`` on, mirrored beyond the source.

    The border pixel is repeated (d c b a | a b c d | d c b a), as often as needed.
    """
    positions = np.arange(start, start + length) % (2 * source_length)
    return np.minimum(positions, 2 * source_length - 1 - positions)
