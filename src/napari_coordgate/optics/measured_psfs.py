"""Measured PSFs, checked and corrected: background, centers, sizes and unusable planes.

The background of a window is separated from the wings of its PSF by their shape: around the
core, a constant plus a wing that decays like a Gaussian are fitted to the pixels. The wing also
gives the light beyond the window.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import fourier_shift, label, uniform_filter

from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import format_shape, pixel_coordinates

Float64 = NDArray[np.float64]

MIN_SHARE = 0.01
"""Share of a PSF's light below which a background is left as it is."""
CUT_WARNING, CUT_ERROR = 0.05, 0.25
"""Shares of a PSF's light beyond its window that are named, and that are refused."""
MIN_SIGNAL = 7.0
"""Light of a PSF's core, in standard deviations, below which a window is empty."""
MIN_OFFSET_PX = 0.05
"""Distance from the middle below which a PSF is centered."""
ROUNDING_PX = 0.75
"""Distance from the middle that rounding a position to pixels explains; no reason to warn."""
_ENCLOSED = 0.99
"""Share of the light inside the window that is recommended."""
_SIGNIFICANT = 4.0
"""Number of standard errors from which a background or a wing is real."""


class MeasuredPSFs(NamedTuple):
    """Corrected PSFs (N, K, K) of sum 1, at frame coordinates (N, 2).

    ``noise`` (N,) is the standard deviation of a dark pixel relative to the light of the PSF,
    ``planes`` (N,) are the numbers of the planes that are used, and ``warnings`` say what was
    corrected.
    """

    psfs: Float64
    coordinates: Float64
    noise: Float64
    planes: NDArray[np.int64]
    warnings: tuple[str, ...]

    @property
    def samples(self) -> Float64:
        """The PSFs as rows, (N, K * K)."""
        return self.psfs.reshape(len(self.psfs), -1)

    def without(self, number: int) -> "MeasuredPSFs":
        """All but one of the PSFs."""
        kept = np.arange(len(self.psfs)) != number
        psfs, coordinates = self.psfs[kept], self.coordinates[kept]
        return MeasuredPSFs(psfs, coordinates, self.noise[kept], self.planes[kept], self.warnings)


def check_measured_psfs(
    psfs: ArrayLike, positions: ArrayLike, frame_shape: tuple[int, int]
) -> MeasuredPSFs:
    """Check measured PSFs; correct what can be corrected, and leave out unusable planes."""
    stack, pixels = np.asarray(psfs), np.asarray(positions, np.float64)
    _check_shapes(stack, pixels, frame_shape)
    stack, notes = stack.astype(np.float64), _Notes()
    planes = np.arange(len(stack))
    finite = np.isfinite(stack).all(axis=(1, 2))
    planes = notes.leave_out(planes, finite, "NaN or infinite pixels")
    stack = _with_odd_side(stack[planes], notes)
    borders = [_fit_border(window) for window in stack]
    visible = np.array([border.signal >= MIN_SIGNAL for border in borders])
    kept = np.flatnonzero(visible)
    planes = notes.leave_out(planes, visible, "no light above the background and its noise")
    borders = [borders[number] for number in kept]
    stack = _subtract_background(stack[kept], borders, notes)
    _check_cut(stack, borders, planes, notes)
    coordinates = pixel_coordinates(pixels[planes], frame_shape)
    offsets = np.array([border.center for border in borders])
    stack = _center(stack, offsets, coordinates, planes, notes)
    sums = stack.sum(axis=(1, 2))
    return MeasuredPSFs(
        stack / sums[:, None, None],
        coordinates,
        np.array([border.noise for border in borders]) / sums,
        planes,
        tuple(notes.texts),
    )


@dataclass
class _Notes:
    """What is wrong with the measurements and was corrected, in sentences."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Add a sentence."""
        self.texts.append(text)

    def leave_out(
        self, planes: NDArray[np.int64], usable: NDArray[np.bool_], why: str
    ) -> NDArray[np.int64]:
        """Usable planes; the others are named. At least one has to be usable."""
        if not usable.any():
            raise PSFError(f"No PSF is usable, for {why}; give windows of bright beads.")
        if not usable.all():
            left_out = planes[~usable]
            self.add(f"Left out, for {why}: {name_planes(left_out)}.")
        return planes[usable]


def name_planes(planes: NDArray[np.int64], limit: int = 5) -> str:
    """Numbers of planes of a stack, counted from 0."""
    shown = ", ".join(str(number) for number in planes[:limit])
    more = f" and {len(planes) - limit} more" if len(planes) > limit else ""
    return f"plane{'s' if len(planes) > 1 else ''} {shown}{more} (counted from 0)"


