"""The universal model as a method of a comparison."""

from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.comparison import as_table, compare
from napari_coordgate.comparison.methods import build_method, image_method
from napari_coordgate.config import (
    AdaptConfig,
    Camera,
    ComparisonConfig,
    GaussianLens,
    TrainingConfig,
    UniversalConfig,
    UniversalMethod,
    UnrolledConfig,
    UnrolledMethod,
)
from napari_coordgate.errors import OutputError
from napari_coordgate.geometry import Window
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image
from napari_coordgate.optics import PSFField
from tests.inference.making import random_universal_model

PSF_FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), (40, 48))
CAMERA = Camera(photons=500, read_noise=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("universal") / "own.safetensors"
    random_universal_model().save(path)
    return path


def test_a_scaled_image_is_restored_at_its_window(weights: Path) -> None:
    """As if its intensities were those of an image that has the same noise."""
    settings = UniversalMethod(name="universal", universal=UniversalConfig(weights=weights))
    method = build_method(settings, PSF_FIELD, camera=CAMERA)
    blurred = np.random.default_rng(0).random((40, 48)).astype(np.float32)
    restored = method(blurred, Window.whole((40, 48)))
    assert restored.shape == (40, 48)
    assert (method.kind, method.parameters > 0) == ("universal", True)
    part = method(blurred[8:, 16:], Window(8, 16, 32, 32))
    inside = np.s_[12:, 12:]
    np.testing.assert_allclose(part[inside], restored[8:, 16:][inside], atol=0.05)


def test_an_image_is_restored_as_it_is_deblurred(weights: Path) -> None:
    config, pixels = UniversalConfig(weights=weights), np.random.default_rng(0).random((40, 48))
    method = image_method("universal", config, Image(pixels, "YX"), PSF_FIELD)
    expected = deblur(pixels, weights, psf_field=PSF_FIELD)
    np.testing.assert_array_equal(method(pixels, Window.whole((40, 48))), expected)


def test_a_row_belongs_to_its_weights(weights: Path, tmp_path: Path) -> None:
    own, folder = tmp_path / "own.safetensors", tmp_path / "comparison"
    own.write_bytes(weights.read_bytes())
    method = UniversalMethod(name="universal", universal=UniversalConfig(weights=own))
    images = np.random.default_rng(0).random((4, 40, 48))
    config = ComparisonConfig(training=TrainingConfig(camera=CAMERA))
    comparison = compare([method], images, PSF_FIELD, config=config, output=folder)
    assert "universal" in as_table(comparison.rows)
    assert compare([method], images, PSF_FIELD, config=config, output=folder).rows
    random_universal_model(seed=1).save(own, overwrite=True)
    with pytest.raises(OutputError, match="weights"):
        compare([method], images, PSF_FIELD, config=config, output=folder)


def test_an_unrolled_network_is_trained_with_each_seed_and_only_once(tmp_path: Path) -> None:
    network = UnrolledConfig(
        stages=1, base_channels=2, iterations=(1, 2, 3), coordinates=("position",)
    )
    method = UnrolledMethod(
        name="CG-RL", unrolled=AdaptConfig(steps=2, batch_size=1), architecture=network
    )
    images = np.random.default_rng(0).random((4, 40, 48))
    config = ComparisonConfig(training=TrainingConfig(camera=CAMERA), seeds=2)
    rows = compare([method], images, PSF_FIELD, config=config, output=tmp_path).rows[1:]
    assert [(row.kind, row.seed, row.steps) for row in rows] == [
        ("unrolled", 0, 2),
        ("unrolled", 1, 2),
    ]
    assert rows[0].quality != rows[1].quality
    again = compare([method], images, PSF_FIELD, config=config, output=tmp_path).rows[1:]
    assert again == rows
