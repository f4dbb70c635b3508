"""The demonstration itself, on the sample data, with a fine-tuning of a second."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.config import DemoConfig, load_lens
from napari_coordgate.demo import STAGES, run_demo
from napari_coordgate.errors import DeviceMemoryError
from napari_coordgate.events import Event, Finished, Progress
from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

PROMISED_GAIN_DB = 5.0
SHORT = DemoConfig(seconds=1, device="cpu")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    return list(run_demo(tmp_path_factory.mktemp("demo") / "out", SHORT))


@pytest.fixture
def end(events: list[Event]) -> Iterator[Finished]:
    assert isinstance(events[-1], Finished)
    yield events[-1]


def test_it_completes_and_shows_its_progress(events: list[Event], end: Finished) -> None:
    assert end.reason == "completed"
    stages = {event.stage for event in events if isinstance(event, Progress)}
    assert "training" in stages


def test_images_that_were_never_trained_on_gain_what_is_promised(end: Finished) -> None:
    figures = dict(end.result)
    assert list(figures) == list(STAGES)
    for stage in STAGES[1:]:
        assert figures[stage]["psnr"] > figures["blurred"]["psnr"] + PROMISED_GAIN_DB
        assert figures[stage]["ssim"] > figures["blurred"]["ssim"]
        assert figures[stage]["psnr_edge"] > figures["blurred"]["psnr_edge"]


def test_the_files_hold_what_the_table_says(end: Finished) -> None:
    folder = end.outputs[0].parent
    table = json.loads((folder / "table.json").read_text())
    assert {stage: table[stage] for stage in STAGES} == dict(end.result)
    assert all(path.is_file() for path in end.outputs)
    assert (folder / "figure.png").stat().st_size > 10_000
    values = []
    for name in table["images"]:
        sharp, blurred = (
            read_image(folder / f"{name}-{stage}.tif") for stage in ("sharp", "blurred")
        )
        assert sharp.pixel_size_um == pytest.approx((0.325, 0.325))
        low, high = np.percentile(sharp.pixels, (1, 99.8))
        values.append(psnr(sharp.pixels, blurred.pixels, float(high - low)))
    assert np.mean(values) == pytest.approx(table["blurred"]["psnr"], abs=1e-3)


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (end,) = run_demo(tmp_path)
    assert isinstance(end, Finished)
    assert end.reason == "failed"
    assert str(tmp_path) in end.message
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (end,) = run_demo(tmp_path / "mine.txt")
    assert isinstance(end, Finished)
    assert (end.reason, "mine.txt is a file" in end.message) == ("failed", True)


def test_what_a_trial_of_its_speed_meets_is_the_end_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = DeviceMemoryError("The cpu ran out of memory.")
    monkeypatch.setattr(
        "napari_coordgate.demo.estimate_resources",
        lambda *_, **__: iter([Finished("failed", str(error), error=error)]),
    )
    *_, end = run_demo(tmp_path / "out", SHORT)
    assert isinstance(end, Finished)
    assert (end.reason, end.error) == ("failed", error)


def test_it_can_be_canceled(tmp_path: Path) -> None:
    cancel = threading.Event()
    seen = []
    for event in run_demo(tmp_path / "out", DemoConfig(seconds=600, device="cpu"), cancel):
        seen.append(event)
        if isinstance(event, Progress) and event.stage == "training":
            cancel.set()
    assert isinstance(seen[-1], Finished)
    assert seen[-1].reason == "canceled"


def test_the_starter_serves_the_lens_of_the_sample_data() -> None:
    folder = sample_data_folder()
    starter = Model.load(folder / "starter.safetensors")
    assert starter.psf_field is not None
    field = PSFField.from_lens(load_lens(folder / "lens.yaml"), starter.frame_shape)
    np.testing.assert_allclose(field.psf_at(3, 250), starter.psf_field.psf_at(3, 250), atol=1e-7)
    assert (folder / "starter.safetensors").stat().st_size < 3e6


def test_no_test_image_is_among_the_training_images() -> None:
    folder = sample_data_folder()
    names = {part: {p.name for p in find_images(folder / part)} for part in ("train", "test")}
    assert not names["train"] & names["test"]
