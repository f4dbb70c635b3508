"""What the networks are to learn: a blur that varies along a line, as a matrix (Eq. 4 and 5)."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.geometry import coordinate_axis

__all__ = [
    "LENGTH",
    "Samples",
    "convolution_matrix",
    "line_coordinates",
    "make_samples",
    "offset_and_width",
    "reachable_psnr",
]

LENGTH = 30
SAMPLES_SEED = 0
SIGNAL_VARIANCE = 1 / 12
"""Of a number that is uniform between 0 and 1."""
SWEEPS = 400

Float64 = NDArray[np.float64]


class Samples(NamedTuple):
    """Signals to train on, to stop by, and to measure on; each (samples, N)."""

    training: Tensor
    validation: Tensor
    test: Tensor


def offset_and_width(x: Float64) -> tuple[Float64, Float64]:
    """Offset and standard deviation of the Gaussian of output pixel x, pixels (Eq. 5).

    As printed, the second row's width would fall to -1; with its sign mended it runs from
    0.5 at the middle, as the first row ends, to 2 at the end.

    Parameters
    ----------
    x : ndarray
        Pixels of a line of 30.

    Returns
    -------
    offset, width : ndarray
        delta and sigma.
    """
    half = x / 15
    offset = np.where(x < 15, 1 - half, 0.0)
    width = np.where(x < 15, 0.5, 0.5 * (2 - half) + 2 * (half - 1))
    return offset, width


def convolution_matrix() -> Float64:
    """H of Eq. 5, shape (30, 30): blurred = H sharp.

    The cases of Eq. 5 are written in x, so each *row* is one Gaussian, of output pixel x; its
    center is ``offset`` pixels before x. As printed, rows do not sum to 1.
    """
    x = np.arange(LENGTH, dtype=np.float64)
    offset, width = (values[:, None] for values in offset_and_width(x))
    matrix: Float64 = np.exp(-((x[:, None] - x - offset) ** 2) / (2 * width**2))
    return matrix


def line_coordinates() -> Tensor:
    """Coordinates of the pixels, (30,), in [-1, 1]."""
    return torch.from_numpy(coordinate_axis(0, LENGTH, LENGTH)).float()


def make_samples(training: int, validation: int, test: int, low: float = 0.0) -> Samples:
    """Signals of uniform random numbers.

    Parameters
    ----------
    training, validation, test : int
        How many of each.
    low : float
        Least intensity; the greatest is 1. The paper's "normalized uniform random samples" are
        read as intensities between 0 and 1, as an image's are.

    Returns
    -------
    Samples
        The same at every call.
    """
    generator = torch.Generator().manual_seed(SAMPLES_SEED)
    drawn = torch.rand(training + validation + test, LENGTH, generator=generator)
    return Samples(*(low + (1 - low) * drawn).split([training, validation, test]))


def reachable_psnr(kernel_size: int, channels: int) -> float:
    """PSNR, dB, that no CG(1, k, c, p) can pass, whatever its gates; an LCN is c = k.

    A layer of c kernels and any gating map has, on row x, the kernel sum_a g_a(x) b_a: a
    matrix (pixels, taps) of rank c. The best one is found by alternating least squares; what
    of H lies outside of the kernel is lost. Biases are taken to mend all of the mean.

    Parameters
    ----------
    kernel_size, channels : int
        k and c.

    Returns
    -------
    float
        In dB, with a peak of 1.
    """
    matrix, radius = convolution_matrix(), kernel_size // 2
    pixel, tap = np.indices((LENGTH, kernel_size))
    source = pixel + tap - radius
    inside = (source >= 0) & (source < LENGTH)
    kernels = np.where(inside, matrix[pixel, source.clip(0, LENGTH - 1)], 0)
    lost = float(np.sum(matrix**2) - np.sum(kernels**2))
    left = 0.0 if channels >= kernel_size else _low_rank_error(kernels, inside, channels)
    return float(-10 * np.log10((lost + left) * SIGNAL_VARIANCE / LENGTH))


def _low_rank_error(wanted: Float64, known: NDArray[np.bool_], rank: int) -> float:
    """Squared error of the best matrix of some rank, where entries are known."""
    gates, basis = np.empty((len(wanted), rank)), np.linalg.svd(wanted)[2][:rank]
    for _ in range(SWEEPS):
        for row, there in enumerate(known):
            gates[row] = np.linalg.lstsq(basis[:, there].T, wanted[row, there], rcond=None)[0]
        for tap, there in enumerate(known.T):
            basis[:, tap] = np.linalg.lstsq(gates[there], wanted[there, tap], rcond=None)[0]
    return float(np.sum(((wanted - gates @ basis) * known) ** 2))
