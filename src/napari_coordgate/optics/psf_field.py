"""PSF field: the point spread function at every pixel of a frame, and the blur it makes.

Light from object point j spreads by its own PSF h_j::

    n = sum_j m(j) h_j(. - j)                                    (paper, Eq. 1)

A PSF field consists of few kernels b_r and smooth multipliers a_r with h_j = sum_r a_r(j) b_r,
so that R convolutions compute the sum::

    n = sum_r b_r * (a_r m)

Kernel 0 is the mean PSF and a_0 = 1; the other kernels are the principal components of the
PSFs about their mean. Each of those sums to zero, so that a PSF sums to one at any rank. If the
flat field is known, the gain of each camera pixel, the sum is multiplied by it.

The multipliers are Chebyshev series in the frame's (y, x). The PSF of a lens is an analytic
function of position, for which such series converge exponentially. Light from beyond the
frame spreads by the PSF at the nearest border.
"""

from __future__ import annotations

import reprlib
import threading
import warnings
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_coordgate.config import Device, GaussianLens, Lens, PSFFieldConfig, load_lens
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import MeasuredPSFWarning, PSFError, SettingsError, ToleranceWarning
from napari_coordgate.geometry import Window, as_window, format_shape, pixel_coordinates
from napari_coordgate.optics import psf_field_file
from napari_coordgate.optics.convolution import ProductConvolution
from napari_coordgate.optics.fitting import fit_lens
from napari_coordgate.optics.flat_field import as_series, gain_of, gain_series
from napari_coordgate.optics.low_rank import sum_series
from napari_coordgate.optics.measured_fit import MeasuredFit, fit_measured_psfs
from napari_coordgate.optics.operator import BlurOperator
from napari_coordgate.optics.padding import as_tensor, resolve_windows
from napari_coordgate.optics.psf_plot import plot_psfs
from napari_coordgate.representation import html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = TypeVar("Array", NDArray[Any], Tensor)
Float64 = NDArray[np.float64]

DEFAULTS = PSFFieldConfig()
_MAX_PLOT_SIDE = 15


def as_psf_field(psf_field: PSFField | str | Path) -> PSFField:
    """PSF field that is given as such, or by the path of its file."""
    if isinstance(psf_field, PSFField):
        return psf_field
    if isinstance(psf_field, str | Path):
        return PSFField.load(psf_field)
    raise PSFError(
        f"Expected a PSF field, got {type(psf_field).__name__}; pass a PSFField, e.g. "
        "PSFField.from_lens(lens, frame_shape), or the file of one."
    )


def fwhm_px(psfs: Float64) -> Float64:
    """Full width at half maximum, in pixels, of Gaussians equivalent to PSFs (..., K, K) of sum 1.

    The Gaussian has the same noise-equivalent area, 1 / sum(psf^2), as the PSF.
    """
    area = 1 / np.sum(np.square(psfs), axis=(-2, -1))
    widths: Float64 = 2 * np.sqrt(np.log(2) * area / (2 * np.pi))
    return widths


