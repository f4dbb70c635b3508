"""Fig. 1: how zero padding reveals the position in the frame to a network, and how slowly."""

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from napari_coordgate.events import Event, Stopwatch
from paper.results import provenance, write_results

SIDE, CONVOLUTIONS = 12, 5  # the paper's uniform image and number of convolutions
UNET_SIDE = 192
CONVOLUTIONS_PER_LEVEL = 3
THRESHOLD = 1e-3
"""A pixel is informed about the border if it deviates from 1 by more than this."""


def run_events(
    output: Path, scale: str = "small", cancel: threading.Event | None = None
) -> Generator[Event, None, dict[str, Any]]:
    """Convolve uniform images with zero padding, write the figure and return its data."""
    deep, count = convolve_unet(UNET_SIDE, levels=4)
    shallow, _ = convolve_unet(UNET_SIDE, levels=2, extra=count - 4 * CONVOLUTIONS_PER_LEVEL)
    images = {
        f"{CONVOLUTIONS} convolutions": (convolve(uniform(SIDE), CONVOLUTIONS), CONVOLUTIONS),
        f"{count} convolutions": (convolve(uniform(UNET_SIDE), count), count),
        "U-Net, 2 down-samplings": (shallow, count),
        "U-Net, 4 down-samplings": (deep, count),
    }
    stopwatch, cases = Stopwatch("padding", len(images)), []
    for number, (name, (image, convolutions)) in enumerate(images.items(), start=1):
        figures = {"side_px": len(image), "convolutions": convolutions, **border_effect(image)}
        cases.append({"name": name, **figures, "profile": image[len(image) // 2].tolist()})
        yield stopwatch.progress(number)
    data = {"scale": scale, "visible": THRESHOLD, "cases": cases, **provenance()}
    write_results(output, "padding", data, draw([image for image, _ in images.values()], cases))
    return data


def uniform(side: int) -> Tensor:
    """Return an image of ones, (side, side)."""
    return torch.ones(side, side, dtype=torch.float64)


def convolve(image: Tensor, times: int) -> Tensor:
    """Convolve an image (H, W) repeatedly with a uniform 3x3 kernel, zero-padded."""
    kernel = image.new_full((1, 1, 3, 3), 1 / 9)
    for _ in range(times):
        image = functional.conv2d(image[None, None], kernel, padding=1)[0, 0]
    return image


def convolve_unet(side: int, levels: int, extra: int = 0) -> tuple[Tensor, int]:
    """Pass a uniform image through a U-Net of uniform convolutions without skip connections.

    Each level averages 2x2 pixels on the way down and repeats them on the way up; ``extra``
    convolutions are added to the deepest one. Returns the image and the number of convolutions.
    """
    resample: list[Callable[[Tensor], Tensor]] = [
        *[lambda x: functional.avg_pool2d(x[None], 2)[0]] * levels,
        *[lambda x: x.repeat_interleave(2, 0).repeat_interleave(2, 1)] * levels,
    ]
    image, count = uniform(side), 0
    for number, change in enumerate(resample):
        times = CONVOLUTIONS_PER_LEVEL + (extra if number == levels else 0)
        image, count = change(convolve(image, times)), count + times
    return image, count


def border_effect(image: Tensor) -> dict[str, float]:
    """Measure how far the border reaches into a uniform image (N, N) after convolutions.

    ``reach_px`` counts the informed pixels from the border along the middle row; ``informed`` is
    the fraction of all pixels, ``center`` the value in the middle.
    """
    informed = (image - 1).abs() > THRESHOLD
    middle = len(image) // 2
    return {
        "reach_px": float(informed[middle, :middle].sum()),
        "informed": float(informed.double().mean()),
        "center": float(image[middle, middle]),
    }


def draw(images: list[Tensor], cases: list[dict[str, Any]]) -> Figure:
    """Draw each image with its own color scale and its fraction of informed pixels."""
    figure = Figure(figsize=(3.3 * len(images), 3.9), layout="constrained")
    for axes, image, case in zip(figure.subplots(1, len(images)), images, cases, strict=True):
        shown = axes.imshow(image.numpy(), cmap="viridis", vmax=1)
        size, informed = "{0}x{0} pixels".format(case["side_px"]), 100 * case["informed"]
        axes.set_title(f"{case['name']}\n{size}; {informed:.0f} % know of the border", fontsize=9)
        axes.set_axis_off()
        figure.colorbar(shown, ax=axes, shrink=0.75)
    return figure
