"""Methods compared on one image, with metrics if the sharp image is known."""

import csv
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import Row
from napari_coordgate.comparison.methods import AnyMethod
from napari_coordgate.comparison.on_image import (
    MethodDone,
    Scene,
    blurred_scene,
    compare_on_image_events,
    summarize_methods,
)
from napari_coordgate.comparison.table import as_csv
from napari_coordgate.config import (
    Camera,
    CGUNetConfig,
    GaussianLens,
    RichardsonLucyConfig,
    TrainingConfig,
    WienerConfig,
)
from napari_coordgate.errors import CanceledError, FrameMismatchError, ImageError
from napari_coordgate.events import Progress, run
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
    config = TrainingConfig(network=CGUNetConfig(depth=2, base_channels=4))
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


def compared(scene: Scene, methods: dict[str, AnyMethod], *more: Any) -> list[MethodDone]:
    events: Any = compare_on_image_events(scene, methods, *more)
    done: list[MethodDone] = run(events)
    return done


def test_every_method_is_better_than_the_blurred_image(
    scene: Scene, field: PSFField, sharp: NDArray[np.uint16]
) -> None:
    rows = [done.row for done in compared(scene, METHODS, field)]
    assert [row.method for row in rows] == ["blurred", *METHODS]
    assert [row.kind for row in rows] == ["blurred", "wiener", "wiener", "richardson_lucy"]
    for row in rows[1:]:
        assert row.quality["psnr"] > rows[0].quality["psnr"]
        assert row.inference_seconds is not None and row.inference_seconds > 0
        assert row.parameters == 0
    assert rows[2].quality["psnr"] > rows[1].quality["psnr"]  # each pixel's own PSF helps
    assert "is best" in summarize_methods("cells", rows)


def test_metrics_relate_to_the_range_of_the_sharp_image(
    scene: Scene, sharp: NDArray[np.uint16], field: PSFField
) -> None:
    low, high = np.percentile(sharp, (1, 99.8))
    scaled = Scene(Image(scene.blurred.pixels * 10, "YX"), sharp.astype(np.float64) * 10)
    (first, _), (second, _) = (
        compared(scene, {"Wiener": WienerConfig(psf="mean")}, field),
        compared(scaled, {"Wiener": WienerConfig(psf="mean")}, field),
    )
    reached = psnr(sharp.astype(float), scene.blurred.pixels, high - low)
    assert first.row.quality["psnr"] == pytest.approx(reached, abs=1e-3)
    assert second.row.quality["psnr"] == pytest.approx(reached, abs=1e-3)


def test_a_network_is_run_as_deblur_runs_it(scene: Scene, network: Model) -> None:
    _, done = compared(scene, {"net": network})
    np.testing.assert_array_equal(done.restored, deblur(scene.blurred, network))
    assert done.row.parameters == sum(w.numel() for w in network.network.parameters())


def test_without_a_sharp_image_there_are_no_metrics(scene: Scene, network: Model) -> None:
    (done,) = compared(Scene(scene.blurred), {"net": network})
    assert done.restored is not None and not done.row.quality
    assert "sharp image is unknown" in summarize_methods("cells", [done.row])


def test_without_a_sharp_image_each_result_is_judged(
    scene: Scene, network: Model, field: PSFField
) -> None:
    done = compared(Scene(scene.blurred), {"net": network, "RL": METHODS["RL"]}, field)
    for one in done:
        assert one.row.verdict in ("green", "amber", "red")
        assert one.row.expected_error is None
    assert done[0].row.contradicted is None  # the network states no blur
    assert done[1].row.contradicted is not None
    np.testing.assert_array_equal(done[0].restored, deblur(scene.blurred, network))
    _, known = compared(scene, {"RL": METHODS["RL"]}, field)
    assert not known.row.verdict
    assert done[1].restored is not None and known.restored is not None
    np.testing.assert_allclose(done[1].restored, known.restored, rtol=1e-4, atol=1e-2)


def test_progress_names_the_method(scene: Scene, network: Model, field: PSFField) -> None:
    events = list(compare_on_image_events(scene, {"net": network, "RL": METHODS["RL"]}, field))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["net", "RL"]
    assert stages.count("RL") > 2


def test_a_failed_method_is_a_row_with_the_reason(
    scene: Scene, network: Model, field: PSFField
) -> None:
    other = Model(network.config, network.weights, (99, 64))
    done = compared(scene, {"other": other, "Wiener": METHODS["Wiener"]}, field)
    _, failed, ended = done
    assert failed.restored is None and "99x64" in failed.row.note
    assert ended.restored is not None
    assert "1 failed" in summarize_methods("cells", [one.row for one in done])


def test_a_comparison_fails_if_all_methods_fail(scene: Scene) -> None:
    events: list[Any] = []
    with pytest.raises(ImageError, match="No method"):
        events.extend(compare_on_image_events(scene, {"Wiener": WienerConfig()}))
    assert "PSF field" in events[-1].row.note


def test_an_image_at_another_size_of_the_frame_is_noted(scene: Scene, network: Model) -> None:
    binned = Scene(Image(scene.blurred.pixels[::2, ::2], "YX", (1.0, 1.0)))
    (done,) = compared(binned, {"net": replace(network, pixel_size_um=0.5)})
    assert done.restored is not None and "resampled" in done.row.note


def test_a_cancel_takes_effect_between_iterations(
    scene: Scene, network: Model, field: PSFField
) -> None:
    cancel = threading.Event()
    endless = RichardsonLucyConfig(num_iter=100_000)
    done: list[str] = []
    job = compare_on_image_events(scene, {"net": network, "RL": endless}, field, cancel=cancel)
    with pytest.raises(CanceledError, match="1 method"):
        for event in job:
            if isinstance(event, MethodDone):
                done.append(event.row.method)
            elif isinstance(event, Progress) and event.stage == "RL" and event.done:
                cancel.set()
    assert done == ["blurred", "net"]


def test_the_center_of_a_larger_sharp_image_is_recorded(
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
    with pytest.raises(FrameMismatchError, match="smaller than the frame"):
        blurred_scene(Image(sharp[1:], "YX", title="cells"), field, Camera())


@pytest.mark.parametrize(
    ("blurred", "truth", "words"),
    [
        (np.eye(5), np.eye(6), "5x5 pixels, but its sharp image 6x6"),
        (np.ones((5, 5)), None, "constant"),
        (np.eye(5), np.full((5, 5), np.nan), "sharp image of cells has NaN"),
    ],
)
def test_an_unusable_scene_is_refused(
    blurred: NDArray[Any], truth: NDArray[Any] | None, words: str
) -> None:
    with pytest.raises(ImageError, match=words):
        Scene(Image(blurred, "YX", title="cells"), truth)


def test_the_csv_table_has_all_known_values() -> None:
    rows = [
        Row(
            method="a, b",
            kind="model",
            quality={"psnr": 30.5},
            inference_seconds=0.25,
            parameters=7,
        ),
        Row(method="c", kind="wiener", quality={}, note="It is too large."),
    ]
    first, second = csv.DictReader(as_csv(rows).splitlines())
    assert (first["method"], first["psnr"], first["parameters"]) == ("a, b", "30.5", "7")
    assert first["ssim"] == "" and second["note"] == "It is too large."
