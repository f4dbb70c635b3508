"""A viewer in a real window, and a small world to work in: a lens, a model, images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QSettings

from napari_coordgate.config import CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train

if TYPE_CHECKING:
    from napari.viewer import Viewer

FRAME = (48, 48)
TINY = TrainingConfig(
    network=CGUNetConfig(depth=2, base_channels=8),
    window_size=32,
    batch_size=4,
    steps=150,
    learning_rate=5e-3,
    warmup_steps=5,
    validate_every=50,
    ema_decay=0.9,
)
LENS = GaussianLens(sigma_center_px=0.8, sigma_edge_px=2.0, pixel_size_um=0.5)


@pytest.fixture(autouse=True)
def _no_kept_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms start with their defaults, whoever runs the tests."""
    file, ini = str(tmp_path / "window.ini"), QSettings.Format.IniFormat
    monkeypatch.setattr("napari_coordgate.widgets.kept.store", lambda: QSettings(file, ini))


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    """A viewer in a window that is shown."""
    return make_napari_viewer(show=True)


@pytest.fixture(scope="session")
def psf_field() -> PSFField:
    return PSFField.from_lens(LENS, FRAME)


@pytest.fixture(scope="session")
def sharp() -> NDArray[np.uint8]:
    """Six small scenes of bright squares on a dim ground."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(10, 14, (6, *FRAME)).astype(np.uint8)
    for scene in scenes:
        for y, x, side in zip(*rng.integers(0, 44, (2, 12)), rng.integers(3, 12, 12), strict=True):
            scene[y : y + side, x : x + side] = rng.integers(100, 250)
    return scenes


@pytest.fixture(scope="session")
def model_file(
    tmp_path_factory: pytest.TempPathFactory, psf_field: PSFField, sharp: NDArray[np.uint8]
) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    train(sharp, psf_field, config=TINY, output=path)
    return path


@pytest.fixture(scope="session")
def model(model_file: Path) -> Model:
    return Model.load(model_file)
