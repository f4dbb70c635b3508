"""Use of a trained network, and the demonstration."""

from pydantic import Field

from napari_coordgate.config.base import Device, Settings

__all__ = ["DeblurConfig", "DemoConfig"]


class DeblurConfig(Settings):
    """How a network is run over an image."""

    tile: int | None = Field(
        None,
        ge=16,
        description="Largest side of a tile with its halo, pixels; none: chosen by memory.",
    )
    memory_gb: float = Field(
        0.75, gt=0, description="Memory for a tile's features, GB; gating maps kept take as much."
    )
    keep_dtype: bool = Field(
        False, description="Write the input's pixel type (rounded and clipped) instead of float32."
    )
    device: Device = Field("auto", description="Where to compute.")


class DemoConfig(Settings):
    """How long the demonstration trains, and where."""

    seconds: float = Field(60.0, ge=1, description="Time for the training, about.")
    device: Device = Field("auto", description="Where to compute.")
