"""The contributions at work in a window."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate.config import GaussianLens
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.session import session_of

PLUGIN = "napari-coordgate"


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer()


@pytest.mark.parametrize(
    "key", ["nuclei_to_train_on", "nuclei_sharp", "nuclei_blurred", "beads_blurred"]
)
def test_the_menu_opens_each_sample(viewer: Any, key: str) -> None:
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(f"{PLUGIN}.{key}").result()
    assert len(viewer.layers) == (2 if key == "nuclei_to_train_on" else 1)


def test_sharp_and_blurred_nuclei_share_their_axes(viewer: Any) -> None:
    for key in ("nuclei_sharp", "nuclei_blurred"):
        viewer.open_sample(PLUGIN, key)
    sharp, blurred = viewer.layers
    np.testing.assert_array_equal(sharp.extent.world, blurred.extent.world)
    assert viewer.dims.axis_labels == ("plane", "y", "x")


def test_a_model_opens_as_if_dropped_on_the_window(viewer: Any) -> None:
    path = sample_data_folder() / "starter.safetensors"
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)  # noqa: SLF001 - what a drop calls
    assert viewer.layers[0].name == "starter down 1 (32 channels)"
    assert len(viewer.layers) == 4


def test_a_dropped_universal_model_is_offered_by_every_widget(qtbot: Any, viewer: Any) -> None:
    path = sample_data_folder() / "universal.safetensors"
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)  # noqa: SLF001 - as above
    qtbot.waitUntil(lambda: "universal" in session_of(viewer).universal_models, timeout=20_000)
    assert len(viewer.layers) == 0


def test_a_psf_field_is_saved_and_opened_again(viewer: Any, tmp_path: Path) -> None:
    lens = GaussianLens(sigma_edge_px=1.5, pixel_size_um=0.2)
    PSFField.from_lens(lens, (48, 64), tolerance=0.03).save(tmp_path / "lens.psf.tif")
    viewer.open(tmp_path / "lens.psf.tif", plugin=PLUGIN)
    (copy,) = viewer.layers.save(str(tmp_path / "copy.psf.tif"))
    np.testing.assert_array_equal(
        PSFField.load(copy).kernels, PSFField.load(tmp_path / "lens.psf.tif").kernels
    )
