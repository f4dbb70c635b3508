"""Laws of the training on blurred images alone."""

import numpy as np
import pytest
import torch

from napari_coordgate import (
    AdaptConfig,
    Camera,
    CGUNetConfig,
    GaussianLens,
    PSFField,
    TrainingConfig,
    UniversalModel,
    Window,
    adapt,
    estimate_resources,
    events,
    simulate,
    train,
)
from napari_coordgate.config import UniversalTrainingConfig, UnrolledConfig
from napari_coordgate.data.sources import sharp_window
from napari_coordgate.errors import CoordGateError, FrameMismatchError, SettingsError
from napari_coordgate.networks import UnrolledNetwork
from napari_coordgate.training.own_images import own_images_events, uncleaned, universal_cleaner
from tests.training.test_trainer import blobs

FRAME = (64, 80)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=1.6), FRAME)
CAMERA = Camera(photons=1000, read_noise=2)
BLURRED = np.stack(
    [simulate(100 * image, FIELD, CAMERA, rng=n) for n, image in enumerate(blobs(6, (80, 96)))]
)
CONFIG = UniversalTrainingConfig(
    network=UnrolledConfig(stages=1, base_channels=4, memory_channels=2)
)


def model() -> UniversalModel:
    torch.manual_seed(0)
    return UniversalModel(CONFIG, UnrolledNetwork(CONFIG.network).state_dict())


def test_sources_are_the_sharp_parts_in_the_units_of_the_images() -> None:
    own = events.run(own_images_events(BLURRED, FIELD, CAMERA, uncleaned))
    inside = sharp_window(FIELD).within(Window.whole(FRAME))
    by_range = {source.range: source for source in own.sources}
    assert len(by_range) >= 4
    for image, one in zip(BLURRED, own.ranges, strict=True):
        if one in by_range:
            np.testing.assert_allclose(by_range[one].image, image[inside], rtol=1e-3, atol=0.01)
    cleaner = universal_cleaner(model(), FIELD)
    cleaned = events.run(own_images_events(BLURRED, FIELD, CAMERA, cleaner))
    assert cleaned.sources[0].image.shape == own.sources[0].image.shape


def test_noise_that_is_left_is_what_blurs_let_through() -> None:
    """Of white noise, the mean PSF keeps the sum of its squares; elsewhere it is mirrored."""
    own = events.run(own_images_events(BLURRED, FIELD, CAMERA, uncleaned))
    total = (1000 + 2**2) / 1000**2
    expected = np.square(FIELD.kernels[0]).sum()
    assert own.sources[0].variance / total == pytest.approx(expected, rel=0.3)


def test_noise_is_measured_where_the_camera_is_unknown() -> None:
    own = events.run(own_images_events(BLURRED, FIELD, Camera(), uncleaned))
    assert own.camera.photons == pytest.approx(1000, rel=0.7)


def test_adapting_to_blurred_images_repeats_and_uses_all_losses() -> None:
    def adapted(**changes: float) -> UniversalModel:
        config = AdaptConfig(steps=2, batch_size=1, **changes)
        return adapt(blurred_only=BLURRED, psf_field=FIELD, model=model(), config=config)

    one, same = adapted(), adapted()
    name = next(iter(one.weights))
    assert torch.equal(one.weights[name], same.weights[name])
    for other in (adapted(held_out_weight=0.0), adapted(equivariance_weight=0.0)):
        assert not torch.equal(one.weights[name], other.weights[name])


SMALL = PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2), (24, 24), 0.02)


@pytest.mark.parametrize(
    ("images", "field", "error", "says"),
    [
        (BLURRED, None, SettingsError, "PSF field"),
        (BLURRED[:, :40], FIELD, FrameMismatchError, "image 0, plane 0 is 40x80"),
        (BLURRED[:, :24, :24], SMALL, SettingsError, "train with sharp"),
        (BLURRED[:1], FIELD, SettingsError, "give more images"),
    ],
)
def test_bad_input_says_what_to_do(
    images: np.ndarray, field: PSFField | None, error: type[CoordGateError], says: str
) -> None:
    with pytest.raises(error, match=says):
        adapt(blurred_only=images, psf_field=field, model=model())


def test_a_network_is_trained_and_keeps_the_measured_noise() -> None:
    config = TrainingConfig(
        network=CGUNetConfig(depth=2, base_channels=4), window_size=16, batch_size=4, steps=2
    )
    trained = train(blurred_only=BLURRED, psf_field=FIELD, config=config)
    assert trained.step == 2
    assert trained.config.camera.photons == pytest.approx(1000, rel=0.7)
    with pytest.raises(SettingsError, match="either"):
        train(BLURRED, FIELD, blurred_only=BLURRED, config=config)
    estimate = estimate_resources(blurred_only=BLURRED, psf_field=FIELD, config=config)
    assert estimate.fits
