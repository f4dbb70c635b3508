"""Convolution with a kernel that varies over a frame: light of each pixel spreads by its own.

With few kernels b_r and smooth maps a_r over the frame, a_0 = 1, a scene m becomes

    n = sum_r b_r * (a_r m).

The maps are Chebyshev series in the frame's (y, x), and so can be summed for
any window of it. Beyond the frame they stay what they are at the border.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import Window, coordinate_axis

__all__ = ["ProductConvolution"]

Float64 = NDArray[np.float64]

SUM_TOLERANCE = 1e-3


class ProductConvolution:
    """Low-rank convolution over a frame, and its transpose.

    Parameters
    ----------
    kernels : ndarray, shape (R, K, K)
        Kernels b_r, K odd; kernel 0 sums to 1, the others to 0, so that light is kept.
    coefficients : ndarray, shape (R, G, G)
        Chebyshev coefficients of the maps a_r over the frame's (y, x); map 0 is 1.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Raises
    ------
    PSFError
        If the shapes do not fit together, or the values make no such maps.
    """

    def __init__(
        self, kernels: Float64, coefficients: Float64, frame_shape: tuple[int, int]
    ) -> None:
        _check(kernels, coefficients, frame_shape)
        self.kernels = kernels
        self.coefficients = coefficients
        self.frame_shape = frame_shape
        self._spectra: dict[Any, Tensor] = {}
        self._pairs: dict[Any, Tensor] = {}
        self._maps: dict[Any, Tensor] = {}

    @property
    def radius(self) -> int:
        """Pixels by which light spreads beyond its own: K // 2."""
        return int(self.kernels.shape[1]) // 2

    def around(self, window: Window) -> Window:
        """Rectangle whose light is asked for to fill a window.

        It holds one radius on every side, and below and to the right what else
        makes its Fourier transform fast; that light does not reach the window.
        """
        y0, x0, height, width = window.expanded(self.radius)
        return Window(y0, x0, next_fast_len(height, real=True), next_fast_len(width, real=True))

    def spread(self, scene: Tensor, windows: Sequence[Window]) -> Tensor:
        """Light on windows, from the scene around them.

        Parameters
        ----------
        scene : Tensor, shape (..., H, W) for one window, or (B, H, W)
            Light before it spreads, on the rectangle `around` the window(s).
        windows : sequence of Window
            One window, or B of one shape.

        Returns
        -------
        Tensor, shape (..., h, w) or (B, h, w)
            Light on the window(s).
        """
        shape = scene.shape[-2:]
        maps, spectra = self._maps_on(windows, scene), self._spectra_of(shape, scene)
        total: Tensor = torch.fft.rfft2(scene) * spectra[0]
        for weights, spectrum in zip(maps.unbind(-3), spectra[1:], strict=True):
            total.addcmul_(torch.fft.rfft2(weights * scene), spectrum)
        # Kernels begin at the first pixel: light moves by a radius, on top of the margin of one.
        first = 2 * self.radius
        height, width = windows[0].shape
        light: Tensor = torch.fft.irfft2(total, shape)
        return light[..., first : first + height, first : first + width]

    def gather(self, light: Tensor, window: Window) -> Tensor:
        """Exact transpose of `spread`.

        Parameters
        ----------
        light : Tensor, shape (..., h, w)
            Light on the window.
        window : Window
            The window.

        Returns
        -------
        Tensor, shape (..., H, W)
            Light gathered back to where it came from, `around` the window.
        """
        shape = self.around(window).shape
        first = 2 * self.radius
        last_y, last_x = (
            side - first - inner for side, inner in zip(shape, window.shape, strict=True)
        )
        padded = torch.nn.functional.pad(light, (first, last_x, first, last_y))
        if len(self.kernels) == 1:
            spectrum = self._spectra_of(shape, light)[0].conj()
            alone: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * spectrum, shape)
            return alone
        # A Fourier transform is its own transpose. Forwards and complex it serves two kernels
        # at once, b_0 + i b_1, in less time than two real ones take back from spectra.
        pairs, maps = self._pairs_of(shape, light), self._maps_on([window], light)
        back = torch.fft.ifft2(padded)
        two = torch.fft.fft2(back * pairs[0])
        total = torch.addcmul(two.real, maps[0], two.imag)
        for number, pair in enumerate(pairs[1:], start=1):
            two = torch.fft.fft2(back * pair)
            total.addcmul_(maps[2 * number - 1], two.real)
            if 2 * number < len(maps):
                total.addcmul_(maps[2 * number], two.imag)
        return total

    def _spectra_of(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Fourier transforms of the kernels, kept while the same shape comes again."""
        key = (*shape, like.dtype, like.device)
        spectra = self._spectra.get(key)
        if spectra is None:
            with torch.inference_mode(False):  # to be kept, and used with gradients too
                kernels = torch.from_numpy(self.kernels).to(like)
                spectra = torch.fft.rfft2(kernels, tuple(shape))
            self._spectra = {key: spectra}
        return spectra

    def _pairs_of(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Fourier transforms of kernels two by two, b_0 + i b_1 ...; kept likewise."""
        key = (*shape, like.dtype, like.device)
        pairs = self._pairs.get(key)
        if pairs is None:
            with torch.inference_mode(False):  # as above
                kernels = torch.from_numpy(self.kernels).to(like)
                first, second = kernels[::2], kernels[1::2]
                alone = (0, 0, 0, 0, 0, len(first) - len(second))
                second = torch.nn.functional.pad(second, alone)
                pairs = torch.fft.fft2(torch.complex(first, second), tuple(shape))
            self._pairs = {key: pairs}
        return pairs

    def _maps_on(self, windows: Sequence[Window], like: Tensor) -> Tensor:
        """Maps a_1 ... around windows; those of one window are kept while it comes again."""
        if len(windows) > 1:
            return self._sum_maps(windows, like)
        key = (windows[0], like.dtype, like.device)
        maps = self._maps.get(key)
        if maps is None:
            with torch.inference_mode(False):  # as above
                maps = self._sum_maps(windows, like)[0]
            self._maps = {key: maps}
        return maps

    def _sum_maps(self, windows: Sequence[Window], like: Tensor) -> Tensor:
        """Maps a_1 ... a_(R-1) around windows, shape (B, R - 1, H, W)."""
        arounds = [self.around(window) for window in windows]
        degree = self.coefficients.shape[1] - 1
        basis = []
        for axis, frame_length in enumerate(self.frame_shape):
            places = [
                coordinate_axis(around.origin[axis], around.shape[axis], frame_length)
                for around in arounds
            ]
            values = chebyshev.chebvander(np.clip(places, -1, 1), degree)
            basis.append(torch.from_numpy(values).to(like))
        in_y, in_x = basis
        series = torch.from_numpy(self.coefficients[1:]).to(like)
        return in_y[:, None] @ series @ in_x[:, None].mT


def _check(kernels: Float64, coefficients: Float64, frame_shape: tuple[int, int]) -> None:
    if (
        kernels.ndim != 3
        or coefficients.ndim != 3
        or len(kernels) != len(coefficients)
        or kernels.shape[1] != kernels.shape[2]
        or coefficients.shape[1] != coefficients.shape[2]
        or kernels.shape[1] % 2 == 0
        or min(kernels.size, coefficients.size, *frame_shape) <= 0
    ):
        raise PSFError(
            f"Kernels of shape {kernels.shape} and coefficients of shape {coefficients.shape} "
            f"make no PSF field of a frame {frame_shape}; "
            "they must be (R, K, K) with odd K, and (R, G, G)."
        )
    if not (np.isfinite(kernels).all() and np.isfinite(coefficients).all()):
        raise PSFError("The PSF field holds NaN or infinite values; make it anew.")
    constant = np.zeros(coefficients.shape[1:])
    constant[0, 0] = 1
    if not np.allclose(coefficients[0], constant, atol=1e-6):
        raise PSFError("The PSF field's mean PSF is not weighted by 1 all over; make it anew.")
    sums = kernels.sum(axis=(1, 2))
    if not np.allclose(sums, np.arange(len(sums)) == 0, rtol=0, atol=SUM_TOLERANCE):
        raise PSFError("The PSF field's kernels do not keep light (sum 1, then 0); make it anew.")
