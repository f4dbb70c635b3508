"""The verdict before and after deblurring with a lens that was not measured, as in the dock."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import LENS_PRESETS, Camera, Lens
from napari_coordgate.data.procedural import RandomFields, filaments
from napari_coordgate.geometry import Window
from napari_coordgate.inference import FrameAlignment, assess
from napari_coordgate.io import Image, find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import simulate
from napari_coordgate.widgets.checking import CheckRequest
from napari_coordgate.widgets.trust import findings_text

SHAPE = (128, 128)


def membranes() -> NDArray[np.float32]:
    scene = np.asarray(filaments(RandomFields(np.random.default_rng(3), SHAPE[0])), np.float32)
    scaled: NDArray[np.float32] = 255 * (scene - scene.min()) / (scene.max() - scene.min())
    return scaled


def nuclei() -> NDArray[np.float32]:
    pixels = read_image(find_images(sample_data_folder() / "test")[1]).pixels
    return np.asarray(pixels[60:188, 60:188], np.float32)


@pytest.mark.parametrize(
    ("scene", "field_curvature_um", "photons"), [(membranes(), 2.0, 2000), (nuclei(), 6.0, 60)]
)
def test_what_is_worse_than_the_image_is_never_green(
    scene: NDArray[np.float32], field_curvature_um: float, photons: float
) -> None:
    assumed = LENS_PRESETS["20x 0.5 air"]
    assert isinstance(assumed, Lens)
    lens = assumed.replace(field_curvature_um=field_curvature_um)
    guess, true = (PSFField.from_lens(one, SHAPE, 0.05, 0.95) for one in (assumed, lens))
    blurred = simulate(scene, true, Camera(photons=photons, read_noise=3), rng=1)
    result = assess(blurred, "universal", psf_field=guess)
    is_better = psnr(scene, result.image, 255) > psnr(scene, blurred, 255)
    assert is_better or result.verdict.color != "green"

    alignment = FrameAlignment(Window.whole(SHAPE), SHAPE)
    before = CheckRequest(Image(blurred, "YX"), guess, Camera(), alignment).compute(None)
    for verdict in (before, result.verdict):
        if verdict.color != "green":
            assert "measure" in findings_text(verdict)  # what to do
