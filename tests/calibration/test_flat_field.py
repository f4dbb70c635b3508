"""Tests of the flat field measured from images: a known gain is recovered."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.calibration import estimate_flat_field, estimate_flat_field_events
from napari_coordgate.errors import CanceledError, CoordGateError

SHAPE = (96, 128)
ROWS, COLUMNS = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
GAIN = np.exp(-0.4 * (ROWS - 0.1) ** 2 - 0.3 * (COLUMNS + 0.2) ** 2)
GAIN /= GAIN.mean()


def images(number: int, background: float = 50.0, seed: int = 0) -> NDArray[np.float64]:
    """Disks at random places on a background, through the gain, with an offset of 100."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-6:7, -6:7]
    found = []
    for _ in range(number):
        light = np.full(np.add(SHAPE, 12), background)
        for _ in range(60):
            y, x = (int(rng.integers(side)) for side in SHAPE)
            disk = rows**2 + columns**2 < rng.uniform(3, 6.5) ** 2
            light[y : y + 13, x : x + 13][disk] += rng.uniform(100, 400)
        found.append(100.0 + rng.poisson(light[6:-6, 6:-6] * GAIN))
    return np.stack(found)


def relative_error(gain: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((gain / GAIN - 1) ** 2)))


@pytest.mark.parametrize("background", [0.0, 50.0])
def test_the_gain_is_recovered_from_many_scenes(background: float) -> None:
    gain = estimate_flat_field(images(60, background), offset=100)
    assert gain.shape == SHAPE
    assert gain.mean() == pytest.approx(1, abs=1e-5)
    assert relative_error(gain) < (0.03 if background else 0.12)


def test_the_gain_is_recovered_from_one_uniform_image_and_dark_frames() -> None:
    rng = np.random.default_rng(0)
    slide = 100.0 + rng.poisson(400 * GAIN)
    slide[40:50, 60:66] *= 0.5  # dust
    dark = 100 + rng.normal(0, 2, SHAPE)
    assert relative_error(estimate_flat_field(slide, dark=dark, uniform=True)) < 0.015


def test_more_images_give_a_smaller_error() -> None:
    few, many = (estimate_flat_field(images(n, seed=3), offset=100) for n in (10, 60))
    assert relative_error(many) < relative_error(few)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (images(10), {}, "offset"),
        (images(10), {"offset": 100, "dark": images(1)}, "either"),
        (images(3), {"offset": 100}, "at least 8"),
        (images(10, background=0.0), {"offset": 100}, "standard error"),
        (images(10), {"offset": 1000}, "no light"),
        ([np.eye(96), np.eye(64)], {"offset": 0, "uniform": True}, "one frame"),
    ],
)
def test_what_is_missing_is_named(
    given: NDArray[np.float64], options: dict[str, object], message: str
) -> None:
    with pytest.raises(CoordGateError, match=message) as caught:
        estimate_flat_field(given, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_cancel_acts_at_once() -> None:
    cancel = threading.Event()
    events = estimate_flat_field_events(images(10), offset=100, cancel=cancel)
    next(events)
    cancel.set()
    with pytest.raises(CanceledError):
        next(events)
