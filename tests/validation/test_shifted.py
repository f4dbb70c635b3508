"""Two shifted images of one sample tell a right deblurring from a wrong one and from smoothing."""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

from napari_coordgate import (
    Camera,
    CanceledError,
    DeblurRuntime,
    Image,
    ImageError,
    OutputError,
    Progress,
    PSFField,
    SettingsError,
    ShiftedValidation,
    validate_shifted,
    write_image,
)
from napari_coordgate.calibration.shifted_tiles import overlap_power, tile_pairs
from napari_coordgate.validation.agreement import compare_zones, usable_pairs
from tests.calibration.scenes import LENS, cells

Images = NDArray[np.float32]

TRUE = LENS.replace(field_curvature_um=6.0)
SIDE = 256
SHIFT = np.array([6.0, 118.0])


@cache
def psf_field(times: float = 1.0) -> PSFField:
    """Blur of the lens with so many times its field curvature."""
    lens = TRUE.replace(field_curvature_um=times * TRUE.field_curvature_um)
    return PSFField.from_lens(lens, (SIDE, SIDE), tolerance=3e-2)


@cache
def pair(photons: float = 1000.0) -> tuple[Images, Images]:
    """Two images of one scene, which moved by `SHIFT` between them."""
    scene, rng = cells(np.random.default_rng(4), 480, 500), np.random.default_rng(1)
    planes = []
    for y, x in ((0, 0), SHIFT.astype(int)):
        clean = np.clip(psf_field().blur(scene, origin=(y - 100, x - 160)), 0, None)
        electrons = rng.poisson(photons * clean) + 3 * rng.normal(size=clean.shape)
        planes.append(electrons.astype(np.float32))
    return planes[0], planes[1]


@cache
def validated(times: float = 1.0, photons: float = 1000.0) -> ShiftedValidation:
    return validate_shifted(
        *pair(photons), psf_field=psf_field(times), runtime=DeblurRuntime(check=False)
    )


@pytest.mark.parametrize("photons", [200.0, 1000.0])
def test_with_the_true_lens_edge_and_middle_agree_better(photons: float) -> None:
    result = validated(photons=photons)
    assert result.outcome == "better"
    assert result.edge.change > 0.1
    assert result.edge.detail > 1
    assert np.abs(result.shift_px - SHIFT).max() < 0.5
    assert "better" in result.verdict


def test_with_too_strong_a_lens_they_do_not() -> None:
    result = validated(2.0)
    assert result.outcome != "better"
    assert "check the lens" in result.verdict


def test_with_a_lens_without_curvature_they_do_not() -> None:
    assert validated(0.0).outcome == "no better"


@pytest.mark.parametrize("smooth", [1.0, 2.0, 4.0, 8.0, None])
def test_smoothing_does_not_count(smooth: float | None) -> None:
    """Neither a Gaussian filter nor a median."""
    first, second = (
        median_filter(plane, 5) if smooth is None else gaussian_filter(plane, smooth)
        for plane in pair(200.0)
    )
    usable = usable_pairs(tile_pairs(pair(200.0), (0, 1), SHIFT), "a and b")
    after = overlap_power((first, second), SHIFT)[usable.number]
    *_, edge = compare_zones(usable, after, (SIDE, SIDE), "a and b")
    assert edge.change < 0.02
    assert edge.detail < 1.01
    result = ShiftedValidation((edge,), SHIFT, ("a", "b"))
    assert result.outcome != "better"
    assert smooth != 8.0 or "of the detail" in result.verdict


def test_the_same_images_agree_and_a_scale_does_not_matter() -> None:
    usable = usable_pairs(tile_pairs(pair(), (0, 1), SHIFT), "a and b")
    scaled = overlap_power((3 * pair()[0], 3 * pair()[1]), SHIFT)[usable.number]
    for zone in compare_zones(usable, scaled, (SIDE, SIDE), "a and b"):
        assert zone.before - 0.2 < zone.after <= zone.before  # noise counts after, not before
        assert zone.detail == pytest.approx(3.0)
    equal = usable.power[..., :1].repeat(3, axis=-1)
    for zone in compare_zones(usable, equal, (SIDE, SIDE), "a and b"):
        assert zone.after == pytest.approx(1.0, abs=1e-3)


def test_writes_a_picture_and_the_numbers_once(tmp_path: Path) -> None:
    result = validated()
    picture, numbers = result.save(tmp_path / "proof")
    assert picture.read_bytes().startswith(b"\x89PNG")
    figures = json.loads(numbers.read_text())
    assert figures["outcome"] == "better"
    assert figures["zones"][-1]["after"] == pytest.approx(result.edge.after, abs=1e-4)
    with pytest.raises(OutputError, match="already exists"):
        result.save(tmp_path / "proof")
    result.save(tmp_path / "proof", overwrite=True)


def test_unsuitable_images_get_one_line() -> None:
    first, second = pair()
    rng = np.random.default_rng(0)
    blank = rng.normal(100, 3, (SIDE, SIDE)).astype(np.float32)
    for wrong, message in (
        ((first, first), "shifted by only"),
        ((first, blank), "no common content"),
        ((first, second[:, :200]), "256x200"),
        ((first, np.stack([second, second])), "2 planes"),
        ((first, np.ones_like(first)), "constant"),
        ((first[:, 130:], second[:, 130:]), "128 x 128|share"),
        ((np.minimum(first, 250), np.minimum(second, 250)), "saturated"),
    ):
        with pytest.raises(ImageError, match=message):
            validate_shifted(*wrong, psf_field=psf_field())
    with pytest.raises(ImageError, match="do not overlap enough"):
        validate_shifted(first, second, psf_field=psf_field(), shifts_px=(0, 240))
    with pytest.raises(SettingsError, match="pairs"):
        validate_shifted(first, second, psf_field=psf_field(), shifts_px=(1, 2, 3))
    with pytest.raises(SettingsError, match="blur of the lens"):
        validate_shifted(first, second)


def test_files_and_a_known_camera(tmp_path: Path) -> None:
    for name, plane in zip("ab", pair(), strict=True):
        write_image(tmp_path / f"{name}.tif", Image(plane, "YX"))
    events: list[object] = []
    result = validate_shifted(
        tmp_path / "a.tif",
        tmp_path / "b.tif",
        "richardson-lucy",
        psf_field=psf_field(),
        camera=Camera(electrons_per_count=1.0, offset=0.0, read_noise=3.0),
        shifts_px=SHIFT + 2,
        callback=events.append,
    )
    assert result.outcome == "better"
    assert "a.tif" in result.names[0]
    assert any(isinstance(event, Progress) for event in events)


def test_cancels_at_once() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        validate_shifted(*pair(), psf_field=psf_field(), cancel=cancel)
