"""Protocols of the arrays that hold the pixels of an image."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class PixelArray(Protocol):
    """Array of pixels in memory, in a file or not yet computed: NumPy, dask, zarr, HDF5, ..."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        ...

    @property
    def ndim(self) -> int:
        """Number of axes."""
        ...

    def __getitem__(self, index: tuple[int | slice, ...], /) -> Any:
        """Part of the array, which ``np.asarray`` loads."""
        ...


class WritablePixelArray(PixelArray, Protocol):
    """Array of pixels that can be written to: NumPy, a memory map, zarr, ..."""

    def __setitem__(self, index: tuple[int | slice, ...], pixels: NDArray[Any], /) -> None:
        """Write a part of the array."""
        ...
