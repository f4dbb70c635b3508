"""PSFs on a grid of positions over the frame, to preview a blur."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens, PSFFieldConfig
from napari_coordgate.geometry import Window, field_vectors, pixel_coordinates
from napari_coordgate.optics.psf_field import PSFField, fwhm_px
from napari_coordgate.optics.pupil import lens_psfs, psf_size

Float64 = NDArray[np.float64]

SIDE = 7
"""Default number of positions along each side of the frame."""


@dataclass(frozen=True, eq=False)
class PSFGrid:
    """PSFs (N, K, K) of sum 1 at pixels (row, column), shape (N, 2), and their properties (N,)."""

    frame_shape: tuple[int, int]
    positions: NDArray[np.int64]
    psfs: Float64
    fwhm_px: Float64
    field_radius: Float64

    @classmethod
    def from_lens(
        cls, lens: Lens | GaussianLens, frame_shape: tuple[int, int], side: int = SIDE
    ) -> PSFGrid:
        """PSFs of a lens at side x side positions, without fitting a PSF field, which is slow."""
        positions = _grid(frame_shape, side)
        size = psf_size(lens, frame_shape, PSFFieldConfig().enclosed_energy)
        psfs = lens_psfs(lens, pixel_coordinates(positions, frame_shape), frame_shape, size)
        return cls._of(frame_shape, positions, psfs, lens.axis)

    @classmethod
    def from_psf_field(cls, psf_field: PSFField, side: int = SIDE) -> PSFGrid:
        """PSFs of a PSF field at side x side positions."""
        positions = _grid(psf_field.frame_shape, side)
        psfs = np.stack([psf_field.psf_at(row, column) for row, column in positions])
        return cls._of(psf_field.frame_shape, positions, psfs, psf_field.axis)

    @classmethod
    def _of(
        cls,
        frame_shape: tuple[int, int],
        positions: NDArray[np.int64],
        psfs: Float64,
        axis: tuple[float, float],
    ) -> PSFGrid:
        """Grid with the width and field radius of its PSFs."""
        vectors = field_vectors(pixel_coordinates(positions, frame_shape), frame_shape, axis)
        radius = np.hypot(*vectors.T)
        return cls(frame_shape, positions, psfs, fwhm_px(psfs), radius)

    def montage(self, zoom: int = 1) -> NDArray[np.float32]:
        """Image of the frame (H, W) that shows each PSF at its position, scaled to a peak of 1.

        PSFs are enlarged by ``zoom``, an odd number. Those larger than the distance of the
        positions are cropped, so that none hides another.
        """
        frame = Window.whole(self.frame_shape)
        image = np.zeros(frame.shape, np.float32)
        psfs = self.psfs.repeat(zoom, axis=1).repeat(zoom, axis=2)
        radius = psfs.shape[-1] // 2
        half_height, half_width = (min(radius, _gap(along) // 2) for along in self.positions.T)
        for (row, column), psf in zip(self.positions.tolist(), psfs, strict=True):
            part = Window(
                row - half_height, column - half_width, 2 * half_height + 1, 2 * half_width + 1
            )
            visible = part.clipped(frame.shape)
            support = Window(row, column, 1, 1).expanded(radius)
            image[visible.within(frame)] = psf[visible.within(support)] / psf.max()
        return image


def _grid(frame_shape: tuple[int, int], side: int) -> NDArray[np.int64]:
    """Frame pixels (row, column) of a grid from border to border, (N, 2)."""
    along = (np.unique(np.rint(np.linspace(0, n - 1, side))).astype(int) for n in frame_shape)
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 2)


def _gap(pixels: NDArray[np.int64]) -> int:
    """Smallest number of pixels between two neighbors."""
    return int(np.diff(np.unique(pixels)).min()) - 1
