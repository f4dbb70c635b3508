"""Gradient of the total variation of images."""

import torch
from torch import Tensor

EPS = 1e-6
"""Squared gradient below which an image counts as flat."""


def curvature(image: Tensor) -> Tensor:
    """Divergence of the normalized gradient of images (..., H, W); negative at peaks.

    It is minus the gradient of the total variation, and at most 2 + sqrt(2).
    """
    down, right = torch.zeros_like(image), torch.zeros_like(image)
    torch.sub(image[..., 1:, :], image[..., :-1, :], out=down[..., :-1, :])
    torch.sub(image[..., 1:], image[..., :-1], out=right[..., :-1])
    length = torch.addcmul(right.square() + EPS, down, down).sqrt_()
    down, right = down.div_(length), right.div_(length)
    result = down + right
    result[..., 1:, :] -= down[..., :-1, :]
    result[..., 1:] -= right[..., :-1]
    return result
