"""Settings of deblurring with a model or by deconvolution, and of the demo."""

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import DeviceConfig, Settings
from napari_coordgate.config.deconvolution import Deconvolution
from napari_coordgate.config.training import Camera

OutputFormat = Literal["ome-tiff", "ome-zarr"]
Compression = Literal["auto", "none", "zlib", "zstd"]


class DeblurConfig(Settings):
    """How an image is deblurred, with a model or by deconvolution with a PSF field.

    Examples
    --------
    >>> DeblurConfig(keep_dtype=True)
    DeblurConfig(keep_dtype=True)
    >>> DeblurConfig(deconvolution={"num_iter": 20})
    DeblurConfig(deconvolution=RichardsonLucyConfig(num_iter=20))
    """

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of the network's computations; auto: bfloat16 where it is "
        "faster, else float32.",
    )
    keep_dtype: bool = Field(
        False,
        description="Return the pixel type of the image (rounded and clipped) instead of float32.",
    )
    intensity: Literal["per-plane", "per-stack", "fixed"] = Field(
        "per-plane",
        description="Gray values that the method takes for dark and bright: percentiles of each "
        "plane; of all planes of a channel (per-stack), so that a bright clump in one plane does "
        "not dim its gain; or dark_gray and bright_gray (fixed), for results to be compared.",
    )
    dark_gray: float | None = Field(
        None, ge=0, description="Gray value without light, for a fixed intensity."
    )
    bright_gray: float | None = Field(
        None,
        gt=0,
        description="Gray value of a bright pixel, for a fixed intensity; others may be brighter. "
        "Give electrons_per_count, and the noise follows.",
    )
    whole_frame: bool = Field(
        False,
        description="Images of another size than the frame, whose pixel size is unknown, show the "
        "whole frame (binning): they are resampled. Default: they are refused.",
    )
    deconvolution: Deconvolution | None = Field(
        None,
        description="Deconvolution with a PSF field, for deblurring without a model of the lens; "
        "default: the universal model.",
    )
    camera: Camera = Field(
        Camera(), description="Camera noise of the images, for a PSF field; default: unknown."
    )

    @model_validator(mode="after")
    def _grays_if_fixed(self) -> Self:
        grays = self.dark_gray, self.bright_gray
        if self.intensity != "fixed":
            if grays != (None, None):
                raise ValueError("dark_gray and bright_gray need intensity: fixed.")
        elif None in grays:
            raise ValueError("intensity: fixed needs dark_gray and bright_gray.")
        elif not self.dark_gray < self.bright_gray:  # type: ignore[operator]
            raise ValueError("dark_gray must be below bright_gray.")
        return self


class DeblurRuntime(DeviceConfig):
    """Device, memory and checks of a deblurring; they do not change the result.

    Examples
    --------
    >>> DeblurRuntime(tile=512).memory_gb
    0.75
    """

    tile: int | None = Field(
        None,
        ge=16,
        description="Maximum side of a tile with its overlap, pixels; default: as memory allows.",
    )
    memory_gb: float = Field(
        0.75,
        gt=0,
        description="Memory for one tile, GB; cached gating maps use up to as much again.",
    )
    check: bool = Field(
        True,
        description="Check each image first, and warn if its noise or blur contradicts the model "
        "or PSF field.",
    )
    strict: bool = Field(False, description="Refuse images for which the check would warn.")


class DeblurSettings(DeblurConfig, DeblurRuntime):
    """Settings of a deblurring, with the runtime."""


class Selection(Settings):
    """Part of a file to process; indices start at 0, and the end of a range is excluded.

    Examples
    --------
    >>> Selection(channels="DAPI", times="0:10").planes is None
    True
    """

    scenes: str | None = Field(
        None,
        description="Images to deblur of a file that has several (scenes, positions, series, "
        "wells), by number or name, such as 0:3 or Pos1; default: all.",
    )

    channels: str | None = Field(
        None, description="Channels to deblur, by index or name, such as 0,2 or DAPI; default: all."
    )
    times: str | None = Field(
        None, description="Time points to deblur, such as 0:10 or 0,5; default: all."
    )
    planes: str | None = Field(
        None, description="Planes of a z stack to deblur, such as 3:8; default: all."
    )


class FileConfig(DeblurConfig):
    """How an image file is deblurred: with file and model, all that the result depends on."""

    selection: Selection = Field(Selection(), description="Part of each file to process.")
    axes: str | None = Field(
        None,
        description="Axes of the images, such as TCYX; default: as stated in the files.",
    )
    origin: tuple[int, int] | None = Field(
        None,
        description="Position (y, x) of the images' top left pixel in the camera frame; default: "
        "the images show the whole frame.",
    )


class BatchConfig(FileConfig):
    """How a folder of images is deblurred.

    Examples
    --------
    >>> BatchConfig(pattern="*.czi", selection=Selection(channels="0")).format
    'ome-tiff'
    """

    pattern: str = Field(
        "*",
        min_length=1,
        description="Names of the files to process, such as *.tif or plate1/*.czi; separate "
        "several with commas.",
    )
    format: OutputFormat = Field("ome-tiff", description="File format of the results.")
    compression: Compression = Field(
        "auto",
        description="Lossless compression of the results; auto: none in TIFF, zstd in OME-Zarr.",
    )
    trust: bool = Field(
        False,
        description="Also say where each result can be trusted: verdict, contradicted pixels and "
        "expected error, in the report; of a single image, with maps beside the result.",
    )
    trust_maps: bool = Field(
        False,
        description="Write the maps beside each result of a folder, too: expected error, "
        "contradiction, finest detail.",
    )


class BatchRuntime(DeblurRuntime):
    """Device, memory and processes of a batch; they do not change the results.

    Examples
    --------
    >>> BatchRuntime(workers=4, device="cpu").scheduler is None
    True
    """

    workers: int = Field(
        1, ge=1, le=1024, description="Number of processes that deblur files in parallel."
    )
    scheduler: str | None = Field(
        None,
        description="Address of a dask scheduler, such as tcp://HOST:8786, whose workers deblur "
        "the files; default: this computer.",
    )


class BatchSettings(BatchConfig, BatchRuntime):
    """Settings of a batch, with the runtime."""


class DemoConfig(DeviceConfig):
    """Duration and device of the demo."""

    seconds: float = Field(60.0, ge=1, description="Approximate duration of the training, seconds.")
