"""Gradient of the total variation of images."""

import torch
from torch import Tensor

EPS = 1e-6
"""Squared gradient below which an image counts as flat."""


def curvature(image: Tensor) -> Tensor:
    """Divergence of the normalized gradient of images (..., H, W); negative at peaks.

    It is minus the gradient of the total variation, and at most 2 + sqrt(2).
    """
    down, right = (
        torch.diff(image, dim=axis, append=image.narrow(axis, -1, 1)) for axis in (-2, -1)
    )
    length = (down.square() + right.square() + EPS).sqrt()
    down, right = down / length, right / length
    rows = torch.diff(down, dim=-2, prepend=torch.zeros_like(down[..., :1, :]))
    return rows + torch.diff(right, dim=-1, prepend=torch.zeros_like(right[..., :1]))
