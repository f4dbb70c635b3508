"""What every network that deblurs can do."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from napari_coordgate.config import NetworkConfig

__all__ = ["GatingMaps", "Network"]


class GatingMaps(NamedTuple):
    """What a network computes of a window's place in the frame alone.

    Attributes
    ----------
    down : tuple of Tensor, each (B or 1, n_c, H, W)
        Maps before each down-sampling, finest level first.
    up : tuple of Tensor, each (B or 1, n_c, H, W)
        Maps after each up-sampling, finest level first.
    """

    down: tuple[Tensor, ...]
    up: tuple[Tensor, ...]


class Network(nn.Module, ABC):
    """A network that deblurs windows of a frame.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window; they stay the same for every image.

        Parameters
        ----------
        coordinates : Tensor, shape (B or 1, 2, H, W)
            Frame coordinates (y, x) of the window's pixels.

        Returns
        -------
        GatingMaps
            Maps for `forward`; none without gates.
        """

    @abstractmethod
    def forward(
        self, blurred: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """Deblurred windows.

        Parameters
        ----------
        blurred : Tensor, shape (B, 1, H, W)
            Scaled windows of blurred images.
        coordinates : Tensor, shape (B or 1, 2, H, W)
            Frame coordinates of their pixels.
        gating_maps : GatingMaps, optional
            Maps from `gating_maps`, so that they need no computing.

        Returns
        -------
        Tensor, shape (B, 1, H, W)
            Scaled windows of deblurred images.
        """

    @property
    @abstractmethod
    def receptive_radius(self) -> int:
        """Largest distance, in pixels, over which an input pixel reaches an output pixel."""
