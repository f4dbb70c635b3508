"""Tests of PSF fields on disk: saved equals loaded, and damaged files are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_coordgate.config import GaussianLens
from napari_coordgate.errors import OutputError, PSFError
from napari_coordgate.io.tiff import PSF_FIELD_KEY
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.psf_field_file import write_psf_field

FRAME = (40, 60)


@pytest.fixture
def psf_field() -> PSFField:
    lens = GaussianLens(sigma_center_px=0.8, sigma_edge_px=2, pixel_size_um=0.1 + 0.2)
    return PSFField.from_lens(lens, FRAME)


@pytest.fixture
def path(psf_field: PSFField, tmp_path: Path) -> Path:
    path = tmp_path / "field.tif"
    psf_field.save(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PSFError) as caught:
        PSFField.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def assert_equal(left: PSFField, right: PSFField) -> None:
    np.testing.assert_array_equal(left.kernels, right.kernels)
    np.testing.assert_array_equal(left.coefficients, right.coefficients)
    assert left.description() == right.description()
    image = np.random.default_rng(0).random(FRAME)
    np.testing.assert_array_equal(left.blur(image), right.blur(image))


def test_a_loaded_psf_field_equals_the_saved_one(psf_field: PSFField, path: Path) -> None:
    loaded = PSFField.load(path)
    assert_equal(loaded, psf_field)
    assert loaded.frame_shape == FRAME
    assert loaded.pixel_size_um == 0.1 + 0.2
    assert loaded.source["lens"]["sigma_edge_px"] == 2


@pytest.mark.parametrize(
    "source", [None, {"name": "objektiv µ", "ratio": 1 / 3, "list": [1, None]}]
)
def test_any_source_is_saved_with_a_psf_field_of_one_psf(
    source: dict[str, Any] | None, tmp_path: Path
) -> None:
    psf_field = PSFField(np.full((1, 3, 3), 1 / 9), np.ones((1, 1, 1)), FRAME, source=source)
    psf_field.save(tmp_path / "one.tif")
    loaded = PSFField.load(tmp_path / "one.tif")
    assert_equal(loaded, psf_field)
    assert loaded.source == (source or {})
    assert loaded.pixel_size_um is None


def test_the_optical_axis_is_saved(tmp_path: Path) -> None:
    psf_field = PSFField(np.full((1, 3, 3), 1 / 9), np.ones((1, 1, 1)), FRAME, axis=(0.1, -0.2))
    psf_field.save(tmp_path / "axis.tif")
    assert PSFField.load(tmp_path / "axis.tif").axis == (0.1, -0.2)


def test_the_optical_axis_of_a_lens_is_that_of_its_psf_field() -> None:
    lens = GaussianLens(axis=(0.25, -0.5))
    assert PSFField.from_lens(lens, FRAME).axis == (0.25, -0.5)


@pytest.mark.parametrize(
    ("source", "axis"),
    [({"lens": {"axis": [0.25, -0.5]}}, (0.25, -0.5)), ({"measured_psfs": 3}, (0.0, 0.0))],
)
def test_files_without_an_axis_are_loaded(
    source: dict[str, Any], axis: tuple[float, float], tmp_path: Path
) -> None:
    """Development versions of 0.1 stored the axis only as part of the lens."""
    kernels, coefficients = np.full((1, 3, 3), 1 / 9), np.ones((1, 1, 1))
    description = PSFField(kernels, coefficients, FRAME, source=source).description()
    del description["axis"]
    path = tmp_path / "old.tif"
    write_psf_field(path, description, kernels, coefficients, overwrite=False)
    assert PSFField.load(path).axis == axis


def test_a_description_can_be_stored_as_json(psf_field: PSFField) -> None:
    description = json.loads(json.dumps(psf_field.description()))
    again = PSFField.from_description(description, psf_field.kernels, psf_field.coefficients)
    assert_equal(again, psf_field)


def test_the_file_is_a_plain_stack_of_kernels(psf_field: PSFField, path: Path) -> None:
    stack = tifffile.imread(path)
    np.testing.assert_array_equal(stack, psf_field.kernels)
    assert stack.dtype == np.float32
    assert stack[0].sum() == pytest.approx(1)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.compression == 1
        per_cm = tiff.pages.first.resolution
    assert 1e4 / per_cm[0] == pytest.approx(0.3)


def test_an_existing_file_is_kept_without_overwrite(psf_field: PSFField, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        psf_field.save(path)
    assert path.read_bytes() == before
    psf_field.save(path, overwrite=True)
    assert_equal(PSFField.load(path), psf_field)


def test_a_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        tags_end = tiff.pages.next_page_offset  # What follows are two resolutions of a page.
    assert tags_end
    short = tmp_path / "short.tif"
    for length in (*range(0, tags_end, 97), tags_end):
        short.write_bytes(whole[:length])
        refusal(short)


@pytest.mark.parametrize("content", [b"", b"no TIFF\n", b"II*\0", b"II*\0\xff\xff\xff\x7f"])
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.tif"
    path.write_bytes(content)
    assert "not a complete PSF field" in refusal(path)


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing.tif")
    refusal(tmp_path)


@pytest.mark.parametrize("description", [None, "", "words", "[1, 2]", '{"shape": [3, 4, 5]}'])
def test_an_image_is_not_a_psf_field(description: str | None, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path,
        np.zeros((3, 4, 5), np.uint8),
        description=description,
        metadata=None,
        photometric="minisblack",
    )
    assert "not a complete PSF field" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2, but this program reads version 1; update"),
        ({"version": None}, "version None"),
        ({"frame_shape": [40]}, "damaged description"),
        ({"frame_shape": 40}, "damaged description"),
        ({"frame_shape": ["x", 60]}, "damaged description"),
        ({"frame_shape": [float("inf"), 60]}, "damaged description"),
        ({"frame_shape": [0, 60]}, "do not form a PSF field of a frame"),
        ({"pixel_size_um": "x"}, "damaged description"),
        ({"pixel_size_um": -1.0}, "must be positive, got -1.0"),
        ({"axis": [0.0]}, "damaged description"),
        ({"axis": ["x", 0.0]}, "damaged description"),
        ({"axis": [float("nan"), 0.0]}, "finite"),
        ({"source": "x"}, "damaged description"),
        ({"source": 1}, "damaged description"),
    ],
)
def test_a_damaged_description_is_refused(
    changes: dict[str, Any], message: str, psf_field: PSFField
) -> None:
    description = psf_field.description() | changes
    with pytest.raises(PSFError, match=f"^here: .*{message}") as caught:
        PSFField.from_description(description, psf_field.kernels, psf_field.coefficients, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["version", "frame_shape", "pixel_size_um", "source"])
def test_a_description_without_an_entry_is_refused(missing: str, psf_field: PSFField) -> None:
    description = psf_field.description()
    del description[missing]
    with pytest.raises(PSFError, match=missing):
        PSFField.from_description(description, psf_field.kernels, psf_field.coefficients)


@pytest.mark.parametrize("description", [None, 3, "words", [1, 2]])
def test_a_description_that_is_not_a_mapping_is_refused(
    description: Any, psf_field: PSFField, path: Path
) -> None:
    with pytest.raises(PSFError, match="version None"):
        PSFField.from_description(description, psf_field.kernels, psf_field.coefficients)


def test_a_newer_file_says_what_to_do(psf_field: PSFField, tmp_path: Path) -> None:
    path = tmp_path / "newer.tif"
    newer = psf_field.description() | {"version": 7}
    write_psf_field(path, newer, psf_field.kernels, psf_field.coefficients, overwrite=False)
    assert "version 7" in refusal(path)
    assert "update napari-coordgate" in refusal(path)


def test_arrays_that_do_not_fit_together_are_refused(psf_field: PSFField, tmp_path: Path) -> None:
    path = tmp_path / "unfit.tif"
    write_psf_field(
        path,
        psf_field.description(),
        psf_field.kernels,
        psf_field.coefficients[:-1],
        overwrite=False,
    )
    assert "do not form a PSF field" in refusal(path)


@pytest.mark.parametrize("series", [0, 1])
def test_a_series_that_claims_a_huge_size_is_refused(series: int, path: Path) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.series[series].keyframe
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            page.tags[name].overwrite(2**31 - 1)
    refusal(path)


def test_a_description_that_claims_a_huge_stack_is_refused(psf_field: PSFField, path: Path) -> None:
    text = json.dumps({PSF_FIELD_KEY: psf_field.description(), "shape": [10**6, 10**6, 10**6]})
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["ImageDescription"].overwrite(text)
    refusal(path)
