"""Pixels and what they stand for; they need not be in memory."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import Selection
from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import SubsetArray
from napari_coordgate.io.metadata import Metadata, PixelSize
from napari_coordgate.io.selection import chosen, spacing

__all__ = [
    "AXES",
    "Image",
    "PixelArray",
    "PlaneView",
    "as_image",
    "as_pixels",
    "check_axes",
    "is_pixels",
    "middle_plane",
    "planes",
    "sampled",
]

AXES = "TCZYXS"
"""Letters that axes can have."""


def is_pixels(value: object) -> TypeGuard[PixelArray]:
    """Whether a value is a `PixelArray`; a list is none, nor is a tensor of another library."""
    return isinstance(getattr(value, "dtype", None), np.dtype) and hasattr(value, "__getitem__")


def as_pixels(array: ArrayLike | PixelArray) -> PixelArray:
    """Array as it is where it serves as pixels, else NumPy's of it; nothing is loaded.

    Parameters
    ----------
    array : array_like or PixelArray
        Numbers of any kind.

    Returns
    -------
    PixelArray
        The array.
    """
    return array if is_pixels(array) else np.asarray(array)


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels, and what they stand for.

    Attributes
    ----------
    data : PixelArray
        The pixels, of real numbers (bool too) in any byte order; of a file, an array
        that loads what it is asked for, see `napari_coordgate.io.lazy`.
    axes : str
        A letter of TCZYX or S for each axis of ``data``; Y before X.
    pixel_size_um : tuple of float, or None
        (y, x) size of a pixel in the object.
    path : Path, or None
        The file it was read from.
    title : str, or None
        What it is called where it is in no file.
    z_step_um : float, or None
        Distance between planes of the axis Z.
    time_step_s : float, or None
        Time between those of the axis T.
    channels : tuple of str
        Names of the channels, one for each of the axis C, or one where there is no
        such axis; empty where they have none.

    Raises
    ------
    ImageError
        If the axes or the names do not fit the pixels, or there are none.
    """

    data: Any  # a PixelArray; most callers know it for a NumPy array
    axes: str
    pixel_size_um: PixelSize | None = None
    path: Path | None = None
    title: str | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the pixels and the axes."""
        if self.data.dtype.kind not in "buif":
            raise ImageError(
                f"{self.name} holds {self.data.dtype} values; give an image of real numbers."
            )
        check_axes(self.axes, self.data.shape, self.name)
        if math.prod(self.data.shape) == 0:
            raise ImageError(f"{self.name} holds no pixels; give an image that does.")
        if self.channels and len(self.channels) != self._length("C"):
            raise ImageError(
                f"{self.name} has {self._length('C')} channels, but names for "
                f"{len(self.channels)}; name each or none."
            )

    @property
    def metadata(self) -> Metadata:
        """Sizes and names."""
        return Metadata(self.pixel_size_um, self.z_step_um, self.time_step_s, self.channels)

    @property
    def name(self) -> str:
        """The file, or what it is called where there is none."""
        return (self.title or "The image") if self.path is None else str(self.path)

    @property
    def pixels(self) -> NDArray[Any]:
        """All pixels, loaded where they are not yet in memory or mapped into it."""
        return np.asarray(self.data)

    def plane(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Pixels of one plane, shape (H, W), loaded alone; the index is one of `planes`."""
        return np.asarray(self.data[index])

    def view(self, index: tuple[int | slice, ...]) -> "PlaneView":
        """One plane of which windows are loaded alone; the index is one of `planes`."""
        return PlaneView(self.data, index)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self._length("Y"), self._length("X")

    def select(self, selection: Selection) -> "Image":
        """Image of some channels, times and planes alone; all axes stay, nothing is loaded.

        Parameters
        ----------
        selection : Selection
            What to leave in.

        Returns
        -------
        Image
            The selected part, with its steps and names.

        Raises
        ------
        ImageError
            If there is no such channel, time or plane, or the choice is unclear.
        """
        numbers: dict[str, Sequence[int]] = {
            letter: chosen(text, letter, self._length(letter), self.channels, self.name)
            for letter, text in zip(
                "CTZ", (selection.channels, selection.times, selection.planes), strict=True
            )
            if text is not None
        }
        places = {self.axes.index(a): part for a, part in numbers.items() if a in self.axes}
        if not places:
            return self
        left = numbers.get("C", range(self._length("C"))) if self.channels else ()
        return replace(
            self,
            data=SubsetArray(self.data, places, self.path),
            z_step_um=spacing(self.z_step_um, numbers.get("Z")),
            time_step_s=spacing(self.time_step_s, numbers.get("T")),
            channels=tuple(self.channels[number] for number in left),
        )

    def _length(self, letter: str) -> int:
        """Length of an axis, 1 where the image has none."""
        length: int = self.data.shape[self.axes.index(letter)] if letter in self.axes else 1
        return length


