"""PSF field: the point spread function at every pixel of a frame, and the blur it makes.

Light from object point j spreads by its own PSF h_j::

    n = sum_j m(j) h_j(. - j)                                    (paper, Eq. 1)

A field holds few kernels b_r and smooth coefficient maps a_r with
h_j = sum_r a_r(j) b_r, so that R convolutions do the sum::

    n = sum_r b_r * (a_r m)

Kernel 0 is the mean PSF and a_0 = 1; the other kernels are the principal
components of the PSFs about their mean. Each of those sums to zero, so that a
PSF sums to one at any rank and flux is kept.

The maps are Chebyshev series in the frame's (y, x). A lens makes a PSF that is
an analytic function of position, for which such series converge exponentially.
Light from beyond the frame spreads by the PSF at the nearest border.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_coordgate.config import GaussianLens, Lens, PSFFieldConfig
from napari_coordgate.errors import FrameMismatchError, PSFError
from napari_coordgate.geometry import Window, pixel_coordinates
from napari_coordgate.optics import psf_field_file
from napari_coordgate.optics.convolution import ProductConvolution
from napari_coordgate.optics.fitting import fit_lens, fit_measured_psfs
from napari_coordgate.optics.low_rank import sum_series
from napari_coordgate.optics.scene import as_tensor, pad_mirror, pad_mirror_adjoint, resolve_windows
from napari_coordgate.optics.width import fwhm_px

__all__ = ["PSFField"]

Array = TypeVar("Array", NDArray[Any], Tensor)
Float64 = NDArray[np.float64]

DEFAULTS = PSFFieldConfig()


class PSFField:
    """Point spread function at every pixel of a frame.

    Made by `from_lens`, `from_psfs` or `load`.

    Parameters
    ----------
    kernels : array_like, shape (R, K, K)
        Mean PSF (sum 1), then components (sum 0); K is odd.
    coefficients : array_like, shape (R, G, G)
        Chebyshev coefficients of the maps a_r over the frame's (y, x); map 0 is 1.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    pixel_size_um : float, optional
        Side of a pixel in the object, um.
    source : dict, optional
        What the field was made from, as plain JSON values.

    Raises
    ------
    PSFError
        If the shapes do not fit together, or a value cannot be.
    """

    def __init__(
        self,
        kernels: ArrayLike,
        coefficients: ArrayLike,
        frame_shape: tuple[int, int],
        pixel_size_um: float | None = None,
        source: dict[str, Any] | None = None,
    ) -> None:
        # Rounded to single precision once, so that a field and its file are equal.
        self.kernels: Float64 = np.asarray(kernels, np.float32).astype(np.float64)
        self.coefficients: Float64 = np.asarray(coefficients, np.float32).astype(np.float64)
        self.frame_shape = (int(frame_shape[0]), int(frame_shape[1]))
        self.pixel_size_um = None if pixel_size_um is None else float(pixel_size_um)
        self.source = dict(source or {})
        self._convolution = ProductConvolution(self.kernels, self.coefficients, self.frame_shape)
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < np.inf:
            raise PSFError(f"A pixel of {self.pixel_size_um} um cannot be; give its side in um.")

    @property
    def rank(self) -> int:
        """Number R of kernels, the mean PSF among them."""
        return len(self.kernels)

    @property
    def size(self) -> int:
        """Side K of a PSF, in pixels."""
        return int(self.kernels.shape[1])

    @property
    def radius(self) -> int:
        """Pixels by which light spreads beyond its own: K // 2."""
        return self._convolution.radius

    def __repr__(self) -> str:
        height, width = self.frame_shape
        return f"PSFField(frame {height}x{width}, psf {self.size}x{self.size}, rank {self.rank})"

    @classmethod
    def from_lens(
        cls,
        lens: Lens | GaussianLens,
        frame_shape: tuple[int, int],
        tolerance: float = DEFAULTS.tolerance,
        enclosed_energy: float = DEFAULTS.enclosed_energy,
        cancel: threading.Event | None = None,
    ) -> PSFField:
        """PSF field of a lens.

        Parameters
        ----------
        lens : Lens or GaussianLens
            The lens.
        frame_shape : tuple of int
            (height, width) of the frame, in pixels.
        tolerance : float
            Relative error (2-norm) of a PSF, root mean square over the frame, and
            so the one to expect of a blur against the exact sum over all PSFs.
        enclosed_energy : float
            Part of each PSF's light that its window holds.
        cancel : threading.Event, optional
            Once set, the work ends.

        Returns
        -------
        PSFField
            The field; beyond the frame a PSF stays what it is at the border.

        Raises
        ------
        PSFError
            If the PSF outgrows the frame, or varies too fast for the tolerance.
        CanceledError
            If canceled.
        """
        fit = fit_lens(lens, frame_shape, tolerance, enclosed_energy, cancel)
        source = {"lens": lens.model_dump(mode="json"), "relative_error": fit.relative_error}
        return cls(fit.kernels, fit.coefficients, frame_shape, lens.pixel_size_um, source)

    @classmethod
    def from_psfs(
        cls,
        psfs: ArrayLike,
        positions: ArrayLike,
        frame_shape: tuple[int, int],
        tolerance: float = DEFAULTS.tolerance,
        pixel_size_um: float | None = None,
    ) -> PSFField:
        """PSF field of measured PSFs.

        Between the places of measurement the PSF is interpolated smoothly;
        beyond the frame it stays what it is at the border.

        Parameters
        ----------
        psfs : array_like, shape (N, K, K)
            PSFs without background, centerd, K odd. Each is scaled to sum 1.
        positions : array_like, shape (N, 2)
            Frame pixel (row, column) of each.
        frame_shape : tuple of int
            (height, width) of the frame, in pixels.
        tolerance : float
            Relative error (2-norm) of a measured PSF at its place to aim at; the
            one reached stands in ``source["relative_error"]``, and warns if it is larger.
        pixel_size_um : float, optional
            Side of a pixel in the object, um.

        Returns
        -------
        PSFField
            The field.

        Raises
        ------
        PSFError
            If shapes do not fit, a PSF holds no light, places coincide or lie
            outside the frame, or the PSFs are larger than the frame.
        """
        fit = fit_measured_psfs(psfs, positions, frame_shape, tolerance)
        source = {"measured_psfs": len(np.asarray(psfs)), "relative_error": fit.relative_error}
        return cls(fit.kernels, fit.coefficients, frame_shape, pixel_size_um, source)

    def psf_at(self, row: float, column: float) -> Float64:
        """PSF at a place in the frame.

        Parameters
        ----------
        row, column : float
            Frame pixel; outside the frame the PSF is the one at the nearest border.

        Returns
        -------
        ndarray, shape (K, K)
            The PSF, of sum 1.
        """
        place = pixel_coordinates([[row, column]], self.frame_shape)
        weights = sum_series(self.coefficients, np.clip(place, -1, 1))[0]
        return np.tensordot(weights, self.kernels, axes=1)

    def fwhm_px(self, row: float, column: float) -> float:
        """Width of the PSF that `psf_at` tells, pixels; see `napari_coordgate.optics.fwhm_px`."""
        return float(fwhm_px(self.psf_at(row, column)))

    def blur(
        self, image: Array, *, origin: tuple[int, int] = (0, 0), window: Window | None = None
    ) -> Array:
        """Image as the lens blurs it.

        Light comes from all that the caller hands over, also from beyond the
        window or the frame; where that ends within one PSF radius of the
        window, the scene is mirrored.

        Parameters
        ----------
        image : ndarray or Tensor, shape (..., H, W)
            Sharp image of the frame or of any rectangle; computed in double
            precision where it is double, else in single. Tensors stay on their
            device, and gradients flow through.
        origin : tuple of int
            Frame pixel of the image's first one; negative where it begins before the frame.
        window : Window, optional
            Part of the frame to return; all of it when not given.

        Returns
        -------
        ndarray or Tensor, shape (..., h, w)
            Blurred image on the window.

        Raises
        ------
        FrameMismatchError
            If the image does not cover the window, or the window leaves the frame.
        """
        scene, back = as_tensor(image)
        window, region = resolve_windows(scene.shape, origin, window, self.frame_shape)
        scene = pad_mirror(scene, region, self._convolution.around(window))
        return back(self._convolution.spread(scene, [window]))

    def adjoint(
        self,
        image: Array,
        *,
        origin: tuple[int, int] = (0, 0),
        window: Window | None = None,
        region_shape: tuple[int, int] | None = None,
    ) -> Array:
        """Exact transpose of `blur`: <blur(a), b> = <a, adjoint(b)>.

        Parameters
        ----------
        image : ndarray or Tensor, shape (..., h, w)
            Image on the window.
        origin : tuple of int
            As given to `blur`.
        window : Window, optional
            As given to `blur`.
        region_shape : tuple of int, optional
            (height, width) of the image that `blur` was given; the frame's when not given.

        Returns
        -------
        ndarray or Tensor, shape (..., H, W)
            Light gathered back to where it came from.

        Raises
        ------
        FrameMismatchError
            If the image is not of the window's shape, or the window leaves the region or frame.
        """
        blurred, back = as_tensor(image)
        window, region = resolve_windows(
            region_shape or self.frame_shape, origin, window, self.frame_shape
        )
        if tuple(blurred.shape[-2:]) != window.shape:
            raise FrameMismatchError(
                f"An image of shape {tuple(blurred.shape)} is not {window}; give one of its size."
            )
        gathered = self._convolution.gather(blurred, window)
        return back(pad_mirror_adjoint(gathered, region, self._convolution.around(window)))

    def blur_scenes(self, scenes: Tensor, origins: Sequence[tuple[int, int]]) -> Tensor:
        """Blur many windows of the frame at once, each with the scene around it.

        Parameters
        ----------
        scenes : Tensor, shape (B, h + 2 * radius, w + 2 * radius)
            Sharp windows with a margin of one PSF radius.
        origins : sequence of B (int, int)
            Frame pixel of each *window's* first one, without the margin.

        Returns
        -------
        Tensor, shape (B, h, w)
            Blurred windows, on the device and in the precision of ``scenes``.
        """
        height, width = (side - 2 * self.radius for side in scenes.shape[-2:])
        windows = [Window(*origin, height, width) for origin in origins]
        around = self._convolution.around(windows[0])
        missing = (0, around.width - scenes.shape[-1], 0, around.height - scenes.shape[-2])
        return self._convolution.spread(torch.nn.functional.pad(scenes, missing), windows)

    def scene_around(self, window: Window) -> Window:
        """Rectangle of the scene that `blur` takes as it is for a window: not cut or mirrored."""
        return self._convolution.around(window)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the field as a TIFF stack: the mean PSF, then the components.

        Parameters
        ----------
        path : str or Path
            File to write, with suffix ``.tif``.
        overwrite : bool
            Replace a file of that name.

        Raises
        ------
        OutputError
            If the file exists, or cannot be written.
        """
        arrays = self.kernels, self.coefficients
        psf_field_file.write_psf_field(path, self.description(), *arrays, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> PSFField:
        """Read a field that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        PSFField
            The field, equal to the one that was saved.

        Raises
        ------
        PSFError
            If the file is missing, damaged, of a newer version, or no PSF field.
        """
        description, kernels, coefficients = psf_field_file.read_psf_field(path)
        return cls.from_description(description, kernels, coefficients, str(path))

    def description(self) -> dict[str, Any]:
        """What belongs to the field beside its two arrays, as plain JSON values."""
        return {
            "version": psf_field_file.VERSION,
            "frame_shape": list(self.frame_shape),
            "pixel_size_um": self.pixel_size_um,
            "source": self.source,
        }

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],
        kernels: ArrayLike,
        coefficients: ArrayLike,
        name: str = "PSF field",
    ) -> PSFField:
        """Field from its `description` and arrays.

        Parameters
        ----------
        description : dict
            As `description` returns it.
        kernels, coefficients : array_like
            The field's arrays.
        name : str
            Where they come from, for the error's text.

        Returns
        -------
        PSFField
            The field.

        Raises
        ------
        PSFError
            If the version is unknown, an entry is missing or the shapes do not fit.
        """
        try:
            return cls(kernels, coefficients, *psf_field_file.parse_description(description))
        except PSFError as error:
            raise PSFError(f"{name}: {error}") from None
