"""Use of a trained network, on one image or a folder of them, and the demonstration."""

from typing import Literal

from pydantic import Field

from napari_coordgate.config.base import Device, Settings

__all__ = ["BatchConfig", "DeblurConfig", "DemoConfig", "OutputFormat", "Selection"]

OutputFormat = Literal["ome-tiff", "ome-zarr"]


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
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Arithmetic of the network; auto: bfloat16 where the processor gains by it.",
    )
    keep_dtype: bool = Field(
        False, description="Write the input's pixel type (rounded and clipped) instead of float32."
    )
    device: Device = Field("auto", description="Where to compute.")


class Selection(Settings):
    """Which part of an image to work on; numbers count from 0, and an end is left out."""

    channels: str | None = Field(
        None, description="Channels to deblur, by number or name, such as 0,2 or DAPI; none: all."
    )
    times: str | None = Field(None, description="Times to deblur, such as 0:10 or 0,5; none: all.")
    planes: str | None = Field(
        None, description="Planes of a stack (axis Z) to deblur, such as 3:8; none: all."
    )


class BatchConfig(DeblurConfig):
    """How a folder of images is deblurred."""

    selection: Selection = Field(Selection(), description="Which part of each image.")
    axes: str | None = Field(
        None, description="Axes of the images, such as TCYX, if their files are wrong."
    )
    origin: tuple[int, int] | None = Field(
        None, description="Frame pixel (y, x) at which each image, a window, begins."
    )
    pattern: str = Field(
        "*",
        min_length=1,
        description="Names of the images, such as *.tif or plate1/*.czi; several with commas.",
    )
    format: OutputFormat = Field("ome-tiff", description="Format of the results.")
    workers: int = Field(
        1, ge=1, le=1024, description="Processes that work on files beside each other."
    )
    scheduler: str | None = Field(
        None,
        description="Address of a dask scheduler, tcp://HOST:8786, whose workers are to do the "
        "work; none: this computer.",
    )


class DemoConfig(Settings):
    """How long the demonstration trains, and where."""

    seconds: float = Field(60.0, ge=1, description="Time for the training, about.")
    device: Device = Field("auto", description="Where to compute.")