class PlaneView:
    """One plane of an array, of which windows are read and written alone.

    Parameters
    ----------
    data : PixelArray
        The array; of zarr and the like, only what a window needs is loaded.
    index : tuple of int and slice
        One of `planes`: a slice for Y and one for X.
    """

    def __init__(self, data: Any, index: tuple[int | slice, ...]) -> None:
        self._data = data
        self._index = index

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = (
            length
            for length, part in zip(self._data.shape, self._index, strict=True)
            if isinstance(part, slice)
        )
        return height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    def __getitem__(self, window: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._data[self._within(window)])

    def __setitem__(self, window: tuple[slice, slice], pixels: NDArray[Any]) -> None:
        self._data[self._within(window)] = pixels

    def _within(self, window: tuple[int | slice, ...]) -> tuple[int | slice, ...]:
        """Index of a window of the plane in the whole array."""
        rows_and_columns = iter(window)
        return tuple(
            next(rows_and_columns) if isinstance(part, slice) else part for part in self._index
        )


def as_image(image: PixelArray | Image, axes: str | None = None) -> Image:
    """Image with the axes given, its own, or the last letters of TCZYX.

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Pixels.
    axes : str, optional
        Letters of TCZYX and S for the array's axes.

    Returns
    -------
    Image
        The image.

    Raises
    ------
    ImageError
        If the array has other numbers of axes than an image, or the letters do not fit.
    """
    if isinstance(image, Image):
        named = image.channels if axes is None or "C" in axes else ()
        return image if axes is None else replace(image, axes=axes, channels=named)
    array = as_pixels(image)
    if axes is None:
        if not 2 <= array.ndim <= 5:
            raise ImageError(
                f"An array of shape {array.shape} is no image; give (H, W), or up to three axes "
                "before these."
            )
        axes = "TCZYX"[-array.ndim :]
    return Image(array, axes)


def planes(image: Image) -> Iterator[tuple[int | slice, ...]]:
    """Walk through the planes of an image, whatever the order of its axes.

    Parameters
    ----------
    image : Image
        A single plane, or a stack of any axes; each color sample is a plane.

    Yields
    ------
    tuple of int and slice
        ``image.plane(index)`` is the plane, shape (H, W).
    """
    parts: list[Sequence[int | slice]] = [
        [slice(None)] if letter in "YX" else range(length)
        for letter, length in zip(image.axes, image.data.shape, strict=True)
    ]
    yield from _product(parts)


def _product(choices: Sequence[Sequence[int | slice]]) -> Iterator[tuple[int | slice, ...]]:
    """As `itertools.product`, which would first list them: a file may claim any number."""
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _product(choices[1:]):
            yield (first, *rest)


def middle_plane(image: Image) -> tuple[int | slice, ...]:
    """Index of the plane in the middle of a stack, one of `planes`."""
    return tuple(
        slice(None) if letter in "YX" else length // 2
        for letter, length in zip(image.axes, image.data.shape, strict=True)
    )


def sampled(plane: PlaneView, side: int) -> NDArray[Any]:
    """Pixels of a plane on a regular grid, of which the rest is loaded a row at a time.

    Parameters
    ----------
    plane : PlaneView
        The plane.
    side : int
        Longest side of what is wanted, pixels, about.

    Returns
    -------
    ndarray, shape (h, w)
        Its sides are below twice that.
    """
    step = max(1, max(plane.shape) // side)
    if step == 1:
        return plane[:, :]
    rows = range(0, plane.shape[0], step)
    return np.concatenate([plane[row : row + 1, ::step] for row in rows])


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> None:
    """Raise ImageError unless the axes are a letter for each length, Y before X."""
    lengths = " x ".join(str(length) for length in shape)
    problem = None
    if len(axes) != len(shape):
        problem = f"are {len(axes)} letters for {len(shape)} axes ({lengths})"
    elif not set(axes) <= set(AXES):
        problem = f"have letters other than {AXES}"
    elif len(set(axes)) != len(axes):
        problem = "name one axis twice"
    elif not 0 <= axes.find("Y") < axes.find("X"):
        problem = "do not hold Y and then X"
    if problem:
        raise ImageError(f'{name}: the axes "{axes}" {problem}; state axes such as "TCYX".')
