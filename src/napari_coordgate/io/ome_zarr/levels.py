"""Levels of resolution, each made of the one before it, chunk by chunk."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.normalization import convert_dtype

__all__ = ["LARGEST_SIDE", "reduce_by_two"]

LARGEST_SIDE = 2048
"""Planes up to this side need no level below them."""


def reduce_by_two(finer: Any, coarser: Any) -> None:
    """Fill a level with the means of 2 x 2 pixels of the one before.

    Parameters
    ----------
    finer : array of zarr, shape (..., H, W)
        The level before.
    coarser : array of zarr, shape (..., ceil(H / 2), ceil(W / 2))
        The level; an odd last row or column stands for itself.
    """
    *stack, height, width = coarser.shape
    *_, rows, columns = coarser.chunks
    corners = itertools.product(range(0, height, rows), range(0, width, columns))
    for (top, left), place in itertools.product(corners, np.ndindex(*stack)):
        window = slice(2 * top, 2 * (top + rows)), slice(2 * left, 2 * (left + columns))
        means = _means(np.asarray(finer[(*place, *window)]))
        bottom, right = top + means.shape[0], left + means.shape[1]
        coarser[(*place, slice(top, bottom), slice(left, right))] = means


def _means(pixels: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 pixels, in the pixels' type."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    corners = (even[row::2, column::2] for row in (0, 1) for column in (0, 1))
    precision = np.result_type(pixels.dtype, np.float32)
    means = sum(np.multiply(corner, 0.25, dtype=precision) for corner in corners)
    return convert_dtype(np.asarray(means), pixels.dtype)
