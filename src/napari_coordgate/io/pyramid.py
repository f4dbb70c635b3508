"""Lower resolution levels of large planes, for viewers."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.normalization import convert_dtype

_MAX_SIDE = 2048
"""Planes with longer sides get another level."""


def level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes (..., H, W) of all levels, from full resolution down."""
    shapes = [shape]
    while max(shapes[-1][-2:]) > _MAX_SIDE:
        *stack, height, width = shapes[-1]
        shapes.append((*stack, -(-height // 2), -(-width // 2)))
    return shapes


def downsample(finer: Any, coarser: Any, chunk: tuple[int, int]) -> None:
    """Fill a level (..., ceil(H / 2), ceil(W / 2)) with means of 2 x 2 pixels of (..., H, W)."""
    *stack, height, width = coarser.shape
    rows, columns = chunk
    corners = itertools.product(range(0, height, rows), range(0, width, columns))
    for (top, left), plane in itertools.product(corners, np.ndindex(*stack)):
        window = slice(2 * top, 2 * (top + rows)), slice(2 * left, 2 * (left + columns))
        means = _means(np.asarray(finer[(*plane, *window)]))
        bottom, right = top + means.shape[0], left + means.shape[1]
        coarser[(*plane, slice(top, bottom), slice(left, right))] = means


def _means(pixels: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 pixels, in the type of the pixels; an odd last row or column is repeated."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    corners = (even[row::2, column::2] for row in (0, 1) for column in (0, 1))
    precision = np.result_type(pixels.dtype, np.float32)
    means = sum(np.multiply(corner, 0.25, dtype=precision) for corner in corners)
    return convert_dtype(np.asarray(means), pixels.dtype)
