"""Laws that hold for every architecture: built, trained, saved, fine-tuned and put to use alike."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from napari_coordgate.config import (
    Architecture,
    DeblurConfig,
    GaussianLens,
    TrainingConfig,
    network_config,
)
from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.inference import Predictor, deblur
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train

FRAME = (32, 40)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.4), FRAME)
LARGER = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=2.5), FRAME)
SHARP = np.random.default_rng(0).gamma(0.3, size=(6, 48, 56)).astype(np.float32)
ARCHITECTURES = get_args(Architecture)
WIENER = [name for name in ARCHITECTURES if "wiener" in name]


def settings(architecture: str, **changes: object) -> TrainingConfig:
    own = {} if architecture == "weighted-wiener" else {"base_channels": 4, "depth": 2}
    network = network_config(architecture=architecture, **own)
    basis = {"network": network, "sampling": "frame", "batch_size": 2, "steps": 16}
    return TrainingConfig.model_validate(basis | changes)


def trained(config: TrainingConfig, output: Path | None = None) -> Model:
    return train(SHARP, FIELD, config=config, output=output)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_learns_and_its_file_rebuilds_it(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    config = settings(architecture, ema_decay=0.0, warmup_steps=0, validate_every=1)
    model = trained(config, path)
    losses = [row["validation_loss"] for row in model.history]
    assert min(losses) < losses[0]
    loaded, image = Model.load(path), SHARP[0, :32, :40]
    assert loaded.config.network.architecture == architecture
    np.testing.assert_array_equal(deblur(image, loaded), deblur(image, model))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_scaled_plane_is_deblurred_as_the_network_does_it(architecture: str) -> None:
    model, window = trained(settings(architecture, steps=2)), Window(4, 8, 24, 32)
    blurred = np.ascontiguousarray(SHARP[0, :24, :32])
    coordinates = torch.from_numpy(frame_coordinates(FRAME, window))[None]
    expected = model.network(torch.from_numpy(blurred)[None, None], coordinates)[0, 0].numpy()
    restored = Predictor(model, DeblurConfig()).predict(blurred, window)
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", WIENER)
def test_wiener_filters_start_from_the_psfs_of_the_lens(architecture: str) -> None:
    start = trained(settings(architecture, steps=1, learning_rate=1e-12, ema_decay=0.0))
    psfs = start.weights["bank.psfs"].numpy()
    assert len(psfs) == 9
    center = psfs[4] / psfs[4].sum()
    np.testing.assert_allclose(center, FIELD.psf_at(16, 20), atol=2e-3)


@pytest.mark.parametrize("architecture", WIENER)
def test_wiener_filters_need_a_psf_field(architecture: str) -> None:
    frames = SHARP[:, :32, :40]
    with pytest.raises(SettingsError, match="starts from the PSFs of the lens"):
        train(frames, config=settings(architecture), blurred=frames)


def test_filters_for_psfs_of_another_size_are_not_fine_tuned() -> None:
    model = trained(settings("multi-wiener", steps=1))
    assert LARGER.size != FIELD.size
    with pytest.raises(SettingsError, match="PSFs of another size"):
        train(SHARP, LARGER, config=settings("multi-wiener"), init=model)


@pytest.mark.parametrize("lost", ["bank.psfs", "bank.positions", "bank.log_regularization"])
def test_a_file_without_its_filters_is_refused(lost: str) -> None:
    model = trained(settings("weighted-wiener", steps=1))
    weights = {name: value for name, value in model.weights.items() if name != lost}
    with pytest.raises(ModelError, match=lost):
        _ = Model(model.config, weights, FRAME).network
