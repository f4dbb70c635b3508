"""What deblurs a plane: the network of a model, or deconvolution with a PSF field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import (
    DeblurConfig,
    DeblurRuntime,
    RichardsonLucyConfig,
    UniversalConfig,
)
from napari_coordgate.deconvolution import Deconvolver
from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.geometry import Window
from napari_coordgate.inference.predictor import Predictor
from napari_coordgate.inference.universal import UniversalDeblurrer
from napari_coordgate.io.processing import Check
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel


class Deblurrer(Protocol):
    """Deblurs planes of windows of the frame, in steps; threads may share it."""

    @property
    def unit(self) -> str:
        """What a step is: a tile or an iteration."""
        ...

    def steps(self, shape: tuple[int, int]) -> int:
        """Maximum number of steps for a plane (height, width)."""
        ...

    def tile_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Shape of the pieces in which a plane (height, width) is written."""
        ...

    def process(
        self,
        source: PixelArray,
        target: WritablePixelArray,
        name: str,
        check: Check,
        window: Window,
    ) -> Iterator[None]:
        """Deblur a plane that shows this window of the frame; yields after each step."""
        ...


def as_method(method: Model | PSFField | str | Path) -> Model | PSFField:
    """Model or PSF field that is given as such, or by the path of its file."""
    if isinstance(method, Model | PSFField):
        return method
    if not isinstance(method, str | Path):
        raise ModelError(
            f"Expected a model or a PSF field, got {type(method).__name__}; pass a Model or "
            "PSFField, or the file of either."
        )
    is_tiff = Path(method).suffix.lower() in (".tif", ".tiff")
    return PSFField.load(method) if is_tiff else Model.load(method)


def build_deblurrer(
    method: Model | PSFField, config: DeblurConfig, runtime: DeblurRuntime
) -> Deblurrer:
    """Build the deblurrer of a model or PSF field."""
    if isinstance(method, PSFField):
        deconvolution = config.deconvolution or RichardsonLucyConfig()
        if isinstance(deconvolution, UniversalConfig):
            universal = UniversalModel.load(deconvolution.weights)
            uncertainty = deconvolution.lens_uncertainty
            return UniversalDeblurrer(method, universal, config, runtime, uncertainty)
        return Deconvolver(method, deconvolution, camera=config.camera, device=runtime.device)
    if config.deconvolution is not None:
        raise SettingsError(
            f"{config.deconvolution.method} needs a PSF field, not a model; pass the PSF field, or "
            "omit the deconvolution."
        )
    return Predictor(method, config, runtime)
