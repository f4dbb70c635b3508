"""Make the blurred sample images: nuclei and beads behind the lens of the demo.

Run: ``python -m benchmarks.samples [FOLDER]``. The noise is seeded, so the files are reproducible.
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from napari_coordgate import Model
from napari_coordgate.demo import SEED, blurred_sample
from napari_coordgate.io import find_images
from napari_coordgate.io.files import atomic_write, sample_data_folder
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.tiff_writing import tiff_layout
from napari_coordgate.normalization import convert_dtype
from napari_coordgate.simulation import add_camera_noise

SPACING_PX = 36
JITTER_PX = 8
OFFSET = 100
"""Gray value without light."""
STEP = 1 / 8
"""Rounding step of gray values, well below the noise of the dimmest image."""


def nuclei(starter: Model) -> NDArray[np.float32]:
    """Return the test images, (N, H, W), blurred as in the demo, rounded to compress well."""
    paths = find_images(sample_data_folder() / "test")
    samples = [blurred_sample(path, starter, SEED + n) for n, path in enumerate(paths)]
    blurred = np.stack([sample.blurred for sample in samples])
    return (blurred / STEP).round().astype(np.float32) * np.float32(STEP)


def beads(starter: Model) -> NDArray[np.uint16]:
    """Return an image (H, W) of beads at pixel centers, in electrons."""
    field, camera = starter.psf_field, starter.config.camera
    assert field is not None and camera.photons is not None
    generator = np.random.default_rng(SEED)
    height, width = field.frame_shape
    nodes = (np.arange(SPACING_PX // 2, side, SPACING_PX) for side in (height, width))
    positions = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    positions += generator.integers(-JITTER_PX, JITTER_PX + 1, positions.shape)
    points = np.zeros(field.frame_shape)
    points[positions[:, 0], positions[:, 1]] = generator.uniform(0.7, 1.3, len(positions))
    light = field.blur(torch.from_numpy(points))
    recorded = add_camera_noise(light / light.max(), camera, SEED).numpy()
    return convert_dtype(OFFSET + camera.photons * recorded, np.dtype(np.uint16))


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=sample_data_folder() / "blurred")
    folder = parser.parse_args().folder
    starter = Model.load(sample_data_folder() / "starter.safetensors")
    side = starter.pixel_size_um
    assert side is not None
    for path, pixels, axes in (
        (folder / "nuclei.tif", nuclei(starter), "ZYX"),
        (folder / "beads.tif", beads(starter), "YX"),
    ):
        options = tiff_layout(
            path, pixels.shape, pixels.dtype, axes, ImageMetadata((side, side))
        ).options
        with atomic_write(path) as temporary:
            tifffile.imwrite(temporary, pixels, compression="zlib", predictor=True, **options)


if __name__ == "__main__":
    main()
