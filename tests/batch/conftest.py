"""A folder as a facility has it: nested, with images of several kinds and files that are none."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from napari_coordgate.config import NetworkConfig, TrainingConfig
from napari_coordgate.io import Image, write_image
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet

FRAME = (48, 64)


class World(NamedTuple):
    """A folder of blurred images, a network for them, and where results go."""

    folder: Path
    model: Path
    output: Path

    def write(self, name: str, seed: int = 0, planes: int = 1) -> Path:
        """Write an image of this name, new or in place of an older one."""
        path = self.folder / name
        pixels = np.random.default_rng(seed).integers(0, 4096, (planes, *FRAME), np.uint16)
        axes = "YX" if planes == 1 else "ZYX"
        image = Image(pixels[0] if planes == 1 else pixels, axes, (0.5, 0.5))
        write_image(path, image, overwrite=True)
        return path

    def train(self, seed: int) -> None:
        """Write a network whose output differs from place to place, and from seed to seed."""
        torch.manual_seed(seed)
        settings = NetworkConfig(base_channels=4, depth=2)
        network = UNet.from_config(settings)
        config = TrainingConfig(network=settings)
        checkpoint = Model(config, network.state_dict(), FRAME, pixel_size_um=0.5)
        checkpoint.save(self.model, overwrite=True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "blurred", tmp_path / "model.safetensors", tmp_path / "deblurred")
    world.train(seed=0)
    for seed, name in enumerate(("a.tif", "b.png", "plate 1/c.ome.tif", "plate 1/well/d.npy")):
        world.write(name, seed)
    return world
