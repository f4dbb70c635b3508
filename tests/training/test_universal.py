"""Laws of the training of the universal model."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_coordgate import (
    AdaptConfig,
    Camera,
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    Model,
    PSFField,
    TrustCalibration,
    UniversalConfig,
    UniversalModel,
    adapt,
    deblur,
    events,
    simulate,
)
from napari_coordgate.config import LensLibraryConfig, UniversalTrainingConfig, UnrolledConfig
from napari_coordgate.data.lens_library import LensSample
from napari_coordgate.data.universal import UniversalSamples
from napari_coordgate.errors import CanceledError, ModelError, OutputError
from napari_coordgate.events import Progress
from napari_coordgate.networks import Deblurred, uncertainty_of
from napari_coordgate.training import adaptation_gain_events
from napari_coordgate.training.universal import (
    learning_rate_factor,
    sample_loss,
    train_universal_events,
)
from tests.training.test_trainer import blobs

CONFIG = UniversalTrainingConfig(
    network=UnrolledConfig(stages=2, base_channels=4, memory_channels=2),
    library=LensLibraryConfig(lenses=2, window_sizes=(32,), gaussian_fraction=1.0),
    validation_lenses=1,
    steps=12,
    batch_size=1,
    learning_rate=3e-3,
)
IMAGES = [np.random.default_rng(i).random((70, 80)) ** 4 for i in range(2)]


def trained(path: Path, steps: int, *, resume: bool = False) -> UniversalModel:
    config = CONFIG.replace(steps=steps)
    return events.run(
        train_universal_events(config, IMAGES, IMAGES, path, validate_every=100, resume=resume)
    )


def test_the_learning_rate_is_constant_until_it_decays() -> None:
    config = CONFIG.replace(steps=1000, warmup_steps=10, decay_fraction=0.2)
    factors = [learning_rate_factor(step, config) for step in (0, 9, 500, 799, 900, 999)]
    assert factors == pytest.approx([0.1, 1, 1, 1, 0.5, 0.005])


def test_the_predicted_error_is_a_quantile() -> None:
    """The best constant prediction of the error is its 90 % quantile."""
    error = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(0)) ** 2 + 0.01
    config = CONFIG.replace(error_weight=1.0)

    def loss(log_error: float) -> float:
        result = Deblurred(error, torch.full_like(error, log_error))
        return float(sample_loss([result], torch.zeros_like(error), config))

    best = min(np.linspace(-4, 1, 501), key=loss)
    assert np.exp(best) == pytest.approx(float(error.quantile(0.9)), rel=0.02)


def test_a_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_coordgate.training.universal.SAVE_SECONDS", 0)
    whole = trained(tmp_path / "whole.safetensors", 6)
    interrupted = tmp_path / "interrupted.safetensors"
    training = train_universal_events(CONFIG.replace(steps=6), IMAGES, IMAGES, interrupted)
    for event in training:
        if isinstance(event, Progress) and event.stage == "training" and event.done == 3:
            training.close()
    resumed = trained(interrupted, 6, resume=True)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(resumed.weights[name], weight, rtol=1e-5, atol=1e-8)


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "universal.safetensors"
    model = trained(path, 2)
    loaded = UniversalModel.load(path)
    assert loaded.config == model.config
    assert loaded.history == model.history
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in model.weights.items())
    with pytest.raises(OutputError, match="already exists"):
        trained(path, 2)


def test_each_kind_of_model_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "universal.safetensors"
    trained(path, 1)
    with pytest.raises(ModelError, match="needs a PSF field"):
        Model.load(path)
    starter = Path(__file__).parents[2] / "sample_data" / "starter.safetensors"
    with pytest.raises(ModelError, match="for one lens"):
        UniversalModel.load(starter)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "universal.safetensors"
    trained(path, 1)
    other = CONFIG.replace(batch_size=2)
    with pytest.raises(ModelError, match="other settings"):
        next(train_universal_events(other, IMAGES, IMAGES, path, resume=True))


def test_adapting_to_a_lens_lowers_its_error(tmp_path: Path) -> None:
    """The adapted model of one lens is better there than the model that it started from.

    It keeps the calibration of its errors.
    """
    trust = TrustCalibration(error_factor=1.3)
    model = replace(trained(tmp_path / "universal.safetensors", 1), trust=trust)
    field = PSFField.from_lens(GaussianLens(sigma_center_px=1, sigma_edge_px=2), (48, 64))
    camera = Camera(photons=1000, read_noise=1)
    config = AdaptConfig(steps=60, batch_size=1, learning_rate=3e-3)
    path = tmp_path / "adapted.safetensors"
    adapted = adapt(IMAGES, field, model=model, camera=camera, config=config, output=path)
    assert UniversalModel.load(path).step == adapted.step == 60
    assert UniversalModel.load(path).trust == trust
    scene = IMAGES[0][:48, :64]
    image = simulate(scene, field, camera, rng=0)

    def error(weights: Path) -> float:
        deconvolution = UniversalConfig(weights=weights)
        settings = DeblurConfig(camera=camera, deconvolution=deconvolution)
        runtime = DeblurRuntime(check=False)
        result = deblur(image, field, config=settings, runtime=runtime)
        return float(np.square(result - scene).mean())

    assert error(path) < error(tmp_path / "universal.safetensors")


def test_an_adaptation_states_the_uncertainty_of_the_lens_as_deblurring_does() -> None:
    field = PSFField.from_lens(GaussianLens(), (32, 32))
    lens = LensSample(field, field, uncertainty_of(field))
    samples = UniversalSamples(CONFIG, [lens], [image.astype(np.float32) for image in IMAGES])
    stated = [float(samples.sample(i).coordinates[0, 2].mean()) for i in range(6)]
    assert stated == pytest.approx(6 * [5 * uncertainty_of(field)])


def test_images_kept_out_calibrate_the_adapted_model() -> None:
    model, field = UniversalModel.load(), PSFField.from_lens(GaussianLens(), (32, 32))
    images = [image.astype(np.float32) for image in blobs(2, (48, 48))]
    camera = Camera(photons=5000, read_noise=1)
    gain = events.run(
        adaptation_gain_events(model, model, images, field, camera=camera, samples=10)
    )
    assert gain.gain_db == 0
    assert gain.trust is not None and gain.trust.images == 10


def test_a_canceled_adaptation_writes_nothing(tmp_path: Path) -> None:
    model = trained(tmp_path / "universal.safetensors", 1)
    field = PSFField.from_lens(GaussianLens(), (32, 32))
    cancel, path = threading.Event(), tmp_path / "adapted.safetensors"
    cancel.set()
    with pytest.raises(CanceledError):
        adapt(IMAGES, field, model=model, output=path, cancel=cancel)
    assert not path.exists()
