"""Laws of the figures of networks behind a lens: made whole, gone on with, answered by a page."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import Camera, TrainingConfig
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Progress, finish
from paper import FIGURES, ablation, lens, run_figure
from paper.lens import Setting
from paper.page import build_page

TINY = Setting(
    (64, 64),
    2,
    TrainingConfig(
        camera=Camera(photons=1000), sampling="frame", steps=2, batch_size=1, device="cpu"
    ),
    seeds=1,
    ablation_seeds=1,
    ablation_length={"steps": 1},
    memory=False,
)


def images(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(0.5, size=(count, 96, 96)).astype(np.float32)


SHARP, TEST = images(4, 0), images(2, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both figures at a size that says nothing of their outcome."""
    folder = tmp_path_factory.mktemp("paper")
    finish(lens.run("small", None, folder, SHARP, TEST, setting=TINY))
    finish(ablation.run("small", None, folder, SHARP, TEST, setting=TINY))
    return folder


def test_each_figure_leaves_its_picture_and_its_data(folder: Path) -> None:
    for name in ("lens.json", "lens.png", "ablation.json", "ablation.png"):
        assert (folder / name).stat().st_size > 1000


def test_a_second_start_trains_nothing(folder: Path) -> None:
    events = list(lens.run("small", None, folder, SHARP, TEST, setting=TINY))
    assert not [e for e in events if isinstance(e, Progress) and e.stage == "training"]


def test_rows_of_other_images_are_not_taken_for_these(folder: Path) -> None:
    with pytest.raises(OutputError, match="images"):
        finish(lens.run("small", None, folder, images(4, 7), TEST, setting=TINY))


def test_the_page_answers_each_claim_from_the_data(folder: Path) -> None:
    page = build_page(folder)
    for number in range(1, 8):
        assert f"\n| {number} | " in page
    assert f"![Methods behind a lens]({folder.name}/lens.png)" in page
    assert "| CG U-Net(3) | " in page
    assert "Richardson-Lucy, own PSFs" in page
    assert "gate ReLU(g)" in page


def test_a_page_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no figure's data"):
        build_page(tmp_path)
    (tmp_path / "lens.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        build_page(tmp_path)


def test_networks_on_wiener_filters_have_fewer_channels_than_their_parents() -> None:
    names = {method.name: method.network for method in lens.methods(16)}
    own, parents = names["CG-WienerNet(3)"], (names["CG U-Net(3)"], names["MultiWienerNet(3)"])
    assert own is not None
    assert all(parent and own.base_channels < parent.base_channels for parent in parents)


def test_every_figure_is_known_by_its_name() -> None:
    assert FIGURES == ("padding", "line", "lens", "ablation")
    assert callable(run_figure)
