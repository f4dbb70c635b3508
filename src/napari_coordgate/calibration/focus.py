"""The focus of a lens over the frame, from a focus series of a thin sample.

Where the lens is curved or tilted, different parts of the frame are sharpest in different planes.
The plane of best focus of each tile is that of most fine detail; over the frame it is minus the
defocus of the lens.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import OptimizeWarning, curve_fit, least_squares

from napari_coordgate.arrays import PixelArray
from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.reading import as_images, plane_positions
from napari_coordgate.config import Lens, LensCalibration
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import field_vectors, frame_coordinates
from napari_coordgate.io import Image, calibration_facts, plane_indices
from napari_coordgate.normalization import check_plane

Array = NDArray[np.float64]

PARAMETERS = ("defocus_um", "field_curvature_um", "tilt_um.y", "tilt_um.x")

_MIN_PLANES = 5
_MIN_TILES = 12
_TILES_ACROSS = 12
_MIN_TILE = 16
_FINE, _COARSE = 1.0, 3.0  # Standard deviations in pixels of the band-pass of fine detail.
_SIGNIFICANT = 5.0  # Height of a peak of detail over its scatter.
_FLOOR = 0.02  # Least error of a best focus, relative to the range of the planes.
_SYSTEMATIC = 0.02  # Relative error that the scatter of the tiles cannot show,
_OF_DEPTH = 0.05  # and that in depths of field (wavelength index / NA^2).


@dataclass(frozen=True, eq=False)
class FocusSeriesFit(LensFit):
    """Lens whose focus over the frame was measured with a focus series.

    Attributes
    ----------
    positions : ndarray, shape (N, 2)
        Frame coordinates (y, x) in [-1, 1] of the tiles that have a plane of best focus.
    best_focus_um : ndarray, shape (N,)
        Position of that plane, um.
    expected_um : ndarray, shape (N,)
        The same by the lens.
    """

    positions: Array = field(default_factory=lambda: np.zeros((0, 2)))
    best_focus_um: Array = field(default_factory=lambda: np.zeros(0))
    expected_um: Array = field(default_factory=lambda: np.zeros(0))

    def _figures(self) -> dict[str, Figure]:
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.expected_um, self.best_focus_um, "o", markersize=3)
        axes.axline((0.0, 0.0), slope=1.0, color="black", linewidth=1)
        axes.set(xlabel="best focus by the lens, um", ylabel="best focus of a tile, um")
        return {"Best focus of the tiles": figure} | super()._figures()


class _Tiles(NamedTuple):
    """Tiles of a focus series: detail in each plane (N, P), and mean terms of focus (N, 4)."""

    detail: Array
    terms: Array
    positions: Array


def calibrate_focus(
    stack: PixelArray | Image | str | Path,
    lens: Lens,
    *,
    z_um: float | Sequence[float] | None = None,
    axes: str | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> FocusSeriesFit:
    """Measure the focus of a lens over the frame with a focus series of a thin sample.

    Parameters
    ----------
    stack : array of shape (Z, H, W), Image, str or Path
        Planes of the whole frame of a flat, thin sample, at even steps through the focus of
        all parts of the frame.
    lens : Lens
        What is known: NA, wavelength, pixel size, refractive index; and the values of other
        parameters, which are held, the position of the axis among them.
    z_um : float or sequence of float, optional
        Distance of the planes, or the position of each, um; default: as the stack states.
    axes : str, optional
        Axes of the stack, as letters of TCZYX, if it does not state them.
    callback : callable, optional
        Called with each event of `calibrate_focus_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    FocusSeriesFit
        The lens with error bars. Its defocus is that of the middle plane. Unlike with images of
        one plane, the signs are known.

    Raises
    ------
    ImageError
        If there are fewer than five planes, if their distance is not known, or if too few
        parts of the frame have detail and their best focus within the stack.
    SettingsError
        If the lens has no NA.
    CanceledError
        If canceled.

    Notes
    -----
    An axis off the center cannot be told from a tilt; the axis of ``lens`` is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import Lens, PSFField, calibrate_focus
    >>> lens = Lens(na=0.3, wavelength_nm=520, pixel_size_um=0.8)
    >>> scene = np.random.default_rng(0).random((160, 160)) ** 4
    >>> planes = [
    ...     PSFField.from_lens(lens.replace(defocus_um=z), scene.shape, 0.1).blur(scene)
    ...     for z in range(-12, 13, 4)
    ... ]
    >>> fit = calibrate_focus(np.stack(planes), lens, z_um=4)
    >>> bool(abs(fit.lens.field_curvature_um) < 1)
    True
    """
    events = calibrate_focus_events(stack, lens, z_um=z_um, axes=axes, cancel=cancel)
    return run(events, callback)


def calibrate_focus_events(
    stack: PixelArray | Image | str | Path,
    lens: Lens,
    *,
    z_um: float | Sequence[float] | None = None,
    axes: str | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, FocusSeriesFit]:
    """Generator form of `calibrate_focus`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    FocusSeriesFit
        The lens with error bars.
    """
    if not isinstance(lens, Lens):
        raise SettingsError(f"lens must be a Lens with an NA, got {type(lens).__name__}.")
    image = _focus_series(stack, axes)
    z = plane_positions(image, z_um)
    indices = list(plane_indices(image))
    stopwatch, parts = Stopwatch("reading planes", len(indices)), []
    for number, index in enumerate(indices):
        raise_if_canceled(cancel, f"Stopped after {pluralize(number, 'plane')}.")
        parts.append(_fine_detail(image.plane(index), image.name))
        yield stopwatch.progress(number + 1)
    tiles = _tiles(parts, lens)
    best, error = _best_focus(tiles.detail, z)
    found = np.isfinite(best)
    if found.sum() < _MIN_TILES:
        raise ImageError(
            f"{image.name}: only {found.sum()} of {len(found)} parts of the frame have detail and "
            f"their best focus between {z.min():g} and {z.max():g} um; use a thin sample with "
            "detail all over the frame, and planes through the focus of center and corners."
        )
    return _result(image, lens, tiles, best, error)


def _focus_series(stack: PixelArray | Image | str | Path, axes: str | None) -> Image:
    """Stack of one channel and time with enough planes."""
    image = as_images(stack, axes)[0]
    lengths = dict(zip(image.axes, image.data.shape, strict=True))
    if any(lengths.get(letter, 1) > 1 for letter in "TC"):
        raise ImageError(f"{image.name} has several channels or times; select one.")
    if lengths.get("Z", 1) < _MIN_PLANES:
        raise ImageError(
            f"{image.name} has {pluralize(lengths.get('Z', 1), 'plane')}; a focus series needs at "
            f"least {_MIN_PLANES}, at known z."
        )
    if min(image.frame_shape) < 4 * _MIN_TILE:
        raise ImageError(f"{image.name} is too small; use the whole frame.")
    return image


def _fine_detail(plane: NDArray[Any], name: str) -> Array:
    """Squared fine structure (H, W) of a plane."""
    check_plane(plane, name)
    pixels = plane.astype(np.float64)
    detail: Array = (gaussian_filter(pixels, _FINE) - gaussian_filter(pixels, _COARSE)) ** 2
    return detail


def _tiles(planes: list[Array], lens: Lens) -> _Tiles:
    """Detail of each tile in each plane, and the means over its detail of the terms of focus."""
    frame_shape = planes[0].shape
    size = max(_MIN_TILE, min(frame_shape) // _TILES_ACROSS)
    rows, columns = (side // size for side in frame_shape)

    def summed(pixels: Array) -> Array:
        cut = pixels[..., : rows * size, : columns * size]
        sums: Array = cut.reshape(*pixels.shape[:-2], rows, size, columns, size).sum((-3, -1))
        return sums

    coordinates = np.moveaxis(frame_coordinates((frame_shape[0], frame_shape[1])), 0, -1)
    vectors = field_vectors(coordinates, (frame_shape[0], frame_shape[1]), lens.axis)
    y, x = coordinates[..., 0], coordinates[..., 1]
    terms = np.stack([np.ones_like(y), (vectors**2).sum(-1), y, x])
    # Only detail above the noise shows where in the tile it is.
    strength = np.max(planes, axis=0)
    strength = np.maximum(strength - np.median(strength), 1e-12 * strength.max() + 1e-300)
    total = summed(strength)
    means = (summed(terms * strength) / total).reshape(4, -1).T
    detail = np.stack([summed(plane).ravel() for plane in planes], axis=1) / size**2
    return _Tiles(detail, means, means[:, 2:])


def _best_focus(detail: Array, z: Array) -> tuple[Array, Array]:
    """Plane of most detail of each tile (N,) and its standard error; NaN without a clear peak."""
    best, error = np.full((2, len(detail)), np.nan)
    spread = float(np.ptp(z))
    for number, curve in enumerate(detail):
        scale = float(curve.max() - curve.min())
        if not scale > 0:
            continue
        start = (z[curve.argmax()], spread / 4, 1.0, 0.0)
        lower, upper = (z.min(), spread / 50, 0.1, -2.0), (z.max(), 2 * spread, 10.0, 2.0)
        try:
            values, covariance = curve_fit(
                _peak, z, (curve - curve.min()) / scale, start, bounds=(lower, upper)
            )
        except (RuntimeError, OptimizeWarning):
            continue
        center, height = values[0], values[2]
        center_error, _, height_error, _ = np.sqrt(np.diag(covariance))
        inside = z.min() + 0.02 * spread < center < z.max() - 0.02 * spread
        if inside and height > _SIGNIFICANT * height_error and center_error < 0.1 * spread:
            best[number], error[number] = center, np.hypot(center_error, _FLOOR * spread)
    return best, error


def _peak(z: Array, center: float, width: float, height: float, base: float) -> Array:
    """Detail of a tile against the position of the plane."""
    values: Array = base + height / (1.0 + ((z - center) / width) ** 2)
    return values


def _result(image: Image, lens: Lens, tiles: _Tiles, best: Array, error: Array) -> FocusSeriesFit:
    """Lens whose defocus is minus the best focus of the tiles."""
    found = np.isfinite(best)
    terms, focus, sigma = tiles.terms[found], best[found], error[found]

    def misfit(values: Array) -> Array:
        residuals: Array = (terms @ values + focus) / sigma
        return residuals

    values = least_squares(misfit, np.zeros(4), loss="soft_l1").x
    normal = (terms / sigma[:, None] ** 2).T @ terms
    if np.linalg.cond(normal) > 1e8:
        raise ImageError(
            f"{image.name}: the parts with detail do not cover the frame; use a sample with detail "
            "in its center and corners."
        )
    scatter = (1.4826 * np.median(np.abs(misfit(values)))) ** 2
    variance = np.diag(np.linalg.inv(normal)) * max(scatter, 0.25)
    curvature, tilt = abs(values[1]), float(np.hypot(*values[2:]))
    relative = _SYSTEMATIC * np.array([curvature, curvature, tilt, tilt])
    depth_um = 1e-3 * lens.wavelength_nm * lens.refractive_index / lens.na**2
    errors = np.sqrt(variance + relative**2 + (_OF_DEPTH * depth_um) ** 2)
    notes = (
        f"{found.sum()} of {len(found)} parts of the frame have their best focus in the stack.",
        "The defocus is that where z is 0: the middle plane, unless positions were given.",
        "A tilt of the focal plane may also be that of the sample, or an axis off the center.",
    )
    standard_errors = dict(zip(PARAMETERS, map(float, errors), strict=True))
    calibration = LensCalibration(
        method="focus series",
        standard_errors=standard_errors,
        date=date.today().isoformat(),
        images=image.name,
        notes=notes,
        **calibration_facts(image),
    )
    fitted = lens.replace(
        defocus_um=float(values[0]),
        field_curvature_um=float(values[1]),
        tilt_um=(float(values[2]), float(values[3])),
        calibration=calibration,
    )
    return FocusSeriesFit(
        lens=fitted,
        frame_shape=image.frame_shape,
        standard_errors=standard_errors,
        notes=notes,
        positions=tiles.positions[found],
        best_focus_um=focus,
        expected_um=-terms @ values,
    )
