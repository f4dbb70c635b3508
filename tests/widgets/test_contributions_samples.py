import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image

from napari_coordgate import Model, deblur
from napari_coordgate.demo import SEED, blurred_sample
from napari_coordgate.geometry import field_radius
from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import quality
from napari_coordgate.widgets import contributions as samples
from napari_coordgate.widgets.layers import LayerData

ALL = [
    samples.nuclei_to_train_on,
    samples.nuclei_sharp,
    samples.nuclei_blurred,
    samples.beads_blurred,
]


@pytest.mark.parametrize("sample", ALL)
def test_layers_of_a_sample_have_a_pixel_size(
    sample: Callable[[], list[LayerData]],
) -> None:
    for pixels, options, kind in sample():
        layer = Image(pixels, **options)
        assert kind == "image"
        np.testing.assert_allclose(layer.scale[-2:], 0.325)
        assert [str(unit) for unit in layer.units[-2:]] == ["micrometer"] * 2
        assert layer.colormap.name == "gray"
        assert not layer.rgb


def test_the_training_sample_holds_every_pixel_of_its_files() -> None:
    stacks = [pixels for pixels, _, _ in samples.nuclei_to_train_on()]
    assert [stack.shape for stack in stacks] == [(2, 360, 360), (4, 520, 696)]


def test_training_and_test_samples_are_disjoint() -> None:
    train, test = (
        {path.name for path in find_images(sample_data_folder() / name)}
        for name in ("train", "test")
    )
    assert not train & test


def test_the_starter_model_recovers_the_sharp_nuclei_from_the_blurred_ones() -> None:
    starter = Model.load(sample_data_folder() / "starter.safetensors")
    ((sharp, _, _),), ((blurred, _, _),) = samples.nuclei_sharp(), samples.nuclei_blurred()
    radius = field_radius(starter.frame_shape)
    for n, path in enumerate(find_images(sample_data_folder() / "test")):
        made = blurred_sample(path, starter, SEED + n)
        np.testing.assert_array_equal(sharp[n], made.sharp)
        before, after = (
            quality(made.sharp, image, radius, made.data_range)["psnr"]
            for image in (blurred[n], deblur(blurred[n], starter))
        )
        assert after > before + 4


def test_each_bead_shows_the_blur_at_its_position() -> None:
    psf_field = Model.load(sample_data_folder() / "starter.safetensors").psf_field
    ((beads, _, _),) = samples.beads_blurred()
    assert psf_field is not None and beads.shape == psf_field.frame_shape
    light = beads.astype(float) - np.median(beads)
    y, x = np.unravel_index(np.argmax(light), light.shape)
    around = light[y - 5 : y + 6, x - 5 : x + 6]
    middle = psf_field.size // 2
    psf = psf_field.psf_at(int(y), int(x))[middle - 5 : middle + 6, middle - 5 : middle + 6]
    np.testing.assert_allclose(around / around.max(), psf / psf.max(), atol=0.03)


def test_the_blurred_samples_are_reproducible(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.samples", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True)
    for name in ("nuclei.tif", "beads.tif"):
        made, kept = (
            read_image(folder / name).pixels
            for folder in (tmp_path, sample_data_folder() / "blurred")
        )
        # Another processor may round the blur's last digit the other way.
        assert np.mean(made != kept) < 5e-3
