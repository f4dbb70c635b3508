"""Product convolution: a convolution whose kernel varies smoothly over the frame.

With few kernels b_r and smooth multipliers a_r over the frame, a_0 = 1, a scene m becomes

    n = sum_r b_r * (a_r m).

The multipliers are Chebyshev series in the frame's (y, x), which can be evaluated on any
window. Beyond the frame they keep their value at the border.
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

Float64 = NDArray[np.float64]

SUM_TOLERANCE = 1e-3


class ProductConvolution:
    """Low-rank spatially varying convolution over a frame, and its transpose.

    ``kernels`` (R, K, K) are the b_r with odd K; kernel 0 sums to 1, the others to 0, which
    conserves light. ``coefficients`` (R, G, G) are those of the multipliers a_r; a_0 = 1.
    ``gain`` (H, W) of the frame multiplies the blurred image.
    """

    def __init__(
        self,
        kernels: Float64,
        coefficients: Float64,
        frame_shape: tuple[int, int],
        gain: Float64 | None = None,
    ) -> None:
        _check(kernels, coefficients, frame_shape)
        self.kernels = kernels
        self.coefficients = coefficients
        self.frame_shape = frame_shape
        self.gain = gain
        # Caches of the last result; a key is the shape or window, the dtype and the device.
        self._spectra: dict[Any, Tensor] = {}
        self._pairs: dict[Any, Tensor] = {}
        self._multipliers: dict[Any, Tensor] = {}
        self._gains: dict[Any, Tensor] = {}

    @property
    def radius(self) -> int:
        """Radius of the kernels in pixels, K // 2."""
        return int(self.kernels.shape[1]) // 2

    def input_window(self, window: Window) -> Window:
        """Rectangle of the scene that `forward` needs for a window.

        It adds one radius on every side, and pads the bottom and the right to a fast FFT size;
        light from the padding does not reach the window.
        """
        y0, x0, height, width = window.expanded(self.radius)
        return Window(y0, x0, next_fast_len(height, real=True), next_fast_len(width, real=True))

    def forward(self, scene: Tensor, windows: Sequence[Window]) -> Tensor:
        """Blurred windows (..., h, w) of the scene (..., H, W) on their `input_window`.

        For one window the scene may have any leading dimensions; for B windows of one shape
        it is (B, H, W), and the result (B, h, w).
        """
        shape = scene.shape[-2:]
        multipliers, spectra = self._multipliers_on(windows, scene), self._spectra_of(shape, scene)
        total: Tensor = torch.fft.rfft2(scene) * spectra[0]
        for multiplier, spectrum in zip(multipliers.unbind(-3), spectra[1:], strict=True):
            total.addcmul_(torch.fft.rfft2(multiplier * scene), spectrum)
        # The margin and the offset of the kernels' centers are one radius each.
        first = 2 * self.radius
        height, width = windows[0].shape
        blurred: Tensor = torch.fft.irfft2(total, shape)
        blurred = blurred[..., first : first + height, first : first + width]
        return blurred if self.gain is None else blurred * self.gain_on(windows, blurred)

    def adjoint(self, image: Tensor, window: Window) -> Tensor:
        """Exact transpose of `forward`: an image (..., h, w) to a scene on the `input_window`."""
        shape = self.input_window(window).shape
        if self.gain is not None:
            image = image * self.gain_on([window], image)
        first = 2 * self.radius
        last_y, last_x = (
            side - first - inner for side, inner in zip(shape, window.shape, strict=True)
        )
        padded = torch.nn.functional.pad(image, (first, last_x, first, last_y))
        if len(self.kernels) == 1:
            spectrum = self._spectra_of(shape, image)[0].conj()
            scene: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * spectrum, shape)
            return scene
        # A Fourier transform is its own transpose. A forward complex transform handles two
        # kernels at once, b_0 + i b_1, in less time than two inverse real ones.
        pairs, multipliers = self._pairs_of(shape, image), self._multipliers_on([window], image)
        inverse = torch.fft.ifft2(padded)
        two = torch.fft.fft2(inverse * pairs[0])
        total = torch.addcmul(two.real, multipliers[0], two.imag)
        for number, pair in enumerate(pairs[1:], start=1):
            two = torch.fft.fft2(inverse * pair)
            total.addcmul_(multipliers[2 * number - 1], two.real)
            if 2 * number < len(multipliers):
                total.addcmul_(multipliers[2 * number], two.imag)
        return total

    def gain_on(self, windows: Sequence[Window], like: Tensor) -> Tensor:
        """Gain of one window (h, w), or of several of one shape (B, h, w)."""
        if len(windows) > 1:
            return torch.stack([self._gain_of(window, like) for window in windows])
        key = (windows[0], like.dtype, like.device)
        if key not in self._gains:
            self._gains = {key: self._gain_of(windows[0], like)}
        return self._gains[key]

    def _gain_of(self, window: Window, like: Tensor) -> Tensor:
        assert self.gain is not None
        pixels = self.gain[window.within(Window.whole(self.frame_shape))]
        with torch.inference_mode(False):  # cached, and used with gradients, too
            return torch.from_numpy(pixels).to(like)

    def _spectra_of(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Fourier transforms of the kernels, (R, H, W // 2 + 1); cached for the last shape."""
        key = (*shape, like.dtype, like.device)
        spectra = self._spectra.get(key)
        if spectra is None:
            with torch.inference_mode(False):  # cached, and used with gradients, too
                kernels = torch.from_numpy(self.kernels).to(like)
                spectra = torch.fft.rfft2(kernels, tuple(shape))
            self._spectra = {key: spectra}
        return spectra

    def _pairs_of(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Fourier transforms of pairs of kernels, b_0 + i b_1, ...; cached for the last shape."""
        key = (*shape, like.dtype, like.device)
        pairs = self._pairs.get(key)
        if pairs is None:
            with torch.inference_mode(False):  # as above
                kernels = torch.from_numpy(self.kernels).to(like)
                first, second = kernels[::2], kernels[1::2]
                missing = (0, 0, 0, 0, 0, len(first) - len(second))
                second = torch.nn.functional.pad(second, missing)
                pairs = torch.fft.fft2(torch.complex(first, second), tuple(shape))
            self._pairs = {key: pairs}
        return pairs

    def _multipliers_on(self, windows: Sequence[Window], like: Tensor) -> Tensor:
        """Multipliers a_1 ... on input windows; cached for the last single window."""
        if len(windows) > 1:
            return self._evaluate_multipliers(windows, like)
        key = (windows[0], like.dtype, like.device)
        multipliers = self._multipliers.get(key)
        if multipliers is None:
            with torch.inference_mode(False):  # as above
                multipliers = self._evaluate_multipliers(windows, like)[0]
            self._multipliers = {key: multipliers}
        return multipliers

    def _evaluate_multipliers(self, windows: Sequence[Window], like: Tensor) -> Tensor:
        """Multipliers a_1 ... a_(R-1) on input windows, shape (B, R - 1, H, W)."""
        input_windows = [self.input_window(window) for window in windows]
        degree = self.coefficients.shape[1] - 1
        basis = []
        for axis, frame_length in enumerate(self.frame_shape):
            coordinates = [
                coordinate_axis(window.origin[axis], window.shape[axis], frame_length)
                for window in input_windows
            ]
            values = chebyshev.chebvander(np.clip(coordinates, -1, 1), degree)
            basis.append(torch.from_numpy(values).to(like))
        in_y, in_x = basis  # (B, H, G) and (B, W, G)
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
            f"Kernels of shape {kernels.shape} and coefficients of shape {coefficients.shape} do "
            f"not form a PSF field of a frame {frame_shape}; "
            "they must be (R, K, K) with odd K, and (R, G, G)."
        )
    if not (np.isfinite(kernels).all() and np.isfinite(coefficients).all()):
        raise PSFError("The PSF field contains NaN or infinite values; create it again.")
    constant = np.zeros(coefficients.shape[1:])
    constant[0, 0] = 1
    if not np.allclose(coefficients[0], constant, atol=1e-6):
        raise PSFError("The mean PSF of the PSF field must have weight 1; create it again.")
    sums = kernels.sum(axis=(1, 2))
    if not np.allclose(sums, np.arange(len(sums)) == 0, rtol=0, atol=SUM_TOLERANCE):
        raise PSFError(
            "The kernels of the PSF field do not conserve light (sum 1, then 0); create it again."
        )
