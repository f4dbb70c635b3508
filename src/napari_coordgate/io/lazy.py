"""Arrays of which parts are loaded from files when they are asked for.

They read files in the ordinary way rather than map them into memory: the process would be
killed when it touches the map of a file that has become shorter in the meantime.
"""

import itertools
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

from napari_coordgate.errors import ImageError

__all__ = [
    "LazyArray",
    "Part",
    "PlaneStackArray",
    "RawFileArray",
    "Source",
    "SubsetArray",
    "as_index",
    "span",
    "unreadable",
]

Part = int | range
"""What is asked for along an axis: one place, which drops the axis, or several."""

_RUN_BYTES = 4096
"""Axes of longer steps are walked through; to read what lies between shorter ones costs less."""


class LazyArray(ABC):
    """Array with NumPy's indexing by numbers and slices, whose parts are loaded by it.

    Threads may share it. Steps of slices are positive.

    Parameters
    ----------
    path : Path or None
        The file, for errors.
    shape : tuple of int
        Length of each axis.
    dtype : data type
        Type of the pixels.
    """

    def __init__(self, path: Path | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        parts = _parts(index, self.shape)
        lengths = [len(part) for part in parts if isinstance(part, range)]
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        try:
            return self._load(parts)
        except ImageError:
            raise
        except Exception as error:  # damage can make a decoder stumble in any way
            raise unreadable(self.path, error) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Pixels of a file are not in memory: they must be loaded.")
        return np.asarray(self[...], dtype)

    @abstractmethod
    def _load(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        """Load what is asked for: a part for each axis, none of them empty."""


class PlaneStackArray(LazyArray):
    """Array that is put together from pieces.

    Parameters
    ----------
    path : Path or None
        The file, for errors.
    shape : tuple of int
        Length of each axis.
    dtype : data type
        Type of the pixels.
    stacked : collection of int
        Axes along which each place is a piece of its own.
    """

    def __init__(
        self,
        path: Path | None,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        stacked: Collection[int],
    ) -> None:
        super().__init__(path, shape, dtype)
        self._stacked = stacked

    @abstractmethod
    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        """Load a part of one piece: the parts of the stacked axes are numbers."""

    def _load(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        if all(isinstance(parts[axis], int) for axis in self._stacked):
            return self._piece(parts)
        kept = [axis for axis, part in enumerate(parts) if isinstance(part, range)]
        whole = np.empty([len(part) for part in parts if isinstance(part, range)], self.dtype)
        choices = [
            list(enumerate(part)) if isinstance(part, range) and axis in self._stacked
            else [(slice(None), part)]
            for axis, part in enumerate(parts)
        ]  # fmt: skip
        for chosen in itertools.product(*choices):
            places: tuple[Any, ...] = tuple(chosen[axis][0] for axis in kept)
            whole[places] = self._piece(tuple(part for _, part in chosen))
        return whole


class SubsetArray(PlaneStackArray):
    """Some places of an array along some of its axes.

    Parameters
    ----------
    data : PixelArray
        The array.
    numbers : mapping of int to sequence of int
        For an axis, the places that are left.
    path : Path or None
        The file, for errors.
    """

    def __init__(
        self, data: Any, numbers: Mapping[int, Sequence[int]], path: Path | None = None
    ) -> None:
        lengths = (len(numbers.get(axis, range(n))) for axis, n in enumerate(data.shape))
        super().__init__(path, tuple(lengths), data.dtype, numbers)
        self._data = data
        self._numbers = numbers

    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        index = tuple(
            self._numbers[axis][part] if axis in self._numbers and isinstance(part, int)
            else as_index(part)
            for axis, part in enumerate(parts)
        )  # fmt: skip
        return np.asarray(self._data[index])


class Source:
    """A file as it was when it was first looked at.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    OSError
        If there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status = path.stat()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._status.st_size

    def read(self, offsets: Sequence[int], nbytes: int) -> NDArray[np.uint8]:
        """Read runs of bytes.

        Parameters
        ----------
        offsets : sequence of int
            Where the runs begin.
        nbytes : int
            Length of each.

        Returns
        -------
        ndarray of uint8, shape (len(offsets), nbytes)
            The bytes.

        Raises
        ------
        ImageError
            If the file is another one by now, or ends before.
        OSError
            If it cannot be read.
        """
        runs = np.empty((len(offsets), nbytes), np.uint8)
        buffer, begin = runs.reshape(-1).data, 0
        with self.open() as file:
            for offset in offsets:
                file.seek(offset)
                end = begin + nbytes
                while begin < end:  # one call reads 2 GB at most
                    done = file.readinto(buffer[begin:end])
                    if not done:
                        raise self._shorter()
                    begin += done
        return runs

    @contextmanager
    def open(self) -> Iterator[FileIO]:
        """Open the file for reading, without a buffer.

        Yields
        ------
        FileIO
            The file.

        Raises
        ------
        ImageError
            If it is another one by now.
        OSError
            If it cannot be opened.
        """
        with self.path.open("rb", buffering=0) as file:
            now, then = os.fstat(file.fileno()), self._status
            if now.st_size < then.st_size:
                raise self._shorter()
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (
                then.st_ino,
                then.st_size,
                then.st_mtime_ns,
            ):
                raise ImageError(f"{self.path} changed while it was read; read it again.")
            yield file

    def _shorter(self) -> ImageError:
        return ImageError(f"{self.path} became shorter while it was read; copy or export it again.")


class RawFileArray(LazyArray):
    """Array that lies in a file as it would in memory.

    Parameters
    ----------
    source : Source
        The file.
    offset : int
        Where the array begins.
    shape : tuple of int
        Length of each axis; the last one lies most closely.
    dtype : data type
        Type of the pixels, with their byte order.

    Raises
    ------
    ValueError
        If the file ends before the array does.
    """

    def __init__(
        self, source: Source, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        super().__init__(source.path, shape, dtype)
        self._source = source
        self._offset = offset
        self._steps = [
            math.prod(shape[axis + 1 :], start=dtype.itemsize) for axis in range(self.ndim)
        ]
        # The last axis of all is never walked through, however large a pixel is.
        self._walked = sum(step >= _RUN_BYTES for step in self._steps[:-1])
        if offset + math.prod(shape) * dtype.itemsize > source.size:
            raise ValueError("the file ends before its pixels do")

    def _load(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        outer, inner = parts[: self._walked], parts[self._walked :]
        first, end = span(inner[0])
        offsets = np.array(self._offset + first * self._steps[self._walked])
        for part, step in zip(outer, self._steps, strict=False):
            offsets = np.add.outer(offsets, np.arange(*span(part))[:: _stride(part)] * step)
        nbytes = (end - first) * self._steps[self._walked]
        runs = self._source.read(offsets.ravel().tolist(), nbytes)
        shape = (*offsets.shape, end - first, *self.shape[self._walked + 1 :])
        # What was walked through is there already; of the others, lines were read whole.
        done = [slice(None) if isinstance(part, range) else 0 for part in outer]
        rest = [part if isinstance(part, int) else as_index(part) for part in inner[1:]]
        nearest = slice(None, None, _stride(inner[0])) if isinstance(inner[0], range) else 0
        pixels: NDArray[Any] = runs.view(self.dtype).reshape(shape)[(*done, nearest, *rest)]
        return pixels


def span(part: Part) -> tuple[int, int]:
    """First place of a part, and the one after its last.

    Parameters
    ----------
    part : int or range
        A part that is not empty.

    Returns
    -------
    tuple of int
        Both.
    """
    return (part, part + 1) if isinstance(part, int) else (part[0], part[-1] + 1)


def as_index(part: Part) -> int | slice:
    """Index that stands for a part.

    Parameters
    ----------
    part : int or range
        The part.

    Returns
    -------
    int or slice
        The index.
    """
    return part if isinstance(part, int) else slice(part.start, part.stop, part.step)


def unreadable(path: Path | None, error: Exception) -> ImageError:
    """Error for the user, of any error that reading has met.

    Parameters
    ----------
    path : Path or None
        The file.
    error : Exception
        The error.

    Returns
    -------
    ImageError
        What was wrong, and what to do.
    """
    name = path or "The image"
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{name} cannot be read ({error.strerror.lower()}); check the file.")
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit into memory; work on windows of it.")
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if "imagecodecs" in reason:
        return ImageError(
            f"{name} cannot be read ({reason}); install imagecodecs, or save it uncompressed."
        )
    return ImageError(
        f"{name} cannot be read ({reason}); it may be damaged, incomplete or of another kind: "
        "copy or export it again."
    )


def _parts(index: Any, shape: tuple[int, ...]) -> tuple[Part, ...]:
    """Part of each axis that an index asks for."""
    given = index if isinstance(index, tuple) else (index,)
    if Ellipsis not in given:
        given = (*given, Ellipsis)
    before = given.index(Ellipsis)
    whole = [slice(None)] * (len(shape) + 1 - len(given))
    filled = (*given[:before], *whole, *given[before + 1 :])
    parts = tuple(range(n)[part] for n, part in zip(shape, filled, strict=True))
    if any(_stride(part) < 0 for part in parts):
        raise IndexError("steps must be positive")
    return parts


def _stride(part: Part) -> int:
    return 1 if isinstance(part, int) else part.step
