"""How near a network comes to the sharp validation images."""

import numpy as np
import torch
from torch import nn

from napari_coordgate.metrics import field_radius, quality
from napari_coordgate.pairs import Pairs
from napari_coordgate.progress import Preview

__all__ = ["validate"]


@torch.no_grad()
def validate(
    network: nn.Module, pairs: Pairs, images: int, device: torch.device, step: int
) -> tuple[dict[str, float], Preview]:
    """Figures of a network on validation pairs.

    Parameters
    ----------
    network : nn.Module
        The network.
    pairs : Pairs
        Validation pairs.
    images : int
        Most pairs to look at; always the first ones.
    device : torch.device
        Where the network is.
    step : int
        Training step, for the preview.

    Returns
    -------
    figures : dict of str to float
        Means over the pairs of ``validation_loss`` (mean squared error) and of
        the figures of `quality`.
    preview : Preview
        The first pair.
    """
    rows: list[dict[str, float]] = []
    preview = None
    for number in range(min(len(pairs), images)):
        sample = pairs[number]
        batch = pairs.to_batch([sample], device, number)
        restored = network(batch.blurred, batch.coordinates)
        sharp, blurred, deblurred = (
            image[0, 0].cpu().numpy() for image in (batch.sharp, batch.blurred, restored)
        )
        loss = float(np.mean(np.square(deblurred - sharp)))
        radius = field_radius(pairs.frame_shape, sample.window)
        rows.append({"validation_loss": loss, **quality(sharp, deblurred, radius)})
        preview = preview or Preview(step, sharp, blurred, deblurred)
    assert preview is not None
    names = dict.fromkeys(name for row in rows for name in row)
    figures = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    return figures, preview
