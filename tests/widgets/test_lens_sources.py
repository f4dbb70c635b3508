"""Where the values of the Lens PSF form come from, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.config import LENS_PRESET_NOTE, Lens, LensCalibration
from napari_coordgate.io import OpticalMetadata, keep_lens, kept_lenses, read_image, save_lens
from napari_coordgate.io.lens_library import LENS_FOLDER_VARIABLE
from napari_coordgate.widgets.layers import image_of
from napari_coordgate.widgets.lens_psf import LensPSFWidget
from napari_coordgate.widgets.lens_sources import with_file_optics
from tests.io.test_optics_in_files import ome_tiff, ome_xml
from tests.widgets.acting import WAIT_MS, click

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

MEASURED = Lens(
    na=0.8,
    wavelength_nm=455,
    pixel_size_um=0.2,
    field_curvature_um=0.5,
    calibration=LensCalibration(
        method="beads",
        standard_errors={"field_curvature_um": 0.1, "tilt_um.y": 0.3, "tilt_um.x": 0.2},
        date="2025-03-31",
        objective="Plan Apo",
    ),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(LENS_FOLDER_VARIABLE, str(tmp_path / "lenses"))
    return tmp_path


def lens_psf(qtbot: QtBot, viewer: Viewer) -> LensPSFWidget:
    widget = LensPSFWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Lens PSF")
    qtbot.waitUntil(widget.isVisible, timeout=WAIT_MS)
    return widget


def add_file(viewer: Viewer, path: Path, name: str) -> ImageLayer:
    """Add the first channel of an image as napari's readers do, with its file as the source."""
    from napari.layers._source import layer_source

    with layer_source(path=str(path)):
        pixels = read_image(path).pixels[0]
        layer: ImageLayer = viewer.add_image(
            np.asarray(pixels), name=name, scale=(0.2, 0.2), units=("um", "um")
        )
    return layer


def suffixes(widget: LensPSFWidget, name: str) -> list[str]:
    boxes = widget.forms["pupil"].editors[name].boxes  # type: ignore[attr-defined]
    return [box.suffix() for box in boxes]


def test_a_preset_says_what_it_assumes(qtbot: QtBot, viewer: Viewer) -> None:
    widget = lens_psf(qtbot, viewer)
    assert widget.source.text() == LENS_PRESET_NOTE
    widget.preset.setCurrentText("Gaussian, blur width only")
    assert "widths" in widget.source.text()


def test_the_file_of_an_image_fills_in_the_form(qtbot: QtBot, viewer: Viewer, folder: Path) -> None:
    widget = lens_psf(qtbot, viewer)
    add_file(viewer, ome_tiff(folder / "a.ome.tif", ome_xml(immersion="Water")), "a GFP")
    lens = widget.lens
    assert isinstance(lens, Lens)
    assert (lens.na, lens.wavelength_nm, lens.refractive_index) == (0.8, 510, 1.33)
    assert lens.pixel_size_um == pytest.approx(0.2)
    assert "OME-XML Objective LensNA" in widget.source.text()
    assert "Not stated: Field curvature, aberrations; guesses of" in widget.source.text()


def test_the_wavelength_is_left_where_the_channel_is_unclear(
    qtbot: QtBot, viewer: Viewer, folder: Path
) -> None:
    widget = lens_psf(qtbot, viewer)
    add_file(viewer, ome_tiff(folder / "a.ome.tif", ome_xml()), "a")
    assert isinstance(widget.lens, Lens)
    assert (widget.lens.na, widget.lens.wavelength_nm) == (0.8, 520)
    assert "Not stated: Emission wavelength, Field curvature" in widget.source.text()


def test_a_calibrated_lens_is_chosen_for_images_of_its_objective(
    qtbot: QtBot, viewer: Viewer, folder: Path
) -> None:
    widget = lens_psf(qtbot, viewer)
    keep_lens(MEASURED, "my objective")
    add_file(viewer, ome_tiff(folder / "a.ome.tif", ome_xml()), "a DAPI")
    assert widget.lens == MEASURED
    assert widget.preset.currentText() == "my objective (2025-03-31)"
    assert "measured with beads on 2025-03-31" in widget.source.text()
    assert "Chosen for the objective of the image, Plan Apo" in widget.source.text()
    assert suffixes(widget, "field_curvature_um") == [" ± 0.1 µm"]
    assert suffixes(widget, "tilt_um") == [" ± 0.3 µm", " ± 0.2 µm"]
    assert suffixes(widget, "na") == [""]


def test_an_image_to_measure_on_states_objective_and_camera(viewer: Viewer, folder: Path) -> None:
    layer = add_file(viewer, ome_tiff(folder / "a.ome.tif", ome_xml()), "a DAPI")
    optics = with_file_optics(image_of(layer), layer).optics
    assert optics.objective is not None and optics.objective.value == "Plan Apo"
    assert optics.camera is not None and optics.camera.value == "Zyla 4.2"
    in_memory = viewer.add_image(np.zeros((8, 8)))
    assert with_file_optics(image_of(in_memory), in_memory).optics == OpticalMetadata()


def test_a_calibrated_lens_that_is_changed_loses_its_error_bars(
    qtbot: QtBot, viewer: Viewer
) -> None:
    widget = lens_psf(qtbot, viewer)
    widget.set_lens(MEASURED)
    widget.forms["pupil"].editors["field_curvature_um"].set_value(3.0)
    assert isinstance(widget.lens, Lens)
    assert widget.lens == MEASURED.replace(field_curvature_um=3.0, calibration=None)
    assert "no longer" in widget.source.text()
    assert suffixes(widget, "field_curvature_um") == [" µm"]
    assert not widget.keep.isVisible()


def test_a_loaded_calibrated_lens_is_kept_and_offered(
    qtbot: QtBot, viewer: Viewer, folder: Path
) -> None:
    save_lens(MEASURED, folder / "lens.yaml")
    widget = lens_psf(qtbot, viewer)
    assert not widget.keep.isVisible()
    widget.load_file(folder / "lens.yaml")
    assert "lens.yaml: measured with beads" in widget.source.text()
    assert widget.keep.isVisible()
    widget.name.setText("new one")
    click(widget.keep)
    assert kept_lenses() == {"new one": MEASURED}
    assert widget.preset.currentText() == "new one (2025-03-31)"
    widget.preset.setCurrentText("20x 0.8 air")
    widget.preset.setCurrentText("new one (2025-03-31)")
    assert widget.lens == MEASURED


def test_a_name_that_is_taken_is_reported(
    qtbot: QtBot, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_coordgate.widgets.lens_psf.show_error", told.append)
    keep_lens(MEASURED, "lens")
    widget = lens_psf(qtbot, viewer)
    widget.set_lens(MEASURED)
    click(widget.keep)
    assert "already exists" in told[0]
