"""Tests of the camera noise measured from images: a known camera is recovered."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_coordgate.calibration import NoiseEstimate, estimate_noise, estimate_noise_events
from napari_coordgate.config import Camera, load_settings
from napari_coordgate.errors import CanceledError, CoordGateError, ImageError, SettingsError
from napari_coordgate.events import Progress
from napari_coordgate.io import Image, write_image

Pixels = NDArray[np.float64]

OFFSET, READ_NOISE = 100.0, 2.0
PER_COUNT = 0.5


def scene(seed: int = 0, size: int = 256) -> Pixels:
    """Blurred bright disks on a dim background, from 0 to about 1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-12:13, -12:13]
    image = np.full((size, size), 0.02)
    for _ in range(size * size // 1500):
        y, x = rng.integers(0, size - 25, 2)
        disk = rows**2 + columns**2 < rng.uniform(5, 12) ** 2
        image[y : y + 25, x : x + 25][disk] = rng.uniform(0.2, 1)
    return gaussian_filter(image, 1.0)


def record(
    light: Pixels,
    photons: float,
    rng: int = 0,
    *,
    per_count: float = PER_COUNT,
    offset: float | Pixels = OFFSET,
    read_noise: float | Pixels = READ_NOISE,
) -> Pixels:
    """Whole counts of a camera."""
    generator = np.random.default_rng(rng)
    electrons = generator.poisson(light * photons) + read_noise * generator.normal(size=light.shape)
    return np.rint(offset + electrons / per_count)


def dark(frames: int = 2) -> Pixels:
    return record(np.zeros((frames, 128, 128)), 1, rng=9)


def assert_within(estimate: NoiseEstimate, name: str, truth: float, relative: float) -> None:
    value = getattr(estimate, name)
    assert value == pytest.approx(truth, rel=relative)
    assert abs(value - truth) < 4 * estimate.standard_errors[name]


@pytest.mark.parametrize("photons", [50, 200, 1000, 5000, 20_000])
def test_the_camera_is_recovered_from_two_images_and_dark_frames(photons: float) -> None:
    images = [record(scene(seed), photons, seed) for seed in (1, 2)]
    estimate = estimate_noise(images, dark=dark())
    assert_within(estimate, "electrons_per_count", PER_COUNT, 0.15)
    assert_within(estimate, "read_noise", READ_NOISE, 0.15)
    assert_within(estimate, "offset", OFFSET, 0.001)
    truth = (0.5 * photons + READ_NOISE**2) / PER_COUNT**2 + 1 / 12
    counts = OFFSET + 0.5 * photons / PER_COUNT
    assert estimate.variance(counts) == pytest.approx(truth, rel=0.15)


def test_without_dark_frames_offset_and_read_noise_are_unknown_but_the_noise_is_not() -> None:
    estimate = estimate_noise([record(scene(seed), 500, seed) for seed in (1, 2)])
    assert_within(estimate, "electrons_per_count", PER_COUNT, 0.15)
    assert estimate.offset is None
    assert estimate.read_noise is None
    assert "dark frames" in " ".join(estimate.notes)
    camera = estimate.camera.for_range(OFFSET + 40, OFFSET + 1000)
    assert camera.photons == pytest.approx(960 * PER_COUNT, rel=0.15)
    assert camera.read_noise == pytest.approx((40 * PER_COUNT + READ_NOISE**2) ** 0.5, rel=0.2)


def test_a_known_offset_gives_the_read_noise() -> None:
    images = [record(scene(seed), 100, seed, read_noise=4) for seed in (1, 2)]
    assert_within(estimate_noise(images, offset=OFFSET), "read_noise", 4, 0.2)


def test_read_noise_below_the_photon_noise_has_no_value() -> None:
    light = 0.3 + scene()
    estimate = estimate_noise(record(light, 20_000, per_count=2, read_noise=0.5), offset=OFFSET)
    assert estimate.read_noise is None
    assert "hidden" in " ".join(estimate.notes)


def test_differences_of_a_still_time_series_cancel_structure() -> None:
    texture = np.random.default_rng(3).random((128, 128))  # as fine as the noise itself
    light = texture * np.linspace(0.1, 1, 128)
    frames = np.stack([record(light, 5000, seed) for seed in range(4)])
    estimate = estimate_noise(frames, axes="TYX", offset=OFFSET)
    assert_within(estimate, "electrons_per_count", PER_COUNT, 0.1)
    alone = estimate_noise(frames[0], offset=OFFSET)
    assert alone.variance(2000) > 10 * estimate.variance(2000)


def test_structure_as_fine_as_the_noise_is_named() -> None:
    rng = np.random.default_rng(3)
    lines = np.zeros((256, 256))
    for _ in range(40):
        start, angle = rng.uniform(0, 256, (2, 1)), rng.uniform(0, np.pi)
        rows, columns = start + np.arange(200) * np.array([[np.sin(angle)], [np.cos(angle)]])
        lines[rows.astype(int) % 256, columns.astype(int) % 256] += rng.uniform(0.3, 1)
    light = 0.05 + gaussian_filter(lines, 0.9) + 0.3 * gaussian_filter(lines, 8)
    for photons, is_named in ((20_000, True), (100, False)):
        notes = " ".join(estimate_noise(record(light / light.max(), photons)).notes)
        assert ("time series" in notes) == is_named


def points(rng: np.random.Generator) -> Pixels:
    """Few bright points on an even background."""
    light = np.zeros((192, 192))
    light[tuple(rng.integers(0, 192, (2, 30)))] = rng.uniform(0.3, 1, 30)
    blurred = gaussian_filter(light, 0.9)
    scaled: Pixels = 0.01 + blurred / blurred.max()
    return scaled


def lines(rng: np.random.Generator) -> Pixels:
    """Few thin lines on an even background."""
    light = np.zeros((192, 192))
    for angle, light_of_line in zip(rng.uniform(0, np.pi, 6), rng.uniform(0.3, 1, 6), strict=True):
        direction = np.array([[np.sin(angle)], [np.cos(angle)]])
        rows, columns = rng.uniform(0, 192, (2, 1)) + np.arange(180) * direction
        light[rows.astype(int) % 192, columns.astype(int) % 192] += light_of_line
    blurred = gaussian_filter(light, 0.8)
    scaled: Pixels = 0.03 + blurred / blurred.max()
    return scaled


@pytest.mark.parametrize("photons", [5000, 20_000])
@pytest.mark.parametrize("make", [points, lines])
def test_sparse_scenes_are_measured_within_the_error_or_not_at_all(
    make: Callable[[np.random.Generator], Pixels], photons: float
) -> None:
    """Where it is bright, there is structure: it must not pass for noise."""
    for seed in (1, 2):
        estimate = estimate_noise(record(make(np.random.default_rng(seed)), photons, seed))
        value = estimate.electrons_per_count
        if value is None:
            assert "time series" in " ".join(estimate.notes)
            continue
        assert abs(value - PER_COUNT) < 2.5 * estimate.standard_errors["electrons_per_count"]


def test_a_time_series_that_moves_is_measured_frame_by_frame() -> None:
    light = scene()
    frames = np.stack([record(np.roll(light, 15 * n, axis=0), 20_000, n) for n in range(3)])
    estimate = estimate_noise(frames, axes="TYX", dark=dark())
    assert_within(estimate, "electrons_per_count", PER_COUNT, 0.15)


def test_pixels_clipped_at_zero_and_saturated_ones_are_left_out() -> None:
    images = [record(scene(seed), 1000, seed, offset=-10).clip(0, 1200) for seed in (1, 2)]
    saturated = np.mean(np.stack(images) == 1200)
    assert saturated > 0.05
    assert_within(estimate_noise(images), "electrons_per_count", PER_COUNT, 0.15)


def test_maps_of_an_scmos_camera_are_taken_into_account() -> None:
    rng = np.random.default_rng(5)
    shape = (256, 256)
    offset = OFFSET + rng.normal(size=shape) * 20
    gain = rng.normal(1, 0.1, shape)
    noise = rng.gamma(2, 1, shape)
    images = [
        np.rint(offset + gain * (record(scene(n), 200, n, offset=0, read_noise=noise)))
        for n in (1, 2)
    ]
    variance = (gain * noise / PER_COUNT) ** 2
    estimate = estimate_noise(images, offset=offset, gain=gain, read_variance=variance)
    assert_within(estimate, "electrons_per_count", PER_COUNT, 0.15)
    blind = estimate_noise(images, offset=OFFSET)
    assert blind.variance(OFFSET) > 2 * estimate.variance(OFFSET)


def test_dark_frames_alone_give_offset_and_read_noise_in_counts() -> None:
    estimate = estimate_noise(None, dark=dark(4))
    assert_within(estimate, "offset", OFFSET, 0.001)
    assert_within(estimate, "read_noise_counts", READ_NOISE / PER_COUNT, 0.05)
    assert (estimate.electrons_per_count, estimate.read_noise) == (None, None)
    assert estimate.camera == Camera(offset=estimate.offset)


def test_an_image_of_one_brightness_does_not_give_electrons_per_count() -> None:
    estimate = estimate_noise(record(np.ones((128, 128)), 500))
    assert estimate.electrons_per_count is None
    assert "bright" in " ".join(estimate.notes)


def test_rescaled_and_filtered_images_are_named() -> None:
    image = record(scene(), 5000)
    stretched = np.rint(np.rint(image / 50) * 1.7).astype(np.uint8)
    assert "gaps" in " ".join(estimate_noise(stretched).notes)
    smoothed = gaussian_filter(image, 0.7)
    assert "vary together" in " ".join(estimate_noise(smoothed).notes)
    assert not estimate_noise(image, dark=dark()).notes


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.ones((64, 64)), {}, "constant"),
        (np.eye(16), {}, "at least"),
        (np.full((64, 64), np.nan), {}, "NaN"),
        (Image(np.zeros((64, 64, 3), np.uint8), "YXS"), {}, "color"),
        (np.eye(64) > 0, {}, "bool"),
        (dark(1), {"offset": np.zeros((5, 5))}, "crop the map"),
        (dark(1), {"gain": np.ones((128, 128))}, "offset"),
        (dark(1), {"read_variance": -1}, "read_variance"),
        (None, {}, "Give images"),
        ([], {}, "No image"),
        (dark(1), {"dark": np.zeros((64, 64))}, "clipped at 0"),
        (255 * (scene() > 0.3), {}, "saturation"),
    ],
)
def test_bad_input_is_named(images: object, options: dict[str, object], message: str) -> None:
    with pytest.raises((ImageError, SettingsError), match=message) as caught:
        estimate_noise(images, **options)  # type: ignore[arg-type]
    assert isinstance(caught.value, CoordGateError)
    assert "\n" not in str(caught.value)


def test_the_camera_is_saved_as_settings_with_its_errors_as_comments(tmp_path: Path) -> None:
    estimate = estimate_noise(record(scene(), 1000), dark=dark())
    estimate.save(tmp_path / "camera.yaml")
    assert load_settings(Camera, tmp_path / "camera.yaml") == estimate.camera
    assert "# read_noise: " in (tmp_path / "camera.yaml").read_text()
    assert "±" in repr(estimate)


def test_files_and_folders_are_read_and_progress_is_told(tmp_path: Path) -> None:
    for seed in (1, 2):
        pixels = record(scene(seed, 128), 1000, seed).astype(np.uint16)
        write_image(tmp_path / f"{seed}.tif", Image(pixels, "YX"))
    told: list[object] = []
    estimate = estimate_noise(tmp_path, callback=told.append)
    assert estimate.electrons_per_count == pytest.approx(PER_COUNT, rel=0.25)
    assert [event.done for event in told if isinstance(event, Progress)] == [1, 2]


def test_cancel_acts_at_once() -> None:
    cancel = threading.Event()
    events = estimate_noise_events(record(np.stack([scene()] * 3), 100), cancel=cancel)
    next(events)
    cancel.set()
    with pytest.raises(CanceledError):
        next(events)
