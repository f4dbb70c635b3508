"""A nested folder with images of several formats, and a model for them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from napari_coordgate.config import CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.io import Image, write_image
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet
from napari_coordgate.optics import PSFField

FRAME = (48, 64)


class World(NamedTuple):
    """A folder of blurred images, a model for them, and the output folder."""

    folder: Path
    model: Path
    output: Path

    def write(self, name: str, seed: int = 0, planes: int = 1) -> Path:
        """Write an image, or overwrite it."""
        path = self.folder / name
        pixels = np.random.default_rng(seed).integers(0, 4096, (planes, *FRAME), np.uint16)
        axes = "YX" if planes == 1 else "ZYX"
        image = Image(pixels[0] if planes == 1 else pixels, axes, (0.5, 0.5))
        write_image(path, image, overwrite=True)
        return path

    def write_psf_field(self, sigma_edge_px: float) -> Path:
        """Write the PSF field of a lens, or overwrite it."""
        lens = GaussianLens(sigma_center_px=0.8, sigma_edge_px=sigma_edge_px, pixel_size_um=0.5)
        path = self.model.with_name("lens.psf.tif")
        PSFField.from_lens(lens, FRAME).save(path, overwrite=True)
        return path

    def train(self, seed: int) -> None:
        """Write a model whose output depends on the position and on the seed."""
        torch.manual_seed(seed)
        settings = CGUNetConfig(base_channels=4, depth=2)
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
