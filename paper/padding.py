"""Fig. 1: how zero padding tells a network where in the frame it is, and how slowly."""

import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_coordgate.comparison.comparison import called_as, describe_machine
from napari_coordgate.events import Event, Finished, Stopwatch, reporting_end
from napari_coordgate.io.files import check_writable
from paper.results import write_results

__all__ = ["convolved", "deviation", "run", "through_unet"]

SIDE, CONVOLUTIONS = 12, 5
"""The paper's uniform image, and how often it is convolved."""
UNET_SIDE = 192
"""Side of the uniform image that goes through the U-Nets, pixels."""
BEFORE_A_CHANGE = 3
"""Convolutions before each down- or up-sampling."""
VISIBLE = 1e-3
"""Deviation from the value without borders above which a pixel knows of them."""

Float64 = NDArray[np.float64]


def convolved(image: Tensor, times: int) -> Tensor:
    """Image after convolutions with a uniform 3x3 kernel, zero beyond its border.

    Parameters
    ----------
    image : Tensor, shape (H, W)
        The image.
    times : int
        How often.

    Returns
    -------
    Tensor, shape (H, W)
        What is left: a uniform image stays so where no border was seen.
    """
    kernel = image.new_full((1, 1, 3, 3), 1 / 9)
    for _ in range(times):
        image = functional.conv2d(image[None, None], kernel, padding=1)[0, 0]
    return image


def through_unet(side: int, levels: int, extra: int = 0) -> tuple[Tensor, int]:
    """Uniform image after the uniform convolutions of a U-Net without skip connections.

    Parameters
    ----------
    side : int
        Side of the image, pixels.
    levels : int
        Down-samplings, by the mean of 2x2 pixels, and as many up-samplings.
    extra : int
        Convolutions more in the deepest level.

    Returns
    -------
    image : Tensor, shape (side, side)
        What comes out.
    convolutions : int
        How many there were.
    """
    image, count = torch.ones(side, side, dtype=torch.float64), 0
    changes: list[Callable[[Tensor], Tensor]] = [
        *[lambda x: functional.avg_pool2d(x[None], 2)[0]] * levels,
        *[lambda x: x.repeat_interleave(2, 0).repeat_interleave(2, 1)] * levels,
    ]
    for number, change in enumerate(changes):
        times = BEFORE_A_CHANGE + (extra if number == levels else 0)
        image, count = change(convolved(image, times)), count + times
    return image, count


def deviation(image: Tensor) -> dict[str, float]:
    """How far the border is felt in what became of a uniform image of ones.

    Parameters
    ----------
    image : Tensor, shape (N, N)
        The image.

    Returns
    -------
    dict of str to float
        ``reach_px``: pixels from the border, along the middle row, that know of it;
        ``informed``: part of all pixels that do; ``center``: value in the middle.
    """
    knows = (image - 1).abs() > VISIBLE
    middle = knows[len(image) // 2, : len(image) // 2]
    return {
        "reach_px": float(middle.sum()),
        "informed": float(knows.double().mean()),
        "center": float(image[len(image) // 2, len(image) // 2]),
    }


def run(
    scale: Literal["small", "full"],
    seeds: int | None,
    output: Path,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Send uniform images through zero-padded convolutions, and draw what comes out.

    Parameters
    ----------
    scale, seeds
        Of no matter: nothing is random, and all is done in a second.
    output : Path
        Folder of the figure and its data.
    cancel : threading.Event, optional
        Of no matter.

    Yields
    ------
    Progress
        After each image.
    Finished
        Once, at the end. If completed, its result is the data of ``padding.json``.
    """
    return reporting_end(_events(scale, output))


def _events(scale: str, output: Path) -> Iterator[Event]:
    check_writable(output / "padding.json")
    uniform = torch.ones(SIDE, SIDE, dtype=torch.float64)
    deep, count = through_unet(UNET_SIDE, 4)
    shallow, same = through_unet(UNET_SIDE, 2, extra=count - 4 * BEFORE_A_CHANGE)
    plain = convolved(torch.ones(UNET_SIDE, UNET_SIDE, dtype=torch.float64), count)
    images = {
        f"{CONVOLUTIONS} convolutions": (convolved(uniform, CONVOLUTIONS), CONVOLUTIONS),
        f"{count} convolutions": (plain, count),
        "U-Net, 2 down-samplings": (shallow, same),
        "U-Net, 4 down-samplings": (deep, count),
    }
    stopwatch, cases = Stopwatch("padding", len(images)), []
    for number, (name, (image, convolutions)) in enumerate(images.items(), start=1):
        profile = image[len(image) // 2].tolist()
        figures = {"side_px": len(image), "convolutions": convolutions, **deviation(image)}
        cases.append({"name": name, **figures, "profile": profile})
        yield stopwatch.progress(number)
    data = {"scale": scale, "visible": VISIBLE, "cases": cases}
    data |= {"command": called_as(), "machine": describe_machine()}
    picture = _draw({name: image.numpy() for name, (image, _) in images.items()}, cases)
    written = write_results(output, "padding", data, picture)
    yield Finished("completed", f"Wrote {written[1]}.", outputs=written, result=data)


def _draw(images: dict[str, Float64], cases: list[dict[str, Any]]) -> Figure:
    """Each image on a scale of its own, and how many of its pixels know of the border."""
    figure = Figure(figsize=(3.3 * len(images), 3.9), layout="constrained")
    for axes, (name, image), case in zip(
        figure.subplots(1, len(images)), images.items(), cases, strict=True
    ):
        shown = axes.imshow(image, cmap="viridis", vmax=1)
        side = case["side_px"]
        axes.set_title(
            f"{name}\n{side}x{side} pixels; {100 * case['informed']:.0f} % know of the border",
            fontsize=9,
        )
        axes.set_axis_off()
        figure.colorbar(shown, ax=axes, shrink=0.75)
    return figure
