"""How far fields of one sample are shifted: from the user or the stage, refined by registration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from napari_coordgate.calibration.shifted_tiles import Plane, overlap
from napari_coordgate.calibration.spectra import Array
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image

_FINE_PX, _COARSE_PX = 1.5, 12.0  # Detail that is registered.
_MAX_SIDE = 512  # Of images that are searched for any shift.
_MIN_CORRELATION = 0.25
_MIN_OVERLAP = 0.2  # Fraction of the frame that two fields have to share.
_MIN_SHIFT = 1.0 / 20.0  # Of the shorter side: less tells nothing about the lens.
_MAX_ERROR_PX = 40.0  # Of shifts that were given, and of the stage.
_UPSAMPLING = 20
_ORIENTATIONS = tuple(
    np.array(flip) * np.eye(2)[list(order)]
    for order in ((0, 1), (1, 0))
    for flip in itertools.product((1.0, -1.0), repeat=2)
)
"""Directions of the axes of the stage along those of the image."""


@dataclass(frozen=True, eq=False)
class Field:
    """One image of the sample: its pixels, its name, and where the stage was (y, x), um."""

    plane: Plane
    name: str
    stage_um: Array | None


def field_shifts(fields: Sequence[Field], image: Image, given: Array | None) -> Array:
    """Shift (N, 2) in pixels of the content of each field against the first, which is 0.

    Raises ImageError if a field cannot be registered, or shows the same part as the first.
    """
    details = [_detail(field.plane) for field in fields]
    stage = None if given is not None else _stage_px(fields, image)
    if given is not None:
        rough = np.concatenate([np.zeros((1, 2)), given])
    elif stage is not None:
        rough = _oriented(details, stage)
    else:
        rough = _registered(details)
    shifts = np.zeros_like(rough)
    for number, field in enumerate(fields[1:], 1):
        shifts[number], correlation = refined_shift(details[0], details[number], rough[number])
        _check_shift(shifts[number], correlation, (fields[0], field), given is not None)
    return shifts


def given_shifts(
    shifts_px: ArrayLike | None, shifts_um: ArrayLike | None, pixel_size_um: float, number: int
) -> Array | None:
    """Shifts (N - 1, 2) in pixels that were given, checked."""
    if shifts_px is None and shifts_um is None:
        return None
    if shifts_px is not None and shifts_um is not None:
        raise SettingsError("Give the shifts in pixels (shifts_px) or in um (shifts_um), not both.")
    try:
        shifts = np.asarray(shifts_um if shifts_px is None else shifts_px, np.float64)
    except (TypeError, ValueError):
        shifts = np.full(0, np.nan)
    if shifts.ndim == 1 and shifts.size == 2:
        shifts = shifts[None]
    if shifts.shape != (number - 1, 2) or not np.isfinite(shifts).all():
        raise SettingsError(
            f"The shifts of {number} images must be {number - 1} pairs (y, x), one for each image "
            "after the first: how far the content of the first image moved."
        )
    return shifts / (pixel_size_um if shifts_px is None else 1.0)


def refined_shift(first: Plane, second: Plane, shift_px: Array) -> tuple[Array, float]:
    """Shift to a fraction of a pixel, near a rough one, and the correlation of the overlap."""
    rough = np.asarray(shift_px, np.float64)
    shift = rough
    for _ in range(3):
        parts = _overlapping(first, second, shift)
        if parts is None:
            break
        moved = -phase_cross_correlation(*parts, upsample_factor=_UPSAMPLING, normalization=None)[0]
        shift = np.rint(shift) + moved
        if np.abs(moved).max() <= 1.0:
            break
    if np.abs(shift - rough).max() > _MAX_ERROR_PX:
        shift = rough
    parts = _overlapping(first, second, shift)
    return shift, 0.0 if parts is None else _correlation(*parts)


def _overlapping(first: Plane, second: Plane, shift_px: Array) -> tuple[Plane, Plane] | None:
    """What both planes show, if it is large enough."""
    shape = (first.shape[0], first.shape[1])
    windows = overlap(shape, shift_px)
    if windows[0].height * windows[0].width < _MIN_OVERLAP * shape[0] * shape[1]:
        return None
    whole = Window.whole(shape)
    return first[windows[0].within(whole)], second[windows[1].within(whole)]


def _correlation(first: Plane, second: Plane) -> float:
    scale = float(np.sqrt(np.sum(first**2) * np.sum(second**2)))
    return float(np.sum(first * second)) / max(scale, 1e-300)


def _detail(plane: Plane) -> Plane:
    """Structure of a plane between two scales."""
    fine, coarse = (gaussian_filter(plane, scale) for scale in (_FINE_PX, _COARSE_PX))
    detail: Plane = fine - coarse
    return detail


def _registered(details: Sequence[Plane]) -> Array:
    """Rough shifts (N, 2) from the images alone."""
    step = -(-max(details[0].shape) // _MAX_SIDE)
    small = [gaussian_filter(plane, step / 2.0)[::step, ::step] for plane in details]
    everywhere = np.ones(small[0].shape, bool)
    shifts = [np.zeros(2)]
    for plane in small[1:]:
        moved = phase_cross_correlation(
            small[0],
            plane,
            reference_mask=everywhere,
            moving_mask=everywhere,
            overlap_ratio=_MIN_OVERLAP,
        )[0]
        shifts.append(-step * np.asarray(moved, np.float64))
    return np.stack(shifts)


def _stage_px(fields: Sequence[Field], image: Image) -> Array | None:
    """Positions (N, 2) of the stage in pixels against the first; None if any is not stated."""
    if image.pixel_size_um is None or any(field.stage_um is None for field in fields):
        return None
    positions = np.array([field.stage_um for field in fields]) / image.pixel_size_um
    positions -= positions[0]
    return positions if np.abs(positions[1:]).max(axis=1).min() > 1.0 else None


def _oriented(details: Sequence[Plane], stage_px: Array) -> Array:
    """Shifts (N, 2) of the orientation of the stage that aligns the images best."""
    best, highest = stage_px, -np.inf
    for orientation in _ORIENTATIONS:
        shifts = stage_px @ orientation.T
        total = sum(
            refined_shift(details[0], detail, shift)[1]
            for detail, shift in zip(details[1:], shifts[1:], strict=True)
        )
        if total > highest:
            best, highest = shifts, total
    return best


def _check_shift(
    shift: Array, correlation: float, fields: tuple[Field, Field], was_given: bool
) -> None:
    """Raise ImageError unless two fields overlap in the same content, at different places."""
    first, second = fields
    shape = (first.plane.shape[0], first.plane.shape[1])
    window = overlap(shape, shift)[0]
    place = f"{second.name} and {first.name}"
    if window.height * window.width < _MIN_OVERLAP * shape[0] * shape[1]:
        raise ImageError(
            f"{place} do not overlap enough at a shift (y, x) of {shift[0]:.0f}, {shift[1]:.0f} "
            "pixels; shift the sample by a quarter to half of the frame."
        )
    if correlation < _MIN_CORRELATION:
        remedy = (
            "check the order and the signs of the shifts, or leave them out"
            if was_given
            else "give the shifts (shifts_px, --shift-px), or use fields that share more content"
        )
        raise ImageError(
            f"{place} show no common content (correlation {correlation:.2f} at a shift (y, x) of "
            f"{shift[0]:.0f}, {shift[1]:.0f} pixels); {remedy}."
        )
    if np.abs(shift).max() < _MIN_SHIFT * min(shape):
        raise ImageError(
            f"{place} are shifted by only {np.abs(shift).max():.1f} pixels, so that both show the "
            "same blur; shift the sample by a quarter to half of the frame."
        )
