"""Figures of the lens: written with their data, resumed, and summarized on the page."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import Camera, TrainingConfig
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Progress, run
from paper import ablation, lens, unrolled
from paper.lens import Scale
from paper.page import build_page

TINY = Scale(
    (64, 64),
    2,
    TrainingConfig(camera=Camera(photons=1000), sampling="frame", steps=2, batch_size=1),
    seeds=1,
    ablation_seeds=1,
    ablation={"steps": 1},
)


def images(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(0.5, size=(count, 96, 96)).astype(np.float32)


SHARP, TEST = images(3, 0), images(1, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both figures with trainings of a few steps."""
    folder = tmp_path_factory.mktemp("paper")
    run(lens.run_events(folder, images=SHARP, test=TEST, size=TINY))
    run(ablation.run_events(folder, images=SHARP, test=TEST, size=TINY))
    run(unrolled.run_events(folder, images=SHARP, test=TEST, size=TINY))
    return folder


def test_each_figure_writes_a_picture_and_its_data(folder: Path) -> None:
    for name in ("lens.json", "lens.png", "ablation.json", "ablation.png", "unrolled.json"):
        assert (folder / name).stat().st_size > 1000


def test_a_second_run_trains_nothing(folder: Path) -> None:
    events = list(lens.run_events(folder, images=SHARP, test=TEST, size=TINY))
    assert not [e for e in events if isinstance(e, Progress) and e.stage == "training"]


def test_a_second_run_keeps_finished_networks(folder: Path) -> None:
    events = list(unrolled.run_events(folder, images=SHARP, test=TEST, size=TINY))
    assert not [e for e in events if isinstance(e, Progress) and e.stage == "training"]


def test_gains_are_over_the_better_setting_of_richardson_lucy() -> None:
    def row(method: str, psnr: float) -> dict[str, object]:
        return {"photons": 200.0, "method": method, "psnr": psnr, "image_psnr": [psnr, psnr]}

    default, stopped = unrolled.RICHARDSON_LUCY
    rows = [row(default, 30.0), row(stopped, 31.0), row("one stage, no gates", 33.0)]
    found = {gain["method"]: gain["gain"] for gain in unrolled.gains(rows)}
    assert found == {default: -1.0, stopped: 0.0, "one stage, no gates": 2.0}


def test_a_run_with_other_images_does_not_reuse_the_rows(folder: Path) -> None:
    with pytest.raises(OutputError, match="images"):
        run(lens.run_events(folder, images=images(3, 7), test=TEST, size=TINY))


def test_the_page_answers_each_claim_from_the_data(folder: Path) -> None:
    page = build_page(folder)
    for number in range(1, 8):
        assert f"\n| {number} | " in page
    assert f"![Methods behind a lens]({folder.name}/lens.png)" in page
    assert "| CG U-Net(3) | " in page
    assert "Richardson-Lucy, own PSFs" in page
    assert "gate ReLU(g)" in page
    assert "| one stage, gates on position and PSF | " in page


def test_a_page_without_data_or_with_damaged_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="contains no data of a figure"):
        build_page(tmp_path)
    (tmp_path / "lens.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        build_page(tmp_path)


def test_networks_on_wiener_filters_have_fewer_channels_than_their_parents() -> None:
    names = {method.name: method.network for method in lens.networks(16)}
    own, parents = names["CG-WienerNet(3)"], (names["CG U-Net(3)"], names["MultiWienerNet(3)"])
    assert all(own.features < parent.features for parent in parents)


def test_the_page_in_the_docs_is_built_from_the_data_in_the_docs() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert build_page(docs / "paper") == (docs / "paper.md").read_text(encoding="utf-8")
