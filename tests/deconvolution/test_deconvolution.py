"""Wiener and Richardson-Lucy deconvolution."""

import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.restoration import richardson_lucy as plain_richardson_lucy

from napari_coordgate.config import (
    Camera,
    GaussianLens,
    RichardsonLucyConfig,
    WienerConfig,
)
from napari_coordgate.deconvolution import (
    DeconvolutionConfig,
    deconvolve,
    deconvolve_events,
    deconvolve_scaled,
    richardson_lucy,
    wiener,
)
from napari_coordgate.deconvolution.richardson_lucy import automatic_total_variation
from napari_coordgate.errors import (
    CanceledError,
    DeviceMemoryError,
    FrameMismatchError,
    FrameMismatchWarning,
    ImageError,
    PSFError,
    SettingsError,
)
from napari_coordgate.events import Event, Note, PlaneDone, Progress
from napari_coordgate.geometry import field_radius
from napari_coordgate.io import Image
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import BlurOperator, PSFField
from napari_coordgate.simulation import add_camera_noise, simulate

FRAME = (64, 56)
CONSTANT = PSFField.from_lens(GaussianLens(sigma_center_px=1.2, sigma_edge_px=1.2), FRAME)
VARYING = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=2.2), FRAME)
POINT = np.pad(np.ones((1, 1, 1)), ((0, 0), (2, 2), (2, 2)))
SHARPEST = PSFField(POINT, np.ones((1, 1, 1)), FRAME)
CAMERA = Camera(photons=2000, read_noise=3)
INNER = (slice(12, -12), slice(12, -12))
PLAIN = RichardsonLucyConfig(accelerate=False, total_variation=0)
METHODS: list[DeconvolutionConfig] = [
    WienerConfig(),
    WienerConfig(psf="mean"),
    RichardsonLucyConfig(num_iter=5),
    RichardsonLucyConfig(num_iter=5, psf="mean", total_variation=0.002),
]

Pixels = NDArray[np.float32]


