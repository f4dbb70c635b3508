"""What serves as the pixels of an image, and as a place to write some to."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["PixelArray", "PixelTarget"]


class PixelArray(Protocol):
    """Pixels in memory, in a file or not yet computed: an array of NumPy, dask, zarr, HDF5 ..."""

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


class PixelTarget(PixelArray, Protocol):
    """Pixels that can be written: an array of NumPy, a memory map, an array of zarr ..."""

    def __setitem__(self, index: tuple[int | slice, ...], pixels: NDArray[Any], /) -> None:
        """Write a part."""
        ...
