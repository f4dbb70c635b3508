"""Blur by a PSF field, relative to its Fourier transforms and to the exact sum."""

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import Lens
from napari_coordgate.devices import resolve_device
from napari_coordgate.optics import PSFField

LENS = Lens(
    na=0.5,
    wavelength_nm=520,
    pixel_size_um=0.325,
    field_curvature_um=8,
    astigmatism_waves=0.5,
    coma_waves=0.5,
)
RANK = 8


def measure(
    size: int = 1024, exact_size: int = 256, rounds: int = 15, lens: Lens = LENS
) -> list[Figure]:
    """Measure the blur over its bare transforms, and the exact sum over the blur."""
    return [
        _over_transforms(field_of_rank(size, lens), rounds),
        _over_exact_sum(field_of_rank(exact_size, lens), rounds),
    ]


def _over_transforms(field: PSFField, rounds: int) -> Figure:
    size = field.frame_shape[0]
    image = torch.rand(size, size, device=resolve_device("auto"))
    side = next_fast_len(size + 2 * field.radius, real=True)
    padded = torch.rand(side, side, device=image.device)

    def transforms() -> None:
        for _ in range(field.rank):
            spectrum = torch.fft.rfft2(padded)
        _done(torch.fft.irfft2(spectrum, (side, side)))

    blur, bare = interleaved_seconds(
        lambda: _done(field.blur(image)), transforms, rounds=rounds, warm_up=2
    )
    name = f"blur of {size}x{size} at rank {field.rank}, over its bare Fourier transforms"
    return Figure(name, median_ratio(blur, bare), at_most=1.3)


def _over_exact_sum(field: PSFField, rounds: int) -> Figure:
    """Measure the speed-up over summing the PSF of every source pixel, computed in advance."""
    size = field.frame_shape[0]
    device = resolve_device("auto")
    inside = slice(field.radius, size - field.radius)
    image = torch.zeros(size, size, device=device)  # dark at the border: no mirrored light
    image[inside, inside] = torch.rand(image[inside, inside].shape, device=device)
    psfs = np.empty((field.size**2, size, size), np.float32)
    for row, column in np.ndindex(size, size):
        psfs[:, row, column] = field.psf_at(row, column).ravel()
    weights = torch.from_numpy(psfs).to(device)

    def exact_sum() -> Tensor:
        total = image.new_zeros(size + field.size - 1, size + field.size - 1)
        for (y, x), weight in zip(np.ndindex(field.size, field.size), weights, strict=True):
            total[y : y + size, x : x + size].addcmul_(image, weight)
        return total[field.radius :, field.radius :][:size, :size]

    torch.testing.assert_close(field.blur(image), exact_sum(), rtol=0, atol=1e-4)
    exact, blur = interleaved_seconds(
        lambda: _done(exact_sum()), lambda: _done(field.blur(image)), rounds=rounds, warm_up=2
    )
    name = f"exact sum of {size}x{size} PSFs of {field.size}x{field.size} pixels, over the blur"
    return Figure(name, median_ratio(exact, blur))


def field_of_rank(size: int, lens: Lens = LENS) -> PSFField:
    """Return a PSF field truncated to `RANK`, which costs what any field of this rank costs."""
    field = PSFField.from_lens(lens, (size, size), tolerance=1e-2)
    return PSFField(field.kernels[:RANK], field.coefficients[:RANK], field.frame_shape)


def _done(result: Tensor) -> None:
    """Wait for the device to finish by copying one pixel to the host."""
    result[..., 0, 0].cpu()
