"""What deblurs a plane: the network of a model, or deconvolution with a PSF field."""

from collections.abc import Generator, Sequence
from typing import Protocol

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import (
    DeblurConfig,
    DeblurRuntime,
    Scaling,
    UniversalConfig,
    as_deconvolution,
)
from napari_coordgate.deconvolution import Deconvolver, IterationEnd
from napari_coordgate.geometry import Window
from napari_coordgate.inference.predictor import Predictor
from napari_coordgate.inference.universal import UniversalDeblurrer
from napari_coordgate.io.processing import Check
from napari_coordgate.model import Model
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel


class Deblurrer(Protocol):
    """Deblurs planes of windows of the frame, in steps; threads may share it."""

    @property
    def scaling(self) -> Scaling:
        """Percentiles that are scaled to 0 and 1."""
        ...

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
        normalizer: Normalizer | None = None,
    ) -> Generator[None, None, Sequence[IterationEnd]]:
        """Deblur a plane that shows this window of the frame; yields after each step.

        ``normalizer`` is by default that of the plane. Returns how iterations ended, if there were
        any.
        """
        ...


def build_deblurrer(
    method: Model | PSFField,
    config: DeblurConfig,
    runtime: DeblurRuntime,
    universal: UniversalModel | None = None,
) -> Deblurrer:
    """Build the deblurrer of a model or PSF field; ``universal`` is that of the settings."""
    if isinstance(method, Model):
        return Predictor(method, config, runtime)
    deconvolution = as_deconvolution(config.deconvolution)
    if isinstance(deconvolution, UniversalConfig):
        universal = universal or UniversalModel.load(deconvolution.weights)
        uncertainty = deconvolution.lens_uncertainty
        return UniversalDeblurrer(method, universal, config, runtime, uncertainty)
    return Deconvolver(method, deconvolution, camera=config.camera, device=runtime.device)
