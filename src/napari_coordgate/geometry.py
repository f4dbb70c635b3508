"""Frame coordinates, and windows into a frame.

Coordinates are data: a tile or patch carries the coordinates of its own pixels
in the *frame*, so that a network trained on patches serves any tile of any image
of that frame. They run over (y, x) in [-1, 1] at pixel centers: pixel i of N
lies at (2i + 1) / N - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.errors import FrameMismatchError, SettingsError

__all__ = [
    "Window",
    "coordinate_axis",
    "field_radius",
    "field_vectors",
    "frame_coordinates",
    "mirror_indices",
    "pixel_coordinates",
    "tiles",
]


class Window(NamedTuple):
    """A rectangle in a frame; it may reach beyond the frame.

    Attributes
    ----------
    y0, x0 : int
        Frame pixel of the first row and column.
    height, width : int
        Size in pixels.
    """

    y0: int
    x0: int
    height: int
    width: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Window over all of a frame of this shape."""
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

    def snapped(self, multiple: int) -> Window:
        """Smallest window around this one whose sides lie at multiples of so many pixels."""
        y0, x0 = (start // multiple * multiple for start in self.origin)
        y1, x1 = (_up_to(end, multiple) for end in (self.y1, self.x1))
        return Window(y0, x0, y1 - y0, x1 - x0)

    def clipped(self, shape: tuple[int, int]) -> Window:
        """Part of the window that lies within a frame of this shape."""
        y0, x0 = max(self.y0, 0), max(self.x0, 0)
        y1, x1 = min(self.y1, shape[0]), min(self.x1, shape[1])
        return Window(y0, x0, max(y1 - y0, 0), max(x1 - x0, 0))

    def contains(self, other: Window) -> bool:
        """Whether every pixel of ``other`` lies in this window."""
        return (
            self.y0 <= other.y0
            and self.x0 <= other.x0
            and self.y1 >= other.y1
            and self.x1 >= other.x1
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Slices that cut this window out of an array which covers ``outer``.

        Raises
        ------
        FrameMismatchError
            If the window reaches beyond ``outer``.
        """
        if not outer.contains(self):
            raise FrameMismatchError(f"{self} reaches beyond {outer}; choose a window inside it.")
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )


def pixel_coordinates(pixels: ArrayLike, frame_lengths: ArrayLike) -> NDArray[np.float64]:
    """Frame coordinates of pixels.

    Parameters
    ----------
    pixels : array_like
        Frame pixels i, whole or not, along one axis, or (y, x) in the last dimension.
    frame_lengths : array_like
        Pixels N of the whole frame along that axis, or along both.

    Returns
    -------
    ndarray
        (2i + 1) / N - 1.
    """
    centers = 2.0 * np.asarray(pixels, np.float64) + 1.0
    coordinates: NDArray[np.float64] = centers / np.asarray(frame_lengths) - 1.0
    return coordinates


def coordinate_axis(start: int, length: int, frame_length: int) -> NDArray[np.float64]:
    """Coordinates of a run of pixels along one axis of the frame.

    Parameters
    ----------
    start : int
        Frame pixel of the first one; pixels outside the frame lie beyond [-1, 1].
    length : int
        Number of pixels.
    frame_length : int
        Pixels of the whole frame along this axis.

    Returns
    -------
    ndarray, shape (length,)
        (2i + 1) / N - 1 at each pixel i.
    """
    return pixel_coordinates(np.arange(start, start + length), frame_length)


def frame_coordinates(
    frame_shape: tuple[int, int], window: Window | None = None
) -> NDArray[np.float32]:
    """Coordinate maps of a window of the frame.

    Parameters
    ----------
    frame_shape : tuple of int
        (height, width) of the whole frame, in pixels.
    window : Window, optional
        Part of the frame; all of it when not given.

    Returns
    -------
    ndarray, shape (2, H, W)
        The y and the x coordinate of each pixel.
    """
    window = window or Window.whole(frame_shape)
    y = coordinate_axis(window.y0, window.height, frame_shape[0])
    x = coordinate_axis(window.x0, window.width, frame_shape[1])
    return np.stack(np.meshgrid(y, x, indexing="ij")).astype(np.float32)


def field_vectors(
    coordinates: ArrayLike, frame_shape: tuple[int, int], axis: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """From the optical axis to places in the frame, as a part of half the frame's diagonal.

    Parameters
    ----------
    coordinates : array_like, shape (..., 2)
        Frame coordinates (y, x).
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    axis : tuple of float
        Frame coordinates (y, x) of the optical axis.

    Returns
    -------
    ndarray, shape (..., 2)
        Field vectors (y, x); their length is the field radius.
    """
    vectors: NDArray[np.float64] = (
        (np.asarray(coordinates, np.float64) - axis) * frame_shape / np.hypot(*frame_shape)
    )
    return vectors


def field_radius(
    frame_shape: tuple[int, int],
    window: Window | None = None,
    axis: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Distance of each pixel from the optical axis; 1 at half the frame's diagonal.

    Parameters
    ----------
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    window : Window, optional
        Part of the frame; all of it when not given.
    axis : tuple of float
        Frame coordinates (y, x) of the optical axis; figures of quality measure from
        the frame's middle wherever it is.

    Returns
    -------
    ndarray, shape (H, W)
        Field radius at pixel centers.
    """
    window = window or Window.whole(frame_shape)
    y = coordinate_axis(window.y0, window.height, frame_shape[0])
    x = coordinate_axis(window.x0, window.width, frame_shape[1])
    places = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    radius: NDArray[np.float64] = np.linalg.norm(field_vectors(places, frame_shape, axis), axis=-1)
    return radius


def tiles(
    shape: tuple[int, int], size: int, halo: int, multiple: int
) -> Iterator[tuple[Window, Window]]:
    """Tiles that cover an image, each inside a larger window with its halo.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the image, in pixels.
    size : int
        Largest side of the *larger* window, halo included; rounded down to ``multiple``.
    halo : int
        Margin that a tile needs on each side where the image goes on; rounded up to ``multiple``.
    multiple : int
        All windows start at multiples of this many pixels (pooled coordinates are exact there).

    Yields
    ------
    tile, window : Window
        The pixels to keep, and the pixels to compute them from. Tiles cover
        the image once; a window lies within the image.

    Raises
    ------
    SettingsError
        If nothing would be left of a tile within its halo.
    """
    halo = _up_to(halo, multiple)
    room = size // multiple * multiple - 2 * halo
    if room < multiple and max(shape) > size:
        raise SettingsError(
            f"A tile of {size} pixels leaves nothing inside its halo of {halo}; "
            f"choose a tile of at least {2 * halo + multiple} pixels."
        )
    # As many tiles as are needed, all of about one size.
    steps = [
        length if length <= size else _up_to(-(-length // -(-length // room)), multiple)
        for length in shape
    ]
    for y0 in range(0, shape[0], steps[0]):
        for x0 in range(0, shape[1], steps[1]):
            tile = Window(y0, x0, steps[0], steps[1]).clipped(shape)
            yield tile, tile.expanded(halo).clipped(shape)


def _up_to(length: int, multiple: int) -> int:
    """Smallest multiple that is not below a length."""
    return -(-length // multiple) * multiple


def mirror_indices(start: int, length: int, source_length: int) -> NDArray[np.int64]:
    """Source pixel that stands at each place of a run which may leave the source.

    Beyond its border the source is mirrored at the border pixel's outer edge
    (d c b a | a b c d | d c b a), again and again if need be.

    Parameters
    ----------
    start : int
        First place, relative to the source's first pixel.
    length : int
        Number of places.
    source_length : int
        Number of source pixels.

    Returns
    -------
    ndarray of int64, shape (length,)
        Indices into the source.
    """
    places = np.arange(start, start + length) % (2 * source_length)
    return np.minimum(places, 2 * source_length - 1 - places)
