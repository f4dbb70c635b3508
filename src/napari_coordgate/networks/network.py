"""Interface of the networks that deblur."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class GatingMaps(NamedTuple):
    """Gating maps of a window, each (B or 1, n_c, H, W), finest level first.

    ``down`` are applied before each down-sampling, ``up`` after each up-sampling.
    """

    down: tuple[Tensor, ...] = ()
    up: tuple[Tensor, ...] = ()


class Network(nn.Module, ABC):
    """Network that deblurs windows of a frame."""

    @abstractmethod
    def forward(
        self,
        inputs: Tensor,
        coordinates: Tensor,
        coordinate_maps: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Deblurred windows (B, 1, H, W) of blurred ones and their coordinates (B or 1, 2, H, W).

        With precomputed `coordinate_maps` the coordinates themselves are not encoded again.
        """

    def coordinate_maps(self, coordinates: Tensor) -> tuple[Tensor, ...]:
        """All maps that depend on the coordinates alone, to be computed once for many images."""
        maps = self.gating_maps(coordinates)
        return (*maps.down, *maps.up)

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window with coordinates (B or 1, 2, H, W); empty without gates."""
        return GatingMaps()

    @property
    def multiple(self) -> int:
        """Windows that start at multiples of this many pixels are deblurred as the whole frame."""
        return 1

    @property
    @abstractmethod
    def receptive_radius(self) -> int:
        """Largest distance, in pixels, between an input pixel and an output pixel it affects."""
