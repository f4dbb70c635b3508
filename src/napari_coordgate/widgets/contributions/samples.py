"""Sample data: small images from files, nothing computed.

How the files came about stands in ``sample_data/README.md``.
"""

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import load_lens
from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.widgets.layers.places import on_frame
from napari_coordgate.widgets.layers.provenance import LayerData, metadata

__all__ = ["beads_blurred", "nuclei_blurred", "nuclei_sharp", "nuclei_to_train_on"]

Pixels = NDArray[Any]


def nuclei_to_train_on() -> list[LayerData]:
    """Six sharp images in a stack for each size they come in, each a layer."""
    found = find_images(sample_data_folder() / "train")
    images = sorted((read_image(path).pixels for path in found), key=np.shape)
    stacks = [np.stack(list(same)) for _, same in groupby(images, np.shape)]
    return [
        _layer(stack, f"nuclei to train on, {stack.shape[1]} x {stack.shape[2]}", "train")
        for stack in stacks
    ]


def nuclei_sharp() -> list[LayerData]:
    """Four images that the starter was not trained on, as the blurred ones would be if sharp."""
    frame_shape = _blurred_nuclei().shape[-2:]
    images = [read_image(path).pixels for path in find_images(sample_data_folder() / "test")]
    stack = np.stack([_middle(image, frame_shape) for image in images])
    return [_layer(stack, "nuclei, sharp", "test")]


def nuclei_blurred() -> list[LayerData]:
    """The same four, as a camera behind the demonstration's lens records them."""
    return [_layer(_blurred_nuclei(), "nuclei behind the demo lens", "blurred/nuclei.tif")]


def beads_blurred() -> list[LayerData]:
    """Points of light behind the same lens, each an image of the blur at its place."""
    source = "blurred/beads.tif"
    return [_layer(_pixels(source), "beads behind the demo lens", source)]


def _pixels(source: str) -> Pixels:
    pixels: Pixels = read_image(sample_data_folder() / source).pixels
    return pixels


def _blurred_nuclei() -> Pixels:
    return _pixels("blurred/nuclei.tif")


def _middle(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Central part of an image, which the camera saw."""
    y0, x0 = ((n - m) // 2 for n, m in zip(image.shape, shape, strict=True))
    return image[y0 : y0 + shape[0], x0 : x0 + shape[1]]


def _layer(pixels: Pixels, name: str, source: str) -> LayerData:
    """Layer of an image or a stack, with the pixel size that the demonstration's lens sees."""
    lens = load_lens(sample_data_folder() / "lens.yaml")
    brightest = float(np.percentile(pixels, 99.8))
    options = {
        **on_frame(("plane",) * (pixels.ndim - 2), lens.pixel_size_um),
        "name": name,
        "colormap": "gray",
        "contrast_limits": (float(pixels.min()), brightest),
        "metadata": metadata("sample", source=source),
    }
    return np.asarray(pixels), options, "image"
