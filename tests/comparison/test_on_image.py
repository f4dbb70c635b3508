"""Methods compared on one image: measured where the truth is known, none stops the others."""

import csv
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.comparison.on_image import (
    AnyMethod,
    MethodDone,
    Scene,
    as_csv,
    blurred_scene,
    compare_on_image,
)
from napari_coordgate.config import (
    Camera,
    GaussianLens,
    NetworkConfig,
    RichardsonLucyConfig,
    TrainingConfig,
    WienerConfig,
)
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.events import Finished, Progress
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField

FRAME = (40, 48)
METHODS: dict[str, AnyMethod] = {
    "mean Wiener": WienerConfig(psf="mean"),
    "Wiener": WienerConfig(),
    "RL": RichardsonLucyConfig(num_iter=10),
}


@pytest.fixture(scope="module")
def field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=1.8), FRAME)


@pytest.fixture(scope="module")
def network() -> Model:
    """A network of random weights."""
    torch.manual_seed(0)
    config = TrainingConfig(network=NetworkConfig(depth=2, base_channels=4))
    return Model(config, build_network(config.network).state_dict(), FRAME)


@pytest.fixture(scope="module")
def sharp() -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    scene = np.full(FRAME, 300, np.uint16)
    for y, x in rng.integers(0, 36, (25, 2)):
        scene[y : y + 5, x : x + 4] = rng.integers(1000, 4000)
    return scene


@pytest.fixture(scope="module")
def scene(sharp: NDArray[np.uint16], field: PSFField) -> Scene:
    return blurred_scene(Image(sharp, "YX"), field, Camera(photons=5000))


def rows_of(events: Iterable[object]) -> list[MethodDone]:
    return [event for event in events if isinstance(event, MethodDone)]


def end_of(events: Iterable[Any]) -> Finished:
    *_, end = events
    assert isinstance(end, Finished)
    return end


def test_every_method_is_measured_and_comes_nearer_to_the_truth(
    scene: Scene, field: PSFField, sharp: NDArray[np.uint16]
) -> None:
    rows = rows_of(compare_on_image(scene, METHODS, field))
    assert [row.name for row in rows] == ["blurred", *METHODS]
    assert rows[0].is_input and not any(row.is_input for row in rows[1:])
    for row in rows[1:]:
        assert row.figures["psnr"] > rows[0].figures["psnr"]
        assert row.seconds is not None and row.seconds > 0
        assert row.parameters is None
    assert rows[2].figures["psnr"] > rows[1].figures["psnr"]  # each pixel's own PSF helps


def test_figures_are_of_the_truths_units_and_range(scene: Scene, sharp: NDArray[np.uint16]) -> None:
    low, high = np.percentile(sharp, (1, 99.8))
    restored = sharp + np.float32(7)
    assert scene.figures(restored)["psnr"] == pytest.approx(
        psnr(sharp.astype(float), restored, high - low), abs=1e-3
    )
    scaled = Scene(Image(scene.blurred.pixels * 10, "YX"), sharp.astype(np.float64) * 10)
    assert scaled.figures(restored * 10)["psnr"] == pytest.approx(
        scene.figures(restored)["psnr"], abs=1e-3
    )


def test_a_network_is_run_as_deblur_runs_it(scene: Scene, network: Model) -> None:
    _, row = rows_of(compare_on_image(scene, {"net": network}))
    np.testing.assert_array_equal(row.restored, deblur(scene.blurred, network))
    assert row.parameters == sum(w.numel() for w in network.network.parameters())


def test_nothing_is_measured_where_the_truth_is_unknown(scene: Scene, network: Model) -> None:
    events = list(compare_on_image(Scene(scene.blurred), {"net": network}))
    (row,) = rows_of(events)
    assert row.restored is not None and not row.figures
    assert "truth is unknown" in end_of(events).message


def test_progress_names_the_method(scene: Scene, network: Model, field: PSFField) -> None:
    events = list(compare_on_image(scene, {"net": network, "RL": METHODS["RL"]}, field))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["net", "RL"]
    assert stages.count("RL") > 2


def test_a_method_that_fails_is_a_row_that_says_why(
    scene: Scene, network: Model, field: PSFField
) -> None:
    other = Model(network.config, network.weights, (99, 64))
    events = list(compare_on_image(scene, {"other": other, "Wiener": METHODS["Wiener"]}, field))
    _, failed, ended = rows_of(events)
    assert failed.restored is None and "99x64" in failed.note
    assert ended.restored is not None
    end = end_of(events)
    assert end.reason == "completed" and "1 failed" in end.message
    assert end.result == rows_of(events)


def test_a_comparison_of_which_nothing_came_has_failed(scene: Scene) -> None:
    events = list(compare_on_image(scene, {"Wiener": WienerConfig()}))
    assert "PSF field" in rows_of(events)[1].note
    assert end_of(events).reason == "failed"


def test_an_image_at_another_size_of_the_frame_is_noted(scene: Scene, network: Model) -> None:
    binned = Scene(Image(scene.blurred.pixels[::2, ::2], "YX"))
    (row,) = rows_of(compare_on_image(binned, {"net": network}))
    assert row.restored is not None and "resampled" in row.note


def test_a_cancel_ends_between_steps_and_tells_what_there_is(
    scene: Scene, network: Model, field: PSFField
) -> None:
    cancel = threading.Event()
    endless = RichardsonLucyConfig(num_iter=100_000)
    events = []
    for event in compare_on_image(scene, {"net": network, "RL": endless}, field, cancel=cancel):
        events.append(event)
        if isinstance(event, Progress) and event.stage == "RL" and event.done:
            cancel.set()
    end = end_of(events)
    assert end.reason == "canceled" and "1 method" in end.message
    assert [row.name for row in rows_of(events)] == ["blurred", "net"]


def test_of_a_sharp_image_larger_than_the_frame_the_middle_is_recorded(
    sharp: NDArray[np.uint16], field: PSFField
) -> None:
    larger = np.pad(sharp, ((3, 4), (6, 6)), mode="symmetric")
    scene = blurred_scene(Image(larger, "YX"), field, Camera())
    assert scene.origin == (3, 6)
    np.testing.assert_array_equal(scene.sharp, sharp)
    assert scene.blurred.frame_shape == FRAME


def test_a_sharp_image_smaller_than_the_frame_is_refused(
    sharp: NDArray[np.uint16], field: PSFField
) -> None:
    with pytest.raises(FrameMismatchError, match="less than the frame"):
        blurred_scene(Image(sharp[1:], "YX", title="cells"), field, Camera())


@pytest.mark.parametrize(
    ("blurred", "truth", "words"),
    [
        (np.eye(5), np.eye(6), "5x5 pixels, but its truth 6x6"),
        (np.ones((5, 5)), None, "constant"),
        (np.eye(5), np.full((5, 5), np.nan), "truth of cells has NaN"),
    ],
)
def test_a_scene_that_is_none_is_refused(
    blurred: NDArray[Any], truth: NDArray[Any] | None, words: str
) -> None:
    with pytest.raises(ImageError, match=words):
        Scene(Image(blurred, "YX", title="cells"), truth)


def test_the_table_for_spreadsheets_has_all_that_is_known() -> None:
    rows = [
        MethodDone("a, b", np.ones((2, 2), np.float32), {"psnr": 30.5}, 0.25, 7),
        MethodDone("c", None, note="It is too large."),
    ]
    first, second = csv.DictReader(as_csv(rows).splitlines())
    assert (first["method"], first["psnr"], first["parameters"]) == ("a, b", "30.5", "7")
    assert first["ssim"] == "" and second["note"] == "It is too large."