def _check_shapes(
    stack: NDArray[np.generic], pixels: Float64, frame_shape: tuple[int, int]
) -> None:
    """Raise an error if the shapes do not fit together, or a position is not in the frame."""
    frame = f"the frame of {format_shape(frame_shape)} pixels"
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2]:
        raise PSFError(f"PSFs must have shape (N, K, K), got {stack.shape}.")
    if stack.dtype.kind not in "biuf":
        raise PSFError(f"PSFs must be real numbers, got {stack.dtype}.")
    if len(stack) == 0 or pixels.shape != (len(stack), 2):
        raise PSFError(
            f"Each PSF needs its (row, column): got {len(stack)} PSFs and positions of shape "
            f"{pixels.shape}."
        )
    if stack.shape[1] > min(frame_shape):
        raise PSFError(f"PSFs of side {stack.shape[1]} are larger than {frame}; crop them.")
    if stack.shape[1] < 5:
        raise PSFError(
            f"PSFs of side {stack.shape[1]} are too small to tell them from the background; "
            "use larger windows."
        )
    inside = (np.abs(pixel_coordinates(pixels, frame_shape)) <= 1).all(axis=1)
    if not inside.all():
        number = int(np.flatnonzero(~inside)[0])
        row, column = pixels[number]
        swapped = (np.abs(pixel_coordinates(pixels[:, ::-1], frame_shape)) <= 1).all()
        advice = "exchange row and column" if swapped else "pass (row, column) in pixels"
        raise PSFError(
            f"Position {number} (counted from 0), row {row:g} and column {column:g}, is outside "
            f"{frame}; {advice}."
        )
    if len(np.unique(pixels, axis=0)) < len(pixels):
        raise PSFError("Two PSFs have the same position; average them first.")


