"""Laws of looking at all images before the training."""

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Scaling, TrainingConfig
from napari_coordgate.data import Images, MeasuredPairs, Pairs, SimulatedPairs, prepare_pairs
from napari_coordgate.errors import (
    CanceledError,
    FrameMismatchError,
    ImageError,
    SettingsError,
    TrainingImagesWarning,
)
from napari_coordgate.events import Event, Progress
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField

FRAME = (24, 20)
FIELD = PSFField.from_lens(GaussianLens(sigma_edge_px=1.0), FRAME)
CONFIG = TrainingConfig(window_size=16)

R = TypeVar("R")


def stack(number: int, shape: tuple[int, int] = FRAME) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((number, *shape), dtype=np.float32)


def drained(events: Generator[Event, None, R]) -> tuple[list[Event], R]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def prepared(sharp: Images, blurred: Images | None = None, **changes: Any) -> tuple[Pairs, Pairs]:
    config = CONFIG.model_copy(update=changes)
    field = FIELD if blurred is None else None
    return drained(prepare_pairs(config, sharp, field, blurred))[1]


def names(pairs: Pairs) -> set[str]:
    return {plane.name for plane in pairs.sharp}


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 99))
def test_validation_images_are_never_trained_on(images: int, fraction: float, seed: int) -> None:
    sharp = stack(images, (3, 3))
    training, validation = prepared(sharp, validation_fraction=fraction, seed=seed)
    assert names(training).isdisjoint(names(validation))
    assert len(training) + len(validation) == images
    assert min(len(training), len(validation)) >= 1
    assert len(validation) == pytest.approx(fraction * images, abs=1)


def test_a_single_image_serves_both_with_a_warning() -> None:
    with pytest.warns(TrainingImagesWarning, match="Only 1 image"):
        training, validation = prepared(stack(1))
    assert names(training) == names(validation)


def test_the_split_follows_from_the_seed() -> None:
    validations = [names(prepared(stack(20), seed=seed)[1]) for seed in (0, 0, 1)]
    assert validations[0] == validations[1] != validations[2]


def test_measured_pairs_stay_pairs_in_the_split() -> None:
    sharp = stack(9)
    training, validation = prepared(sharp, blurred=sharp + 1)
    for pairs in (training, validation):
        assert isinstance(pairs, MeasuredPairs)
        for one, other in zip(pairs.sharp, pairs.blurred, strict=True):
            assert np.array_equal(one.read() + 1, other.read())


def test_each_image_is_scaled_by_its_own_percentiles() -> None:
    sharp = stack(4) * np.array([1, 10, 100, 1000], np.float32)[:, None, None]
    training, _ = prepared(sharp, scaling=Scaling(low_percentile=0, high_percentile=100))
    assert isinstance(training, SimulatedPairs)
    for plane, between in zip(training.sharp, training.ranges, strict=True):
        assert (between.low, between.high) == (plane.read().min(), plane.read().max())


def test_measured_pairs_are_scaled_by_the_blurred_image() -> None:
    whole = Scaling(low_percentile=0, high_percentile=100)
    training, _ = prepared(stack(3) * 100, blurred=stack(3), scaling=whole)
    for plane, between in zip(training.sharp, training.ranges, strict=True):
        assert between.high == plane.read().max() / np.float32(100)


def test_progress_counts_the_images() -> None:
    events, _ = drained(prepare_pairs(CONFIG, stack(3), FIELD, None))
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]


def test_images_to_validate_on_are_not_trained_on() -> None:
    sharp, held_out = stack(3), stack(2) + 1
    _, (training, validation) = drained(prepare_pairs(CONFIG, sharp, FIELD, None, held_out))
    for pairs, source, images in ((training, sharp, 3), (validation, held_out, 2)):
        assert len(pairs) == images
        for plane, image in zip(pairs.sharp, source, strict=True):
            np.testing.assert_array_equal(plane.read(), image)


def test_measured_pairs_validate_on_a_part_of_themselves() -> None:
    with pytest.raises(SettingsError, match="Measured pairs"):
        drained(prepare_pairs(CONFIG, stack(3), None, stack(3), stack(1)))


def test_cancel_ends_the_reading() -> None:
    cancel = threading.Event()
    events = prepare_pairs(CONFIG, stack(3), FIELD, None, cancel=cancel)
    next(events)
    cancel.set()
    with pytest.raises(CanceledError):
        next(events)


def test_bad_images_are_passed_over_and_named(tmp_path: Path) -> None:
    for name in "abcdefg":
        write_image(tmp_path / f"{name}.tif", Image(stack(1)[0], "YX"))
    for name in "bc":
        write_image(tmp_path / f"{name}.tif", Image(np.ones(FRAME), "YX"), overwrite=True)
    holed = np.where(stack(1)[0] > 0.9, np.nan, stack(1)[0])
    write_image(tmp_path / "e.tif", Image(holed, "YX"), overwrite=True)
    (tmp_path / "f.tif").write_bytes(b"no image")
    (tmp_path / "more").mkdir()
    write_image(tmp_path / "more" / "h.tif", Image(stack(1)[0], "YX"))
    with pytest.warns(TrainingImagesWarning, match="Not trained on") as caught:
        training, validation = prepared(tmp_path)
    used = {Path(name).stem for name in names(training) | names(validation)}
    assert used == set("adg")
    message = str(caught[0].message)
    assert all((f"{name}.tif" in message) == (name in "bcef") for name in "abcdefg")
    assert "more is a folder" in message


def test_many_bad_images_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="And 6 more like these"):
        prepared(np.zeros((9, *FRAME)))


def test_a_bad_measured_image_costs_its_pair_alone() -> None:
    sharp, blurred = stack(4), stack(4)
    sharp[1, 2, 3], blurred[2, 4, 4] = np.nan, np.inf
    with pytest.warns(TrainingImagesWarning, match=r"plane 1 .*NaN.*plane 2 .*NaN"):
        training, validation = prepared(sharp, blurred=blurred)
    used = names(training) | names(validation)
    assert used == {"image 0, plane 0", "image 0, plane 3"}


def test_images_that_do_not_form_pairs_are_an_error() -> None:
    with pytest.raises(FrameMismatchError, match="3 sharp and 2 blurred"):
        prepared(stack(3), blurred=stack(2))
    with pytest.raises(FrameMismatchError, match="one size"):
        prepared(stack(3), blurred=stack(3, (8, 9)))


def test_either_a_field_or_blurred_images_are_needed() -> None:
    for field, blurred in ((None, None), (FIELD, stack(2))):
        with pytest.raises(SettingsError, match="either a PSF field or measured"):
            drained(prepare_pairs(CONFIG, stack(2), field, blurred))