def cells(shape: tuple[int, int] = FRAME, seed: int = 0, spots: int = 14) -> Pixels:
    """Bright spots with sharp rims on a dim background, scaled to about 1."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = np.full(shape, 0.05)
    for _ in range(spots):
        center, radius = rng.uniform(0, shape, 2), rng.uniform(2, 5)
        image[np.hypot(y - center[0], x - center[1]) < radius] += rng.uniform(0.2, 0.6)
    return image.astype(np.float32)


def likelihood(restored: Pixels, observed: Pixels, field: PSFField) -> float:
    """Poisson log-likelihood of an image whose surroundings are dark, up to a constant."""
    expected = np.maximum(
        field.blur(np.pad(restored, field.radius), origin=(-field.radius,) * 2), 1e-9
    )
    return float((observed * np.log(expected) - expected).sum())


def inside(shape: tuple[int, int] = FRAME, margin: int = 16) -> Pixels:
    """Cells with so much darkness around that no light crosses the border."""
    image = np.zeros(shape, np.float32)
    image[margin:-margin, margin:-margin] = cells((shape[0] - 2 * margin, shape[1] - 2 * margin))
    return image


@pytest.mark.parametrize("config", METHODS)
def test_a_uniform_image_stays_uniform_with_a_constant_psf(
    config: DeconvolutionConfig,
) -> None:
    flat = np.full(FRAME, 0.4)
    restored = deconvolve_scaled(flat, CONSTANT, config)
    # Total variation leaves a ripple as large as its weight.
    assert np.abs(restored - flat).max() < 0.02


@pytest.mark.parametrize("psf", ["mean", "field"])
def test_wiener_with_a_point_psf_shrinks_the_image_towards_its_mean(psf: str) -> None:
    image, noise = cells(), 0.25
    config = WienerConfig.model_validate({"psf": psf, "regularization": noise})
    expected = image.mean() + (image - image.mean()) / (1 + noise)
    np.testing.assert_allclose(deconvolve_scaled(image, SHARPEST, config), expected, atol=1e-5)


def test_wiener_by_conjugate_gradients_equals_the_filter_for_a_constant_psf() -> None:
    blurred = CONSTANT.blur(cells())
    filtered = deconvolve_scaled(blurred, CONSTANT, WienerConfig(psf="mean", regularization=0.05))
    solved = deconvolve_scaled(blurred, CONSTANT, WienerConfig(regularization=0.05, num_iter=200))
    np.testing.assert_allclose(solved[INNER], filtered[INNER], atol=0.01)


@pytest.mark.parametrize(
    ("own", "mean"),
    [
        (WienerConfig(regularization=0.003), WienerConfig(regularization=0.003, psf="mean")),
        (RichardsonLucyConfig(num_iter=40), RichardsonLucyConfig(num_iter=40, psf="mean")),
    ],
)
def test_the_psf_of_each_pixel_restores_the_edge_better_than_the_mean_psf(
    own: DeconvolutionConfig, mean: DeconvolutionConfig
) -> None:
    lens = GaussianLens(sigma_center_px=0.5, sigma_edge_px=3.0)
    field, sharp = PSFField.from_lens(lens, FRAME), cells((96, 88), spots=40)
    blurred = field.blur(sharp, origin=(-16, -16))
    shown, edge = sharp[16:-16, 16:-16], field_radius(FRAME) > 2 / 3
    reached = [psnr(shown[edge], deconvolve(blurred, field, c)[edge]) for c in (own, mean)]
    assert reached[0] > reached[1] + 0.5


def test_richardson_lucy_is_non_negative_and_conserves_flux() -> None:
    blurred = VARYING.blur(inside()) + np.float32(1e-4)
    config = PLAIN.replace(num_iter=30)
    restored = deconvolve_scaled(blurred, VARYING, config)
    assert restored.min() >= 0
    assert restored.sum() == pytest.approx(blurred.sum(), rel=2e-3)


def test_each_unaccelerated_iteration_increases_the_likelihood() -> None:
    observed = simulate(inside(), VARYING, CAMERA, 0).clip(0)
    reached = [
        likelihood(
            deconvolve_scaled(observed, VARYING, PLAIN.replace(num_iter=n)),
            observed,
            VARYING,
        )
        for n in (1, 2, 4, 8, 16)
    ]
    assert np.all(np.diff(reached) > 0)


def test_acceleration_needs_at_most_a_third_of_the_iterations() -> None:
    observed = VARYING.blur(inside())
    few = deconvolve_scaled(observed, VARYING, PLAIN.replace(num_iter=20, accelerate=True))
    plain = PLAIN.replace(num_iter=60)
    many = deconvolve_scaled(observed, VARYING, plain)
    assert likelihood(few, observed, VARYING) >= likelihood(many, observed, VARYING)


def test_the_first_iterations_equal_those_of_scikit_image_away_from_borders() -> None:
    blurred = CONSTANT.blur(inside()) + np.float32(0.01)
    config = PLAIN.replace(num_iter=10)
    expected = plain_richardson_lucy(blurred, CONSTANT.psf_at(32, 28), 10, clip=False)
    np.testing.assert_allclose(
        deconvolve_scaled(blurred, CONSTANT, config)[INNER], expected[INNER], atol=0.03
    )


def test_a_bright_object_just_outside_the_border_does_not_ring() -> None:
    scene = np.full((96, 88), 0.1, np.float32)
    scene[:14] = 1.0  # ends two pixels before the frame begins
    observed = CONSTANT.blur(scene, origin=(-16, -16))
    truth, near = scene[16:-16, 16:-16], np.s_[2:12, 12:-12]
    own = deconvolve_scaled(observed, CONSTANT, PLAIN.replace(num_iter=100, accelerate=True))
    dark = plain_richardson_lucy(observed, CONSTANT.psf_at(32, 28), 100, clip=False)
    assert psnr(truth[near], own[near]) > psnr(truth[near], dark[near]) + 6


def test_discrepancy_stops_the_iterations_early() -> None:
    observed = simulate(cells((96, 88)), VARYING, CAMERA, 0)
    endless = RichardsonLucyConfig(num_iter=300, discrepancy=True)
    events = list(deconvolve_events(observed, VARYING, endless, camera=CAMERA))
    steps = sum(isinstance(event, Progress) for event in events)
    assert 2 < steps < 100
    assert isinstance(events[-1], Note)
    assert "of at most 300 iterations; the residual reached the noise" in events[-1].text
    few = RichardsonLucyConfig(num_iter=2)
    *_, said = deconvolve_events(observed, VARYING, few, camera=CAMERA)
    assert isinstance(said, Note)
    assert "2 of at most 2 iterations; the residual, " in said.text
    with pytest.raises(SettingsError, match="photons"):
        deconvolve_scaled(observed, VARYING, endless)


def test_discrepancy_stops_where_the_residual_equals_the_noise() -> None:
    shape = (128, 120)
    field = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=2.2), shape)
    light = torch.from_numpy(field.blur(inside(shape, 20)))
    observed = add_camera_noise(light, CAMERA, 1).numpy()
    endless = PLAIN.replace(num_iter=300, discrepancy=True)
    restored = deconvolve_scaled(observed, field, endless, camera=CAMERA)
    photons, read_noise = 2000, 3
    residual = photons * (observed - field.blur(restored))
    variance = photons * field.blur(restored) + read_noise**2
    assert 0.95 < (residual**2 / variance).mean() < 1.05


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_negative_noise_is_not_clipped_and_flux_is_conserved(camera: Camera | None) -> None:
    observed = add_camera_noise(torch.from_numpy(VARYING.blur(inside())), CAMERA, 0).numpy()
    assert observed.min() < -(CAMERA.read_noise**2) / 2000
    config = RichardsonLucyConfig(num_iter=40)
    restored = deconvolve_scaled(observed, VARYING, config, camera=camera)
    assert restored.sum() == pytest.approx(observed.sum(), rel=0.02)


def test_total_variation_reduces_noise_in_flat_regions() -> None:
    flat = np.full(FRAME, 0.5, np.float32)
    observed = add_camera_noise(torch.from_numpy(flat), Camera(photons=200), 0).numpy()
    rough, smooth = (
        deconvolve_scaled(
            observed, VARYING, RichardsonLucyConfig(num_iter=40, total_variation=weight)
        )
        for weight in (0.0, 0.01)
    )
    assert smooth[INNER].std() < 0.7 * rough[INNER].std()


def test_the_total_variation_follows_the_noise_which_is_measured_if_unknown() -> None:
    shape, weights = (128, 120), list[float]()
    field = PSFField.from_lens(GaussianLens(sigma_center_px=1.5, sigma_edge_px=2.5), shape)
    for photons in (100, 1000, 10000):
        camera = Camera(photons=photons, read_noise=3)
        light = torch.from_numpy(field.blur(cells(shape)))
        observed = add_camera_noise(light, camera, 0).numpy()
        known, measured = (automatic_total_variation(observed, c) for c in (camera, None))
        assert measured == pytest.approx(known, rel=0.3)
        weights.append(known)
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 2 * weights[-1]


def test_the_default_total_variation_is_that_of_the_noise() -> None:
    observed = simulate(cells((96, 88)), VARYING, CAMERA, 0)
    weight = automatic_total_variation(observed, CAMERA)
    config = RichardsonLucyConfig(num_iter=5)
    np.testing.assert_array_equal(
        deconvolve_scaled(observed, VARYING, config, camera=CAMERA),
        deconvolve_scaled(observed, VARYING, config.replace(total_variation=weight), camera=CAMERA),
    )


def test_the_defaults_restore_a_noisy_image_better_than_no_total_variation() -> None:
    camera, truth = Camera(photons=200, read_noise=3), cells((96, 88))[16:-16, 16:-16]
    light = torch.from_numpy(VARYING.blur(cells((96, 88)), origin=(-16, -16)))
    observed = add_camera_noise(light, camera, 0).numpy()
    without, default, unknown = (
        psnr(truth, deconvolve_scaled(observed, VARYING, config, camera=known))
        for config, known in (
            (PLAIN.replace(num_iter=5, accelerate=True), camera),
            (RichardsonLucyConfig(), camera),
            (RichardsonLucyConfig(), None),
        )
    )
    assert default > without + 1
    assert unknown > without + 1


def test_the_strongest_total_variation_keeps_the_image_finite() -> None:
    config = RichardsonLucyConfig(num_iter=30, total_variation=0.249)
    restored = deconvolve_scaled(simulate(cells((96, 88)), VARYING, CAMERA, 0), VARYING, config)
    assert restored.min() >= 0
    assert restored.max() < 10


@pytest.mark.parametrize("config", METHODS)
def test_a_window_is_deconvolved_with_the_psfs_at_its_position(config: DeconvolutionConfig) -> None:
    blurred = VARYING.blur(cells())
    whole = deconvolve(blurred * 100 + 7, VARYING, config)
    part = deconvolve(blurred[8:, 4:] * 100 + 7, VARYING, config, origin=(8, 4))
    assert part.shape == (56, 52)
    assert np.abs(part[14:, 14:] - whole[22:, 18:]).max() < 0.12 * np.ptp(whole)


@pytest.mark.parametrize("config", METHODS)
def test_each_plane_is_deconvolved_independently_in_its_own_units(
    config: DeconvolutionConfig,
) -> None:
    blurred = VARYING.blur(cells())
    alone = deconvolve(blurred, VARYING, config)
    stack = np.stack([blurred, 500 * blurred + 100]).astype(np.float32)
    events: list[Event] = []
    result = deconvolve(Image(stack, "TYX"), VARYING, config, callback=events.append)
    assert [event.index for event in events if isinstance(event, PlaneDone)] == [(0,), (1,)]
    np.testing.assert_allclose(result[0], alone, atol=1e-5)
    np.testing.assert_allclose(result[1], 500 * alone + 100, atol=0.3)
    assert result.dtype == np.float32


def test_keyword_arguments_are_those_of_the_configuration() -> None:
    blurred = 100 * VARYING.blur(cells()) + 7
    by_config = deconvolve(
        blurred,
        VARYING,
        RichardsonLucyConfig(num_iter=3, total_variation=0.01, accelerate=False),
        camera=CAMERA,
    )
    by_keywords = richardson_lucy(
        blurred, VARYING, 3, total_variation=0.01, accelerate=False, camera=CAMERA
    )
    np.testing.assert_array_equal(by_keywords, by_config)
    by_config = deconvolve(blurred, VARYING, WienerConfig(regularization=0.1, psf="mean"))
    np.testing.assert_array_equal(wiener(blurred, VARYING, 0.1, psf="mean"), by_config)
    np.testing.assert_array_equal(
        richardson_lucy(blurred, VARYING), deconvolve(blurred, VARYING, RichardsonLucyConfig())
    )


def test_a_cancel_stops_the_iterations() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        deconvolve(cells(), VARYING, RichardsonLucyConfig(), cancel=cancel)
    with pytest.raises(CanceledError):
        wiener(cells(), VARYING, cancel=cancel)


def test_invalid_images_are_errors() -> None:
    with pytest.raises(FrameMismatchError, match="PSF field's frame is 64x56"):
        deconvolve(cells((32, 32)), VARYING, WienerConfig())
    with pytest.raises(FrameMismatchError, match="not inside the frame of 64x56"):
        deconvolve(cells((64, 56)), VARYING, WienerConfig(), origin=(1, 0))
    with pytest.raises(ImageError, match="NaN"):
        deconvolve(np.full(FRAME, np.nan), VARYING, WienerConfig())
    with pytest.raises(ImageError, match="constant"):
        deconvolve(np.ones(FRAME), VARYING, WienerConfig())
    with pytest.raises(ImageError, match="not an image"):
        deconvolve(np.ones(5), VARYING, WienerConfig())


@pytest.mark.parametrize("shape", [(3, *FRAME), (0, 5), (5,)])
def test_scaled_arrays_must_be_finite_planes(shape: tuple[int, ...]) -> None:
    for config in (WienerConfig(), RichardsonLucyConfig()):
        with pytest.raises(ImageError, match="finite"):
            deconvolve_scaled(np.ones(shape), VARYING, config)
        with pytest.raises(ImageError, match="finite"):
            deconvolve_scaled(np.full(FRAME, np.nan), VARYING, config)


def test_too_little_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(BlurOperator, "adjoint", full)
    for config in (WienerConfig(), RichardsonLucyConfig()):
        with pytest.raises(DeviceMemoryError, match="64x56"):
            deconvolve(cells(), VARYING, config)


def test_another_pixel_size_than_that_of_the_psf_field_gives_a_warning() -> None:
    field = PSFField(VARYING.kernels, VARYING.coefficients, FRAME, pixel_size_um=0.5)
    image = Image(cells(), "YX", (0.25, 0.25), title="image")
    with pytest.warns(FrameMismatchWarning, match=r"image has a pixel size of .*0\.5 um"):
        deconvolve(image, field, WienerConfig(psf="mean"))


@pytest.mark.parametrize("config", METHODS)
def test_nan_is_an_error_rather_than_a_result(config: DeconvolutionConfig) -> None:
    field = PSFField(POINT, np.ones((1, 1, 1)), FRAME)
    field.kernels[:] = np.nan
    with pytest.raises(PSFError, match="NaN"):
        deconvolve(cells(), field, config)


def test_strong_read_noise_gives_no_nan() -> None:
    observed = simulate(cells((96, 88)), VARYING, Camera(photons=50, read_noise=10), 0)
    assert observed.min() < 0
    camera = Camera(photons=50, read_noise=10)
    restored = deconvolve_scaled(observed, VARYING, RichardsonLucyConfig(), camera=camera)
    assert np.isfinite(restored).all()
    assert restored.min() >= 0


def test_each_plane_has_the_photons_of_its_own_counts() -> None:
    planes = [scale * simulate(cells(), VARYING, Camera(photons=scale), 0) for scale in (50, 500)]
    restored = richardson_lucy(
        np.stack(planes), VARYING, 50, discrepancy=True, camera=Camera(electrons_per_count=2)
    )
    for plane, result in zip(planes, restored, strict=True):
        low, high = np.percentile(plane, (1, 99.8))
        camera = Camera(photons=2 * (high - low))
        alone = richardson_lucy(plane, VARYING, 50, discrepancy=True, camera=camera)
        np.testing.assert_allclose(result, alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("config", METHODS)
def test_a_flat_field_is_undone(config: DeconvolutionConfig) -> None:
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in FRAME), indexing="ij")
    dim = VARYING.with_flat_field(1.3 - 0.4 * rows**2 - 0.3 * columns**2)
    even = VARYING.with_flat_field(np.ones(FRAME))
    camera, sharp = Camera(electrons_per_count=50, offset=100), 200 + 1000 * cells()
    expected, undone, ignored = (
        deconvolve(simulate(sharp, seen, camera, 0), assumed, config, camera=camera)
        for seen, assumed in ((even, even), (dim, dim), (dim, even))
    )
    assert np.abs(undone - expected).mean() < 0.25 * np.abs(ignored - expected).mean()