def _with_odd_side(stack: Float64, notes: _Notes) -> Float64:
    """Windows with a middle pixel: of even ones, the row and column far from the PSF are cut."""
    side = stack.shape[1]
    if side % 2:
        return stack
    notes.add(f"Windows of {side} pixels have no middle pixel; they are cropped to {side - 1}.")
    mean = stack.mean(axis=0)
    light = mean - np.median(_ring(mean))
    cut = []
    for axis in (0, 1):
        along = light.sum(axis=1 - axis)
        before = abs(int(along.argmax()) - side // 2)  # as if the first line was cut
        after = abs(int(along.argmax()) - (side // 2 - 1))
        cut.append(slice(1, None) if before < after else slice(None, -1))
    return stack[:, cut[0], cut[1]]


class _Border(NamedTuple):
    """Fit to the border of a window: constant background, wings of the PSF, and the core."""

    background: float
    error: float  # standard error of the background
    noise: float  # standard deviation of a pixel
    signal: float  # light of the core in standard deviations
    center: tuple[float, float]  # offset (y, x) of the PSF from the middle, in pixels


def _fit_border(window: Float64) -> _Border:
    """Separate the background of a window (K, K) from the wings of its PSF."""
    side, radius = len(window), len(window) // 2
    center, core = _find_center(window)
    radii = _radii(side, center)
    outer = radii >= max(1.5, 0.6 * radius)
    values, shapes = window[outer], _wing_shapes(radii[outer] / radius)
    brightest = float(np.abs(window - np.median(values)).max())
    inlying = np.ones(len(values), bool)
    for _ in range(3):  # without the pixels of a neighbor, or of dust
        wing = _fit_wing(values[inlying], shapes[..., inlying])
        residual = values - wing.background - wing.height * shapes[wing.shape]
        residual -= np.median(residual[inlying])
        spread = 1.4826 * np.median(np.abs(residual[inlying]))
        inlying = np.abs(residual) <= 5 * spread + 1e-9 * brightest
    noise = float(np.sqrt(np.mean(residual[inlying] ** 2)))
    inner = radii <= max(1.0, core)
    brightness = float(np.sum(window[inner] - wing.background))
    signal = brightness / (max(noise, 1e-9 * brightest, 1e-300) * math.sqrt(inner.sum()))
    return _Border(wing.background, wing.error, noise, signal, center)


def _light_beyond(window: Float64, border: _Border) -> Float64:
    """Light beyond a window (K, K) without background, and beyond K + 2, K + 4, ... pixels.

    It is that of a Gaussian fitted to the wings, if these exceed the noise.
    """
    side, radius = len(window), len(window) // 2
    radii = _radii(side, border.center)
    outer = radii >= max(1.5, 0.6 * radius)
    values, shapes = window[outer], _wing_shapes(radii[outer] / radius)[0]
    inlying = np.ones(len(values), bool)
    for _ in range(3):  # without a neighbor, as above
        power = np.sum(shapes[:, inlying] ** 2, axis=1)
        height = shapes[:, inlying] @ values[inlying] / power
        best = int(np.argmax(height * np.abs(height) * power))
        residual = np.abs(values - height[best] * shapes[best])
        inlying = residual <= 5 * 1.4826 * np.median(residual) + 1e-9 * window.max()
    if height[best] * math.sqrt(power[best]) <= _SIGNIFICANT * border.noise:
        return np.zeros(2 * side + 1)
    around = _wing_shapes(_radii(5 * side, border.center) / radius, _WIDTHS[[best]])[0, 0]
    margins = range(2 * side, -1, -1)
    within = [around[m : 5 * side - m, m : 5 * side - m].sum() for m in margins]
    return np.asarray(height[best] * (within[-1] - np.array(within)), np.float64)


class _Wing(NamedTuple):
    """Wing of a PSF on a constant background."""

    background: float
    error: float  # standard error of the background, that of the shape of the wing included
    height: float = 0.0  # at the border
    shape: tuple[int, int] = (0, 0)  # index of its shape


_WIDTHS = np.geomspace(0.15, 1.5, 41)
"""Widths of wings relative to the radius of the window."""


def _wing_shapes(radii: Float64, widths: Float64 = _WIDTHS) -> Float64:
    """Gaussian and exponential wings of W widths, (2, W, ...), 1 at radius 1."""
    widths = widths.reshape(-1, *(1 for _ in radii.shape))
    exponents = np.stack([(1 - radii**2) / (2 * widths**2), (1 - radii) / widths])
    return np.asarray(np.exp(np.minimum(exponents, 50)), np.float64)


def _fit_wing(values: Float64, shapes: Float64) -> _Wing:
    """Fit background and wing to pixels (n,), given shapes (2, W, n); significant wings count."""
    count, mean = len(values), float(values.mean())
    plain = float(np.sum((values - mean) ** 2))
    bright = shapes.mean(axis=-1)
    power = np.maximum(np.sum((shapes - bright[..., None]) ** 2, axis=-1), 1e-300)
    height = np.maximum((shapes - bright[..., None]) @ (values - mean) / power, 0)
    rest = np.maximum(plain - height**2 * power, 0)
    variance = rest / max(count - 3, 1)
    rest[height**2 * power <= _SIGNIFICANT**2 * variance] = np.inf
    found = [(family, int(rest[family].argmin())) for family in (0, 1)]
    found = [index for index in found if np.isfinite(rest[index])]
    if not found:
        return _Wing(mean, math.sqrt(plain / max(count - 1, 1) / count))
    first, best = found[0], found[-1]  # a Gaussian, unless an exponential fits clearly better
    if rest[first] <= rest[best] * (1 + 9 / count):
        best = first
    backgrounds = [mean - float(height[index] * bright[index]) for index in found]
    error = math.sqrt(variance[best] * (1 / count + bright[best] ** 2 / power[best]))
    # How a wing goes on to where it cannot be seen depends on its shape, which is not known.
    error = math.hypot(error, max(backgrounds) - min(backgrounds))
    return _Wing(mean - float(height[best] * bright[best]), error, float(height[best]), best)


def _find_center(window: Float64) -> tuple[tuple[float, float], float]:
    """Offset (y, x) of a PSF from the middle of its window, and the radius of its core, in pixels.

    The center is the centroid under a Gaussian weight of the PSF's own width, which neither the
    noise nor a neighbor at the border moves.
    """
    light = window - np.median(_ring(window))
    smooth = uniform_filter(light, 3, mode="nearest")
    regions = label(smooth > 0.5 * smooth.max())[0]
    core = regions == regions[np.unravel_index(int(smooth.argmax()), light.shape)]
    sigma = min(max(1.0, math.sqrt(core.sum() / (2 * math.pi * math.log(2)))), len(window) / 4)
    start = np.argwhere(core).mean(axis=0)
    rows, columns = np.indices(light.shape, dtype=float)
    center = start
    for _ in range(50):
        squares = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
        weights = light * np.exp(-squares / (2 * sigma**2))
        total = weights.sum()
        if total <= 0:
            center = start
            break
        shift = np.array([np.sum(weights * rows), np.sum(weights * columns)]) / total - center
        center = np.clip(center + 2 * shift, start - sigma, start + sigma)
        center = np.clip(center, 0, len(window) - 1)
        if np.abs(shift).max() < 1e-6:
            break
    y, x = (center - len(window) // 2).tolist()
    return (y, x), sigma


def _subtract_background(stack: Float64, borders: list[_Border], notes: _Notes) -> Float64:
    """Subtract the background of each window: the same for all if they agree.

    A background that is not significant, or a negligible share of the light, is left.
    """
    values = np.array([border.background for border in borders])
    errors = np.array([border.error for border in borders])
    errors = np.maximum(errors, 1e-12 * np.abs(stack).max())
    weights = errors**-2 / np.sum(errors**-2)
    mean = float(weights @ values)
    if np.mean(((values - mean) / errors) ** 2) <= 3:
        # Wings that are lost in the noise of one window appear in the mean of many.
        common = _fit_border(np.tensordot(weights, stack, axes=1))
        values, errors = np.full(len(values), common.background), np.full(len(values), common.error)
    area = stack.shape[1] ** 2
    share = values * area / (stack.sum(axis=(1, 2)) - values * area)
    if not np.any((np.abs(share) > MIN_SHARE) & (np.abs(values) > _SIGNIFICANT * errors)):
        return stack
    low, high = values.min(), values.max()
    amount = f"{low:.4g}" if np.isclose(low, high) else f"{low:.4g} to {high:.4g}"
    too_much = "; too much had been subtracted before" if high < 0 else ""
    notes.add(
        f"The windows have a background of {amount} around the PSFs, which is subtracted{too_much}."
    )
    corrected: Float64 = stack - values[:, None, None]
    return corrected


def _check_cut(
    stack: Float64, borders: list[_Border], planes: NDArray[np.int64], notes: _Notes
) -> None:
    """Name windows that cut the PSF off; raise an error if much of its light is missing."""
    beyond = np.stack([_light_beyond(*pair) for pair in zip(stack, borders, strict=True)])
    shares = beyond / (stack.sum(axis=(1, 2)) + beyond[:, 0])[:, None]
    share = shares[:, 0]
    worst = int(share.argmax())
    if share[worst] <= CUT_WARNING:
        return
    steps = int((shares.max(axis=0) > 1 - _ENCLOSED).sum())
    needed = stack.shape[1] + 2 * steps
    text = (
        f"The windows cut the PSF off: about {share[worst]:.0%} of its light in "
        f"{name_planes(planes[[worst]])} is beyond {format_shape(stack.shape[1:])} pixels; "
        f"use at least {needed} pixels."
    )
    if share[worst] > CUT_ERROR:
        raise PSFError(text)
    notes.add(text)


def _center(
    stack: Float64, offsets: Float64, coordinates: Float64, planes: NDArray[np.int64], notes: _Notes
) -> Float64:
    """Shift PSFs to the middle of their windows.

    Small offsets that are a smooth function of the position are kept: they belong to the lens.
    """
    distance = np.hypot(*offsets.T)
    if distance.max() <= MIN_OFFSET_PX or _are_smooth(offsets, coordinates):
        return stack
    farthest = int(distance.argmax())
    if distance[farthest] > stack.shape[1] / 4:
        raise PSFError(
            f"The PSF in {name_planes(planes[[farthest]])} is {distance[farthest]:.1f} pixels from "
            "the middle of its window; center the windows on the beads."
        )
    if distance[farthest] > ROUNDING_PX:
        notes.add(
            f"The PSFs are up to {distance[farthest]:.2g} pixels from the middle of their "
            "windows; they are shifted to it."
        )
    return np.stack([_shift(psf, -offset) for psf, offset in zip(stack, offsets, strict=True)])


def _are_smooth(offsets: Float64, coordinates: Float64) -> bool:
    """Whether offsets (N, 2) of less than half a pixel follow a quadratic polynomial."""
    y, x = coordinates.T
    terms = np.stack([np.ones_like(y), y, x, y * y, y * x, x * x], axis=1)
    if len(offsets) < 2 * terms.shape[1]:
        return bool(np.abs(offsets).max() <= 0.25)
    rough = offsets - terms @ np.linalg.lstsq(terms, offsets, rcond=None)[0]
    return bool(np.abs(offsets).max() <= 0.5 and np.sqrt(np.mean(rough**2)) <= MIN_OFFSET_PX)


def _shift(psf: Float64, by: Float64) -> Float64:
    """Move a PSF (K, K) by fractional pixels; what is beyond the window is dark."""
    margin = math.ceil(np.abs(by).max()) + 2
    padded = np.pad(psf, margin)
    moved = np.fft.irfft2(fourier_shift(np.fft.rfft2(padded), by, n=len(padded)), padded.shape)
    inner = slice(margin, -margin)
    return np.asarray(moved[inner, inner], np.float64)


def _ring(window: Float64) -> Float64:
    """Pixels of a window's border, one pixel wide."""
    return np.concatenate([window[0], window[-1], window[1:-1, 0], window[1:-1, -1]])


def _radii(side: int, center: tuple[float, float]) -> Float64:
    """Distance of the pixels of a window from a center (y, x) relative to the middle."""
    y, x = (np.arange(side) - side // 2 - offset for offset in center)
    radii: Float64 = np.hypot(y[:, None], x)
    return radii
