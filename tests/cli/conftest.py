"""The command line to call, and a small world of files to call it on."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import numpy as np
import pytest

from napari_coordgate.cli import main
from napari_coordgate.io import Image, write_image
from soak import commands
from soak.commands import Call

Run = Callable[..., CompletedProcess[str]]
Start = Callable[..., Call]

FRAME = (48, 48)
TINY_NETWORK = ("--base-channels", "4", "--depth", "2", "--batch-size", "2", "--window-size", "32")


class World(NamedTuple):
    """Files that earlier commands have made."""

    lens: Path
    field: Path
    sharp: Path
    blurred: Path
    model: Path


def call(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["napari-coordgate", *map(str, arguments)])
        return main()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line within this process."""

    def run(*arguments: object) -> CompletedProcess[str]:
        status = call(*arguments)
        out, err = capsys.readouterr()
        return CompletedProcess([str(a) for a in arguments], status, out, err)

    return run


@pytest.fixture(scope="session")
def start() -> Start:
    """The command line as a process of its own."""
    return commands.start


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    world = World(
        lens=folder / "lens.yaml",
        field=folder / "field.tif",
        sharp=folder / "sharp",
        blurred=folder / "blurred" / "image0.tif",
        model=folder / "model.safetensors",
    )
    world.lens.write_text("sigma_center_px: 0.6\nsigma_edge_px: 1.2\npixel_size_um: 0.5\n")
    rng = np.random.default_rng(0)
    for number in range(4):
        spots = (rng.random(FRAME) > 0.9).astype(np.float32)
        pixels = (200 * spots + 20 + 10 * rng.random(FRAME)).astype(np.uint8)
        write_image(world.sharp / f"image{number}.tif", Image(pixels, "YX", (0.5, 0.5)))
    field, sharp = ("--psf", world.field), sorted(world.sharp.iterdir())
    assert call("psf", world.lens, "--frame", "48x48", "-o", world.field) == 0
    assert call("blur", *sharp, *field, "-o", world.blurred.parent) == 0
    training = ("train", world.sharp, *field, "-o", world.model, "--steps", 4)
    assert call(*training, *TINY_NETWORK) == 0
    return world
