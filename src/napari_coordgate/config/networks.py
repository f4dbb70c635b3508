"""What a network is built of."""

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import Settings

__all__ = ["GateOutput", "NetworkConfig"]

GateOutput = Literal["identity", "relu", "one_plus"]


class NetworkConfig(Settings):
    """A network; reading it is reading the architecture."""

    architecture: Literal["cg-unet", "unet"] = Field(
        "cg-unet", description="U-Net with coordinate gates, or without."
    )
    depth: int = Field(3, ge=1, le=6, description="Levels d of U-Net(d).")
    base_channels: int = Field(
        32, ge=1, le=256, description="Channels at full resolution; they double at each level."
    )
    kernel_size: int = Field(3, ge=1, le=15, description="Side of the convolution kernels, odd.")
    encoder_layers: int = Field(
        2, ge=1, le=8, description="Fully connected layers of each coordinate encoder."
    )
    gate_output: GateOutput = Field(
        "one_plus",
        description="What multiplies the features: g, ReLU(g), or 1 + g starting at g = 0.",
    )
    residual: bool = Field(True, description="Add the network's input to its output.")

    @model_validator(mode="after")
    def _kernel_has_centre(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd, so that a kernel has a centre.")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels n_c of each level, finest first."""
        return tuple(self.base_channels * 2**level for level in range(self.depth))

    @property
    def multiple(self) -> int:
        """Pixels to whose multiples windows snap: a coarsest feature covers so many."""
        return int(2 ** (self.depth - 1))
