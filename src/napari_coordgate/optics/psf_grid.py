"""A quick look at a blur: its PSFs on a grid of places all over the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens, PSFFieldConfig
from napari_coordgate.geometry import Window, field_vectors, pixel_coordinates
from napari_coordgate.optics.psf_field import PSFField
from napari_coordgate.optics.pupil import lens_psfs, psf_size
from napari_coordgate.optics.width import fwhm_px

__all__ = ["PSFGrid"]

Float64 = NDArray[np.float64]

SIDE = 7
"""Places along each side of the frame."""


@dataclass(frozen=True, eq=False)
class PSFGrid:
    """Point spread functions on a grid of places, from border to border of a frame.

    Made by `from_lens`, which is fast enough to follow a form that is being filled
    in, or by `from_field`.

    Attributes
    ----------
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    places : ndarray of int, shape (N, 2)
        Frame pixel (row, column) of each PSF.
    psfs : ndarray, shape (N, K, K)
        The PSFs, each of sum 1; the place is at the center.
    fwhm_px : ndarray, shape (N,)
        Width of each, see `napari_coordgate.optics.fwhm_px`.
    field_radius : ndarray, shape (N,)
        Distance of each place from the optical axis; 1 at half the frame's diagonal.
    """

    frame_shape: tuple[int, int]
    places: NDArray[np.int64]
    psfs: Float64
    fwhm_px: Float64
    field_radius: Float64

    @classmethod
    def from_lens(
        cls, lens: Lens | GaussianLens, frame_shape: tuple[int, int], side: int = SIDE
    ) -> PSFGrid:
        """PSFs of a lens, without fitting a field to it.

        Parameters
        ----------
        lens : Lens or GaussianLens
            The lens.
        frame_shape : tuple of int
            (height, width) of the frame, in pixels.
        side : int
            Places along each side of the frame, two or more.

        Returns
        -------
        PSFGrid
            The PSFs, in windows as large as those of the lens's `PSFField`.

        Raises
        ------
        PSFError
            If a PSF outgrows the frame.
        """
        places = _grid(frame_shape, side)
        size = psf_size(lens, frame_shape, PSFFieldConfig().enclosed_energy)
        psfs = lens_psfs(lens, pixel_coordinates(places, frame_shape), frame_shape, size)
        return cls._of(frame_shape, places, psfs, lens.axis)

    @classmethod
    def from_field(cls, field: PSFField, side: int = SIDE) -> PSFGrid:
        """PSFs of a field.

        Parameters
        ----------
        field : PSFField
            The field.
        side : int
            Places along each side of the frame, two or more.

        Returns
        -------
        PSFGrid
            The PSFs. Where the field is not of a lens, whose axis is known, its
            axis is taken to go through the frame's middle.
        """
        places = _grid(field.frame_shape, side)
        psfs = np.stack([field.psf_at(row, column) for row, column in places])
        axis = field.source.get("lens", {}).get("axis", (0.0, 0.0))
        return cls._of(field.frame_shape, places, psfs, tuple(axis))

    @classmethod
    def _of(
        cls,
        frame_shape: tuple[int, int],
        places: NDArray[np.int64],
        psfs: Float64,
        axis: tuple[float, float],
    ) -> PSFGrid:
        """Grid with the figures of its PSFs."""
        vectors = field_vectors(pixel_coordinates(places, frame_shape), frame_shape, axis)
        radius = np.hypot(*vectors.T)
        return cls(frame_shape, places, psfs, fwhm_px(psfs), radius)

    def montage(self) -> NDArray[np.float32]:
        """Image of the frame in which each place shows its PSF.

        Each PSF is scaled to a peak of 1, so that its shape is seen however far its
        light is spread; how far, the widths tell. Where the places are closer than the
        PSFs are large, each is cropped to its part, so that none hides another.

        Returns
        -------
        ndarray, shape (H, W)
            The image, of ``frame_shape``; the border cuts the PSFs that stand on it.
        """
        frame = Window.whole(self.frame_shape)
        image = np.zeros(frame.shape, np.float32)
        radius = self.psfs.shape[-1] // 2
        reach_y, reach_x = (min(radius, _gap(along) // 2) for along in self.places.T)
        for (row, column), psf in zip(self.places.tolist(), self.psfs, strict=True):
            part = Window(row - reach_y, column - reach_x, 2 * reach_y + 1, 2 * reach_x + 1)
            shown = part.clipped(frame.shape)
            around = Window(row, column, 1, 1).expanded(radius)
            image[shown.within(frame)] = psf[shown.within(around)] / psf.max()
        return image


def _grid(frame_shape: tuple[int, int], side: int) -> NDArray[np.int64]:
    """Frame pixels (row, column) of a grid from border to border, (N, 2)."""
    along = (np.unique(np.rint(np.linspace(0, n - 1, side))).astype(int) for n in frame_shape)
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 2)


def _gap(pixels: NDArray[np.int64]) -> int:
    """Smallest number of pixels between two neighbors."""
    return int(np.diff(np.unique(pixels)).min()) - 1
