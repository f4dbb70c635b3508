"""A locally connected layer: every pixel has a kernel and a bias of its own."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["LocallyConnected", "neighborhoods"]


def neighborhoods(features: Tensor, kernel_size: int) -> Tensor:
    """The k pixels around each pixel, zeros beyond the border: (..., N) to (..., N, k)."""
    radius, length = kernel_size // 2, features.shape[-1]
    padded = pad(features, (radius, radius))
    # The gradient of Tensor.unfold is slow where networks are stacked.
    return torch.stack([padded[..., tap : tap + length] for tap in range(kernel_size)], dim=-1)


class LocallyConnected(nn.Module):
    """Locally connected network of one layer (Bruna et al. 2014).

    Parameters
    ----------
    length : int
        Pixels N of a signal.
    kernel_size : int
        k, odd.
    """

    def __init__(self, length: int, kernel_size: int) -> None:
        super().__init__()
        bound = kernel_size**-0.5
        self.kernels = nn.Parameter(torch.empty(length, kernel_size).uniform_(-bound, bound))
        self.biases = nn.Parameter(torch.empty(length).uniform_(-bound, bound))

    def forward(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """Output (B, N) of signals (B, N); coordinates play no part."""
        around = neighborhoods(signal, self.kernels.shape[1])
        return (around * self.kernels).sum(-1) + self.biases
