"""Flat field of a PSF field: a gain per pixel in the forward model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_coordgate.config import GaussianLens
from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField

FRAME = (40, 52)
PLAIN = PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), FRAME)
ROWS, COLUMNS = np.meshgrid(*(np.linspace(-1, 1, side) for side in FRAME), indexing="ij")
GAIN = 1.3 - 0.4 * ROWS**2 - 0.3 * COLUMNS**2 + 0.1 * COLUMNS
FIELD = PLAIN.with_flat_field(GAIN)
SCENE = np.random.default_rng(0).random(FRAME)
WINDOW = Window(5, 8, 20, 30)


def test_the_gain_is_kept_but_for_its_scale() -> None:
    assert FIELD.gain is not None
    np.testing.assert_allclose(FIELD.gain, GAIN / GAIN.mean(), rtol=1e-6)


@pytest.mark.parametrize("window", [Window.whole(FRAME), WINDOW])
def test_the_blur_is_multiplied_by_the_gain(window: Window) -> None:
    expected = (
        PLAIN.blur(SCENE, window=window) * (GAIN / GAIN.mean())[window.within(Window.whole(FRAME))]
    )
    np.testing.assert_allclose(FIELD.blur(SCENE, window=window), expected, rtol=1e-6)


def test_the_adjoint_is_the_transpose() -> None:
    image = np.random.default_rng(1).random(WINDOW.shape)
    left = (FIELD.blur(SCENE, window=WINDOW) * image).sum()
    right = (FIELD.adjoint(image, window=WINDOW) * SCENE).sum()
    assert left == pytest.approx(right, rel=1e-9)


def test_patches_have_the_gain_of_their_positions() -> None:
    radius = FIELD.radius
    scenes = torch.rand(2, 16 + 2 * radius, 16 + 2 * radius)
    origins = [(0, 0), (20, 30)]
    for patch, plain, (y, x) in zip(
        FIELD.blur_patches(scenes, origins),
        PLAIN.blur_patches(scenes, origins),
        origins,
        strict=True,
    ):
        gain = (GAIN / GAIN.mean())[y : y + 16, x : x + 16]
        np.testing.assert_allclose(patch.numpy(), plain.numpy() * gain, rtol=1e-4, atol=1e-6)


def test_the_operator_and_the_mean_psf_keep_the_gain() -> None:
    scene = torch.from_numpy(SCENE)
    blurred = FIELD.operator(device="cpu")(scene)
    np.testing.assert_allclose(blurred.numpy(), FIELD.blur(SCENE))
    np.testing.assert_array_equal(FIELD.with_mean_psf().gain, FIELD.gain)
    assert FIELD.with_flat_field(None).gain is None


def test_a_saved_psf_field_has_the_same_gain(tmp_path: Path) -> None:
    FIELD.save(tmp_path / "field.tif")
    loaded = PSFField.load(tmp_path / "field.tif")
    np.testing.assert_array_equal(loaded.gain, FIELD.gain)
    np.testing.assert_array_equal(loaded.blur(SCENE), FIELD.blur(SCENE))
    json.dumps(FIELD.description())
    PLAIN.save(tmp_path / "plain.tif")
    assert PSFField.load(tmp_path / "plain.tif").gain is None


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        (np.ones((3, 3)), "shape"),
        (np.zeros(FRAME), "positive"),
        (np.full(FRAME, np.nan), "positive"),
    ],
)
def test_a_gain_that_cannot_be_used_is_named(gain: object, message: str) -> None:
    with pytest.raises(PSFError, match=message):
        PLAIN.with_flat_field(gain)  # type: ignore[arg-type]


@pytest.mark.parametrize("damaged", ["text", [[1.0, 2.0]], [[float("nan")]], [1.0], {}])
def test_a_damaged_flat_field_is_an_error(damaged: object) -> None:
    description = FIELD.description() | {"flat_field": damaged}
    with pytest.raises(PSFError, match="flat field"):
        PSFField.from_description(description, FIELD.kernels, FIELD.coefficients)
