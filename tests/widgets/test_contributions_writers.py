from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Points

from napari_coordgate.errors import OutputError
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.contributions import write_psf_field
from napari_coordgate.widgets.layers import LayerData, psf_field_metadata


@pytest.fixture
def psf_field() -> PSFField:
    return PSFField(np.ones((1, 3, 3)) / 9, np.ones((1, 1, 1)), (8, 8), pixel_size_um=0.2)


@pytest.fixture
def layers(psf_field: PSFField) -> list[LayerData]:
    image = Image(np.zeros((8, 8)), name="lens", metadata=psf_field_metadata(psf_field))
    return [layer.as_layer_data_tuple() for layer in (Points(np.zeros((1, 2))), image)]


def test_the_psf_field_of_the_layer_is_saved(
    tmp_path: Path, psf_field: PSFField, layers: list[LayerData]
) -> None:
    (path,) = write_psf_field(str(tmp_path / "lens.psf.tif"), layers)
    saved = PSFField.load(path)
    assert saved.description() == psf_field.description()
    np.testing.assert_array_equal(saved.kernels, psf_field.kernels)


def test_a_missing_suffix_is_added(tmp_path: Path, layers: list[LayerData]) -> None:
    assert write_psf_field(str(tmp_path / "lens"), layers) == [str(tmp_path / "lens.psf.tif")]


def test_a_file_that_napari_did_not_ask_about_is_not_replaced(
    tmp_path: Path, layers: list[LayerData]
) -> None:
    (tmp_path / "lens.psf.tif").write_text("precious")
    with pytest.raises(OutputError, match="already exists; choose another name"):
        write_psf_field(str(tmp_path / "lens"), layers)
    assert (tmp_path / "lens.psf.tif").read_text() == "precious"


def test_an_image_without_a_psf_field_is_refused(tmp_path: Path) -> None:
    layer = Image(np.zeros((8, 8)), name="cells").as_layer_data_tuple()
    with pytest.raises(OutputError, match="cells contains no PSF field"):
        write_psf_field(str(tmp_path / "lens.psf.tif"), [layer])
    assert not list(tmp_path.iterdir())
