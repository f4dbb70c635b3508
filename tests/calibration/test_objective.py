"""Objective and camera of a measured lens, by which it is offered again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_coordgate.calibration import calibrate_images
from napari_coordgate.config import Lens
from napari_coordgate.io import (
    OpticalMetadata,
    Stated,
    keep_lens,
    kept_lens_for,
    kept_lenses,
    read_image,
)
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.io.lens_library import LENS_FOLDER_VARIABLE


def test_a_measured_lens_is_offered_for_the_next_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv(LENS_FOLDER_VARIABLE, str(tmp_path_factory.mktemp("lenses")))
    optics = OpticalMetadata(objective=Stated("Plan 20x", "file"), camera=Stated("Zyla", "file"))
    image = replace(
        read_image(sample_data_folder() / "blurred" / "nuclei.tif"),
        optics=optics,
        pixel_size_um=(0.325, 0.325),
    )
    known = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
    lens = calibrate_images(image, known).lens
    assert lens.calibration is not None
    assert (lens.calibration.objective, lens.calibration.camera) == ("Plan 20x", "Zyla")
    assert lens.calibration.frame_shape == image.frame_shape
    keep_lens(lens, "mine")
    assert kept_lens_for(image) == ("mine", kept_lenses()["mine"])
