"""The demo on the sample data, with a second of fine-tuning."""

import json
import re
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from napari_coordgate.comparison import Row
from napari_coordgate.config import DemoConfig, load_lens
from napari_coordgate.demo import STAGES, run_demo_events
from napari_coordgate.errors import CanceledError, DeviceMemoryError, OutputError
from napari_coordgate.events import Event, Progress, run
from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

PROMISED_GAIN_DB = 5.0
SHORT = DemoConfig(seconds=1, device="cpu")


class Demo(NamedTuple):
    folder: Path
    rows: list[Row]
    events: list[Event]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder, events = tmp_path_factory.mktemp("demo") / "out", list[Event]()
    return Demo(folder, run(run_demo_events(folder, SHORT), events.append), events)


def test_it_shows_its_progress(demo: Demo) -> None:
    stages = {event.stage for event in demo.events if isinstance(event, Progress)}
    assert "training" in stages


def test_images_that_were_never_trained_on_gain_what_is_promised(demo: Demo) -> None:
    metrics = {row.method: row.quality for row in demo.rows}
    assert list(metrics) == list(STAGES)
    for stage in STAGES[1:]:
        assert metrics[stage]["psnr"] > metrics["blurred"]["psnr"] + PROMISED_GAIN_DB
        assert metrics[stage]["ssim"] > metrics["blurred"]["ssim"]
        assert metrics[stage]["psnr_edge"] > metrics["blurred"]["psnr_edge"]


def test_the_files_contain_what_the_table_says(demo: Demo) -> None:
    table = json.loads((demo.folder / "table.json").read_text())
    assert {stage: table[stage] for stage in STAGES} == {r.method: r.quality for r in demo.rows}
    for figure in ("figure.png", "error-radius.png"):
        assert (demo.folder / figure).stat().st_size > 10_000
    values = []
    for name in table["images"]:
        assert all((demo.folder / f"{name}-{stage}.tif").is_file() for stage in STAGES)
        sharp, blurred = (
            read_image(demo.folder / f"{name}-{stage}.tif") for stage in ("sharp", "blurred")
        )
        assert sharp.pixel_size_um == pytest.approx((0.325, 0.325))
        low, high = np.percentile(sharp.pixels, (1, 99.8))
        values.append(psnr(sharp.pixels, blurred.pixels, float(high - low)))
    assert np.mean(values) == pytest.approx(table["blurred"]["psnr"], abs=1e-3)


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path))):
        run(run_demo_events(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_not_an_output_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.txt is a file"):
        run(run_demo_events(tmp_path / "mine.txt"))


def test_an_error_of_the_speed_trial_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DeviceMemoryError("The cpu ran out of memory.")

    monkeypatch.setattr("napari_coordgate.demo.estimate_resources", fail)
    with pytest.raises(DeviceMemoryError):
        run(run_demo_events(tmp_path / "out", SHORT))


def test_it_can_be_canceled(tmp_path: Path) -> None:
    cancel = threading.Event()

    def cancel_training(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "training":
            cancel.set()

    long = DemoConfig(seconds=600, device="cpu")
    with pytest.raises(CanceledError):
        run(run_demo_events(tmp_path / "out", long, cancel), cancel_training)


def test_the_starter_was_trained_for_the_lens_of_the_sample_data() -> None:
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