class PSFField:
    """Point spread function at every pixel of a frame, and the blur it makes.

    Create it with `from_lens`, `from_psfs` or `load`.

    Parameters
    ----------
    kernels : array_like, shape (R, K, K)
        Mean PSF (sum 1), then components (sum 0); K is odd.
    coefficients : array_like, shape (R, G, G)
        Chebyshev coefficients of the multipliers a_r over the frame's (y, x); multiplier 0 is 1.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    pixel_size_um : float, optional
        Side of a pixel in the object, in um.
    axis : tuple of float
        Frame coordinates (y, x) of the optical axis, in [-1, 1] within the frame.
    source : dict, optional
        Provenance, as plain JSON values.
    flat_field : array_like, shape (F, F), optional
        Chebyshev coefficients of the gain of each pixel, see `with_flat_field`.

    Raises
    ------
    PSFError
        If the shapes do not fit together, or a value is invalid.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing Spatially-Varying
    Convolutions in Convolutional Neural Networks", Eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField
    >>> psf_field = PSFField.from_lens(GaussianLens(sigma_edge_px=2.0), (64, 64))
    >>> psf_field.blur(np.eye(64)).shape
    (64, 64)
    >>> bool(psf_field.fwhm_px(0, 0) > psf_field.fwhm_px(32, 32))
    True
    """

    def __init__(
        self,
        kernels: ArrayLike,
        coefficients: ArrayLike,
        frame_shape: tuple[int, int],
        pixel_size_um: float | None = None,
        axis: tuple[float, float] = (0.0, 0.0),
        source: dict[str, Any] | None = None,
        flat_field: ArrayLike | None = None,
    ) -> None:
        # Rounded to single precision once, so that a PSF field and its file are equal.
        self.kernels: Float64 = np.asarray(kernels, np.float32).astype(np.float64)
        self.coefficients: Float64 = np.asarray(coefficients, np.float32).astype(np.float64)
        self.frame_shape = (int(frame_shape[0]), int(frame_shape[1]))
        self.pixel_size_um = None if pixel_size_um is None else float(pixel_size_um)
        self.axis = (float(axis[0]), float(axis[1]))
        self.source = dict(source or {})
        self.flat_field = None if flat_field is None else as_series(flat_field)
        self._convolution = self._build_convolution()
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < np.inf:
            raise PSFError(f"pixel_size_um must be positive, got {self.pixel_size_um}.")
        if not np.isfinite(self.axis).all():
            raise PSFError(f"The optical axis must be two finite coordinates, got {self.axis}.")

    @property
    def rank(self) -> int:
        """Number R of kernels, including the mean PSF."""
        return len(self.kernels)

    @property
    def size(self) -> int:
        """Side K of a PSF, in pixels."""
        return int(self.kernels.shape[1])

    @property
    def radius(self) -> int:
        """Radius of a PSF in pixels, K // 2."""
        return self._convolution.radius

    def __repr__(self) -> str:
        frame = format_shape(self.frame_shape)
        return f"PSFField(frame {frame}, psf {self.size}x{self.size}, rank {self.rank})"

    def _repr_html_(self) -> str:
        height, width = self.frame_shape
        middle = self.fwhm_px((height - 1) / 2, (width - 1) / 2)
        corners = [self.fwhm_px(y, x) for y in (0, height - 1) for x in (0, width - 1)]
        rows = {
            "frame": f"{format_shape(self.frame_shape)} pixels",
            "pixel size": self.pixel_size_um and f"{self.pixel_size_um:g} µm",
            "PSF": f"{self.size}x{self.size} pixels, rank {self.rank}",
            "FWHM in the middle": f"{middle:.2f} px",
            "FWHM in the corners": f"{min(corners):.2f} to {max(corners):.2f} px",
            "flat field": None if self.gain is None else "yes",
            "source": ", ".join(self.source) or None,
        }
        return html_table("PSFField", rows)

    @classmethod
    def from_lens(
        cls,
        lens: Lens | GaussianLens | str | Path,
        frame_shape: tuple[int, int],
        tolerance: float = DEFAULTS.tolerance,
        enclosed_energy: float = DEFAULTS.enclosed_energy,
        cancel: threading.Event | None = None,
    ) -> PSFField:
        """PSF field of a lens.

        Parameters
        ----------
        lens : Lens, GaussianLens, str or Path
            The lens, or the YAML file of one.
        frame_shape : tuple of int
            (height, width) of the frame, in pixels.
        tolerance : float
            Relative error (2-norm) of a PSF, root mean square over the frame.
        enclosed_energy : float
            Fraction of the light of each PSF inside its K x K pixels.
        cancel : threading.Event, optional
            Set it to cancel the computation.

        Returns
        -------
        PSFField
            The PSF field; beyond the frame, the PSF is that at the nearest border.

        Raises
        ------
        PSFError
            If the PSF is larger than the frame, or varies too fast for the tolerance; if there
            is no lens or the frame is not two positive integers.
        SettingsError
            If the tolerance or the enclosed energy is out of range, or the file of the lens
            cannot be read.
        CanceledError
            If canceled.
        """
        lens, frame_shape = _as_lens(lens), _check_frame_shape(frame_shape)
        PSFFieldConfig(tolerance=tolerance, enclosed_energy=enclosed_energy)  # raises if invalid
        fit = fit_lens(lens, frame_shape, tolerance, enclosed_energy, cancel)
        source = {"lens": lens.model_dump(mode="json"), "relative_error": fit.relative_error}
        return cls(*fit.arrays, frame_shape, lens.pixel_size_um, lens.axis, source)

    @classmethod
    def from_psfs(
        cls,
        psfs: ArrayLike,
        positions: ArrayLike,
        frame_shape: tuple[int, int],
        tolerance: float = DEFAULTS.tolerance,
        pixel_size_um: float | None = None,
        axis: tuple[float, float] = (0.0, 0.0),
    ) -> PSFField:
        """PSF field of measured PSFs, for example of beads.

        The PSF is a smooth function of the position, nowhere negative, in which noise is averaged
        and which has no more kernels than exceed the noise. Beyond the frame it is that at the
        nearest border.

        Parameters
        ----------
        psfs : array_like, shape (N, K, K)
            Windows around beads. A background is subtracted, PSFs are centered and scaled to sum
            1, even windows are cropped, and unusable planes left out.
        positions : array_like, shape (N, 2)
            Frame pixel (row, column) of each.
        frame_shape : tuple of int
            (height, width) of the frame, in pixels.
        tolerance : float
            Target for the relative error (2-norm) of a PSF. The error reached is
            ``source["relative_error"]``: that of PSFs left out of the fit, without their own
            noise, as it is over the frame; None for a single PSF.
        pixel_size_um : float, optional
            Side of a pixel in the object, in um.
        axis : tuple of float
            Frame coordinates (y, x) of the optical axis.

        Returns
        -------
        PSFField
            The PSF field.

        Raises
        ------
        PSFError
            If shapes do not fit, no PSF contains light, windows cut the PSF off or are not around
            the PSFs, positions coincide or are outside the frame, or the PSFs are larger than
            the frame.
        SettingsError
            If the tolerance is out of range.

        Warns
        -----
        MeasuredPSFWarning
            For each correction, for PSFs that are left out, and for a single PSF. The texts are
            kept in ``source["warnings"]``.
        ToleranceWarning
            If the error is above the tolerance.
        """
        frame_shape = _check_frame_shape(frame_shape)
        PSFFieldConfig(tolerance=tolerance)  # raises if invalid
        fit = fit_measured_psfs(psfs, positions, frame_shape, tolerance)
        source: dict[str, Any] = {
            "measured_psfs": fit.num_used,
            "relative_error": fit.relative_error,
        }
        if fit.warnings:
            source["warnings"] = list(fit.warnings)
        field = cls(fit.kernels, fit.coefficients, frame_shape, pixel_size_um, axis, source)
        _warn(fit, tolerance)
        return field

    def with_flat_field(self, gain: ArrayLike | None) -> PSFField:
        """PSF field of a camera whose pixels do not all see the same light.

        Parameters
        ----------
        gain : array_like, shape (H, W), or None
            Relative brightness of each pixel of the frame for equal light, as
            `estimate_flat_field` measures it; it is smoothed and scaled to mean 1. None for none.

        Returns
        -------
        PSFField
            The PSF field; its blur is multiplied by the gain.

        Raises
        ------
        PSFError
            If the gain does not have the shape of the frame, or is not positive.
        """
        series = None if gain is None else gain_series(gain, self.frame_shape)
        common = self.frame_shape, self.pixel_size_um, self.axis, self.source
        return PSFField(self.kernels, self.coefficients, *common, series)

    @property
    def gain(self) -> Float64 | None:
        """Gain (H, W) of each pixel of the frame; None without a flat field."""
        return self._convolution.gain

    def with_mean_psf(self) -> PSFField:
        """PSF field with the mean PSF at every pixel."""
        return PSFField(
            self.kernels[:1],
            self.coefficients[:1],
            self.frame_shape,
            self.pixel_size_um,
            self.axis,
            self.source,
            self.flat_field,
        )

    def _build_convolution(self) -> ProductConvolution:
        gain = None if self.flat_field is None else gain_of(self.flat_field, self.frame_shape)
        return ProductConvolution(self.kernels, self.coefficients, self.frame_shape, gain)

    def psf_at(self, row: float, column: float) -> Float64:
        """PSF (K, K) of sum 1 at a frame pixel; outside the frame, that at the nearest border."""
        coordinates = pixel_coordinates([[row, column]], self.frame_shape)
        weights = sum_series(self.coefficients, np.clip(coordinates, -1, 1))[0]
        return np.tensordot(weights, self.kernels, axes=1)

    def fwhm_px(self, row: float, column: float) -> float:
        """Full width at half maximum of the PSF at a frame pixel, in pixels.

        It is that of the Gaussian with the same noise-equivalent area.
        """
        return float(fwhm_px(self.psf_at(row, column)))

    def plot(self, side: int = 5) -> Figure:
        """Figure of the PSFs on a grid over the frame, from corner to corner.

        Parameters
        ----------
        side : int
            Number of PSFs along each side of the frame, 1 to 15; 1 is the middle of the frame.

        Returns
        -------
        matplotlib.figure.Figure
            PSFs, each scaled to its own maximum, with their full widths at half maximum. Notebooks
            show it; ``figure.savefig("psfs.png")`` writes it.

        Raises
        ------
        SettingsError
            If there are too few or too many positions.

        Examples
        --------
        >>> from napari_coordgate import GaussianLens, PSFField
        >>> figure = PSFField.from_lens(GaussianLens(), (48, 64)).plot(side=3)
        >>> len(figure.axes)
        9
        """
        if not 1 <= side <= _MAX_PLOT_SIDE:
            raise SettingsError(f"side must be 1 to {_MAX_PLOT_SIDE}, got {side}.")
        rows, columns = (
            np.linspace(0, n - 1, side) if side > 1 else np.array([(n - 1) / 2])
            for n in self.frame_shape
        )
        psfs = np.array([[self.psf_at(row, column) for column in columns] for row in rows])
        return plot_psfs(psfs, rows, columns, fwhm_px(psfs), self.pixel_size_um)

    def operator(
        self,
        window: Window | None = None,
        *,
        scene_window: Window | None = None,
        device: Device | torch.device = "auto",
    ) -> BlurOperator:
        """Blur as a PyTorch module with an exact transpose, e.g. for unrolled networks.

        Parameters
        ----------
        window : Window, optional
            Part of the frame that the blurred image shows; default the whole frame.
        scene_window : Window, optional
            Rectangle that the sharp scene covers; default ``window``. Where it ends within one
            PSF radius of the window, the scene is mirrored. With
            ``psf_field.input_window(window)`` nothing is mirrored.
        device : {"auto", "cpu", "cuda", "mps"} or torch.device
            Device for tensors that the operator itself creates. The blur is computed on
            the device of its input.

        Returns
        -------
        BlurOperator
            Module with ``forward(scene)`` and ``adjoint(image)``, both batched (..., H, W)
            and differentiable.

        Raises
        ------
        FrameMismatchError
            If the window is not inside the frame or not inside the scene window.
        SettingsError
            If the device is not available.

        Examples
        --------
        >>> import torch
        >>> from napari_coordgate import GaussianLens, PSFField
        >>> blur = PSFField.from_lens(GaussianLens(), (32, 48)).operator(device="cpu")
        >>> sharp = torch.rand(4, 1, 32, 48, dtype=torch.float64)
        >>> blurred = blur(sharp)
        >>> torch.allclose((blurred**2).sum(), (sharp * blur.adjoint(blurred)).sum())
        True
        """
        window = as_window(window or Window.whole(self.frame_shape))
        scene_window = as_window(scene_window or window)
        if not isinstance(device, torch.device):
            device = resolve_device(device)
        return BlurOperator(self._build_convolution(), window, scene_window, device)

    def blur(
        self, image: Array, *, origin: tuple[int, int] = (0, 0), window: Window | None = None
    ) -> Array:
        """Blur an image with the PSF of each pixel.

        Pixels beyond the window or the frame contribute light as well; where the image ends
        within one PSF radius of the window, it is mirrored.

        Parameters
        ----------
        image : ndarray or Tensor, shape (..., H, W)
            Sharp image of the frame or of any rectangle. The result is in double precision if
            the image is, else in single precision. Tensors stay on their device and keep gradients.
        origin : tuple of int
            Frame pixel (y, x) of the image's first pixel; may be negative.
        window : Window, optional
            Part of the frame to return; default the whole frame.

        Returns
        -------
        ndarray or Tensor, shape (..., h, w)
            Blurred image on the window.

        Raises
        ------
        FrameMismatchError
            If the image does not cover the window, or the window is not inside the frame.
        """
        scene, back = as_tensor(image)
        window, region = resolve_windows(scene.shape, origin, window, self.frame_shape)
        return back(BlurOperator(self._convolution, window, region, scene.device)(scene))

    def adjoint(
        self,
        image: Array,
        *,
        origin: tuple[int, int] = (0, 0),
        window: Window | None = None,
        scene_shape: tuple[int, int] | None = None,
    ) -> Array:
        """Exact transpose of `blur`: <blur(a), b> = <a, adjoint(b)>.

        Parameters
        ----------
        image : ndarray or Tensor, shape (..., h, w)
            Image on the window.
        origin, window
            As passed to `blur`.
        scene_shape : tuple of int, optional
            (height, width) of the image passed to `blur`; default the frame's.

        Returns
        -------
        ndarray or Tensor, shape (..., H, W)
            Adjoint blur of the image.

        Raises
        ------
        FrameMismatchError
            If the image does not have the shape of the window, or the window is not inside the
            scene or the frame.
        """
        blurred, back = as_tensor(image)
        window, region = resolve_windows(
            scene_shape or self.frame_shape, origin, window, self.frame_shape
        )
        operator = BlurOperator(self._convolution, window, region, blurred.device)
        return back(operator.adjoint(blurred))

    def blur_patches(self, scenes: Tensor, origins: Sequence[tuple[int, int]]) -> Tensor:
        """Blur patches at different positions of the frame as one batch (B, h, w).

        The scenes (B, h + 2 radius, w + 2 radius) have a margin of one PSF radius; the origins
        are the first frame pixel (y, x) of each patch without its margin.
        """
        height, width = (side - 2 * self.radius for side in scenes.shape[-2:])
        windows = [Window(*origin, height, width) for origin in origins]
        needed = self._convolution.input_window(windows[0])
        missing = (0, needed.width - scenes.shape[-1], 0, needed.height - scenes.shape[-2])
        return self._convolution.forward(torch.nn.functional.pad(scenes, missing), windows)

    def input_window(self, window: Window) -> Window:
        """Rectangle of the scene from which `blur` computes a window without mirroring."""
        return self._convolution.input_window(as_window(window))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the PSF field as a TIFF stack: the mean PSF, then the components.

        Parameters
        ----------
        path : str or Path
            File to write, with suffix ``.tif``.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists, or cannot be written.
        """
        arrays = self.kernels, self.coefficients
        psf_field_file.write_psf_field(path, self.description(), *arrays, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> PSFField:
        """Read a PSF field that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        PSFField
            The PSF field, equal to the saved one.

        Raises
        ------
        PSFError
            If the file is missing, damaged, of a newer version, or not a PSF field.
        """
        description, kernels, coefficients = psf_field_file.read_psf_field(path)
        return cls.from_description(description, kernels, coefficients, str(path))

    def description(self) -> dict[str, Any]:
        """All but the two arrays, as plain JSON values."""
        return {
            "version": psf_field_file.VERSION,
            "frame_shape": list(self.frame_shape),
            "pixel_size_um": self.pixel_size_um,
            "axis": list(self.axis),
            "source": self.source,
            **({} if self.flat_field is None else {"flat_field": self.flat_field.tolist()}),
        }

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],
        kernels: ArrayLike,
        coefficients: ArrayLike,
        name: str = "PSF field",
    ) -> PSFField:
        """PSF field from its `description` and arrays; ``name`` is for error messages."""
        try:
            return cls(kernels, coefficients, **psf_field_file.parse_description(description))
        except PSFError as error:
            raise PSFError(f"{name}: {error}") from None


def _warn(fit: MeasuredFit, tolerance: float) -> None:
    """Issue warnings about measured PSFs to the caller of `PSFField.from_psfs`."""
    for text in fit.warnings:
        warnings.warn(text, MeasuredPSFWarning, stacklevel=3)
    if fit.relative_error is not None and fit.relative_error > tolerance:
        warnings.warn(
            f"The PSF field has an error of {fit.relative_error:.1e}, by PSFs left out of its fit, "
            f"above the tolerance of {tolerance:g}; more or brighter PSFs reduce it.",
            ToleranceWarning,
            stacklevel=3,
        )


def _as_lens(lens: Lens | GaussianLens | str | Path) -> Lens | GaussianLens:
    """Lens that is given as such, or by the path of its YAML file."""
    if isinstance(lens, Lens | GaussianLens):
        return lens
    if isinstance(lens, str | Path):
        return load_lens(lens)
    raise PSFError(
        f"Expected a lens, got {type(lens).__name__}; pass a Lens, a GaussianLens or the YAML file "
        "of one, or use PSFField.from_psfs for measured PSFs."
    )


def _check_frame_shape(frame_shape: tuple[int, int]) -> tuple[int, int]:
    """Frame shape, if it is two positive integers."""
    try:
        height, width = map(index, frame_shape)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise PSFError(
            f"frame_shape must be two positive integers, got {reprlib.repr(frame_shape)}; pass the "
            "(height, width) of the frame in pixels."
        )
    return height, width
