"""Lazily loaded arrays backed by files.

Files are read instead of memory-mapped: accessing the map of a file that was truncated in the
meantime would kill the process.
"""

import itertools
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.opening import check_regular, regular

AxisIndex = int | range
"""Index along one axis: a number, which drops the axis, or a range with a positive step."""

_MIN_READ_BYTES = 4096
"""Axes with a longer stride are read element by element, others as a whole, which is faster."""


class LazyArray(ABC):
    """Array of a file, indexed by integers and forward slices as in NumPy; safe for threads.

    Subclasses load what is indexed. Their exceptions become an `ImageError` that names the file.
    """

    def __init__(self, path: Path | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def missing_planes(self) -> int:
        """Number of planes that were planned and never recorded."""
        return 0

    def __getitem__(self, index: Any) -> NDArray[Any]:
        indices = _axis_indices(index, self.shape)
        lengths = [len(item) for item in indices if isinstance(item, range)]
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        try:
            return self._load(indices)
        except ImageError:
            raise
        except Exception as error:  # a damaged file can make a decoder fail in any way
            raise read_error(self.path, error) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("The pixels are in a file: they must be loaded, which makes a copy.")
        return np.asarray(self[...], dtype)

    @abstractmethod
    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        """Load the elements at an index for each axis; none of them is empty."""


class PlaneStackArray(LazyArray):
    """Array that is loaded plane by plane along its stacked axes."""

    def __init__(
        self,
        path: Path | None,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        stack_axes: Collection[int],
    ) -> None:
        super().__init__(path, shape, dtype)
        self._stack_axes = stack_axes

    @abstractmethod
    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        """Load a part of one plane; the indices of the stacked axes are integers."""

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        if all(isinstance(indices[axis], int) for axis in self._stack_axes):
            return self._load_plane(indices)
        kept = [axis for axis, item in enumerate(indices) if isinstance(item, range)]
        loaded = np.empty([len(item) for item in indices if isinstance(item, range)], self.dtype)
        choices = [
            list(enumerate(item)) if isinstance(item, range) and axis in self._stack_axes
            else [(slice(None), item)]
            for axis, item in enumerate(indices)
        ]  # fmt: skip
        for choice in itertools.product(*choices):
            target: tuple[Any, ...] = tuple(choice[axis][0] for axis in kept)
            loaded[target] = self._load_plane(tuple(item for _, item in choice))
        return loaded


class SubsetArray(PlaneStackArray):
    """Some elements along some axes of an array; ``subset`` maps these axes to their elements."""

    def __init__(
        self, data: PixelArray, subset: Mapping[int, Sequence[int]], path: Path | None = None
    ) -> None:
        lengths = (len(subset.get(axis, range(n))) for axis, n in enumerate(data.shape))
        super().__init__(path, tuple(lengths), data.dtype, subset)
        self._data = data
        self._subset = subset

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        index = tuple(
            self._subset[axis][item] if axis in self._subset and isinstance(item, int)
            else as_index(item)
            for axis, item in enumerate(indices)
        )  # fmt: skip
        return np.asarray(self._data[index])


class PartArray(LazyArray):
    """Part of an array at fixed elements of some axes, which it does not have."""

    def __init__(self, data: PixelArray, fixed: Mapping[int, int], path: Path | None) -> None:
        shape = tuple(n for axis, n in enumerate(data.shape) if axis not in fixed)
        super().__init__(path, shape, data.dtype)
        self._data = data
        self._fixed = fixed

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        others = map(as_index, indices)
        count = len(indices) + len(self._fixed)
        index = tuple(self._fixed[a] if a in self._fixed else next(others) for a in range(count))
        return np.asarray(self._data[index])


class InvertedArray(LazyArray):
    """Whole numbers of which 0 was stored as white."""

    def __init__(self, data: PixelArray, white: int, path: Path | None) -> None:
        super().__init__(path, data.shape, data.dtype)
        self._data, self._white = data, white

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        stored = np.asarray(self._data[tuple(map(as_index, indices))])
        pixels: NDArray[Any] = np.subtract(self._white, stored, dtype=self.dtype)
        return pixels


class FileSnapshot:
    """File as it was when first opened; reading raises ImageError if it has changed since."""

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.path = path
        self._status = path.stat()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._status.st_size

    def read(self, offsets: Sequence[int], nbytes: int) -> NDArray[np.uint8]:
        """Read ``nbytes`` at each offset into an array of shape (len(offsets), nbytes)."""
        blocks = np.empty((len(offsets), nbytes), np.uint8)
        buffer, begin = blocks.reshape(-1).data, 0
        with self.open() as file:
            for offset in offsets:
                file.seek(offset)
                end = begin + nbytes
                while begin < end:  # one call reads at most 2 GB
                    count = file.readinto(buffer[begin:end])
                    if not count:
                        raise self._truncated()
                    begin += count
        return blocks

    def check(self) -> None:
        """Raise ImageError if the file has changed."""
        with self.open():
            pass

    @contextmanager
    def open(self) -> Iterator[FileIO]:
        """Open the file unbuffered, after a check that it has not changed."""
        with open(self.path, "rb", buffering=0, opener=regular) as file:
            now, then = os.fstat(file.fileno()), self._status
            if now.st_size < then.st_size:
                raise self._truncated()
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (
                then.st_ino,
                then.st_size,
                then.st_mtime_ns,
            ):
                raise ImageError(f"{self.path} changed while it was read; read it again.")
            yield file

    def _truncated(self) -> ImageError:
        return ImageError(f"{self.path} became shorter while it was read; copy or export it again.")


class RawFileArray(LazyArray):
    """Uncompressed C-contiguous array in a file, starting at ``offset`` bytes."""

    def __init__(
        self, file: FileSnapshot, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        super().__init__(file.path, shape, dtype)
        self._file = file
        self._offset = offset
        self._strides = [
            math.prod(shape[axis + 1 :], start=dtype.itemsize) for axis in range(self.ndim)
        ]
        # The last axis is always read as a block, however large a pixel is.
        self._outer = sum(stride >= _MIN_READ_BYTES for stride in self._strides[:-1])
        if offset + math.prod(shape) * dtype.itemsize > file.size:
            raise ValueError("the file ends before the end of its pixels")

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        outer, inner = indices[: self._outer], indices[self._outer :]
        first, end = bounds(inner[0])
        offsets = np.array(self._offset + first * self._strides[self._outer])
        for item, stride in zip(outer, self._strides, strict=False):
            offsets = np.add.outer(offsets, np.arange(*bounds(item))[:: _step(item)] * stride)
        nbytes = (end - first) * self._strides[self._outer]
        blocks = self._file.read(offsets.ravel().tolist(), nbytes)
        shape = (*offsets.shape, end - first, *self.shape[self._outer + 1 :])
        # The outer axes are indexed already; of the inner ones, all elements were read.
        done = [slice(None) if isinstance(item, range) else 0 for item in outer]
        pixels: NDArray[Any] = blocks.view(self.dtype).reshape(shape)[
            (*done, relative_index(inner[0]), *map(as_index, inner[1:]))
        ]
        return pixels


def bounds(index: AxisIndex) -> tuple[int, int]:
    """First element of a non-empty index, and the one after its last."""
    return (index, index + 1) if isinstance(index, int) else (index[0], index[-1] + 1)


def as_index(index: AxisIndex) -> int | slice:
    """NumPy's index for an index along an axis."""
    return index if isinstance(index, int) else slice(index.start, index.stop, index.step)


def relative_index(index: AxisIndex) -> int | slice:
    """NumPy's index into what was loaded from the `bounds` of an index."""
    return 0 if isinstance(index, int) else slice(None, None, index.step)


def read_error(path: Path | None, error: Exception) -> ImageError:
    """ImageError for any exception raised while a file was read."""
    name = path or "The image"
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{name} cannot be read ({error.strerror.lower()}); check the file.")
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit into memory; work on windows of it.")
    reason = (str(error).splitlines() or [""])[0].rstrip(".")
    if isinstance(error, LookupError) or not any(letter.isalpha() for letter in reason):
        reason = "a part of it is missing or makes no sense"  # the message names a mere key
    if "imagecodecs" in reason:
        return ImageError(
            f"{name} cannot be read ({reason}); install imagecodecs, or save it uncompressed."
        )
    return ImageError(
        f"{name} cannot be read ({reason}); it may be damaged, incomplete or of another format: "
        "copy or export it again."
    )


def mute_logger(name: str) -> None:
    """Keep Python from printing a library's log if no handler is installed: we raise instead."""
    logger = logging.getLogger(name)
    if not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())


def _axis_indices(index: Any, shape: tuple[int, ...]) -> tuple[AxisIndex, ...]:
    """One index for each axis, from NumPy's index of an array."""
    given = index if isinstance(index, tuple) else (index,)
    if Ellipsis not in given:
        given = (*given, Ellipsis)
    position = given.index(Ellipsis)
    filled = [slice(None)] * (len(shape) + 1 - len(given))
    full = (*given[:position], *filled, *given[position + 1 :])
    indices = tuple(range(n)[item] for n, item in zip(shape, full, strict=True))
    if any(_step(item) < 0 for item in indices):
        raise IndexError("steps must be positive")
    return indices


def _step(index: AxisIndex) -> int:
    return 1 if isinstance(index, int) else index.step
