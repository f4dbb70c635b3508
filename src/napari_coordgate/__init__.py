"""Deblur images that are sharp in the middle and soft at the edge.

A lens blurs each camera pixel with a point spread function of its own, the same
for every image. This package simulates or measures that blur, trains a small
U-Net gated by pixel coordinates (CoordGate; Howard, Norreys and Döpp) to undo
it, and applies the network to images.

Names are loaded when they are first used, so that importing the package is
instant and brings in no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_coordgate.version import __version__ as __version__

if TYPE_CHECKING:
    from napari_coordgate.batch import deblur_folder
    from napari_coordgate.comparison import Comparison, compare
    from napari_coordgate.config import (
        BatchConfig,
        Camera,
        ComparisonConfig,
        DeblurConfig,
        GaussianLens,
        Lens,
        Method,
        NetworkConfig,
        RichardsonLucyConfig,
        Scaling,
        Selection,
        TrainingConfig,
        WienerConfig,
        load_lens,
    )
    from napari_coordgate.deconvolution import deconvolve, richardson_lucy, wiener
    from napari_coordgate.errors import CoordGateError
    from napari_coordgate.events import Finished, Preview, Progress, finish
    from napari_coordgate.geometry import Window
    from napari_coordgate.inference import deblur
    from napari_coordgate.inference.gating_maps import gating_maps
    from napari_coordgate.model import Model
    from napari_coordgate.networks import build_network
    from napari_coordgate.optics import PSFField
    from napari_coordgate.simulation import simulate
    from napari_coordgate.training import ResourceEstimate, estimate_resources, train

_HOMES = {
    "BatchConfig": "config",
    "Camera": "config",
    "Model": "model",
    "Comparison": "comparison",
    "ComparisonConfig": "config",
    "CoordGateError": "errors",
    "DeblurConfig": "config",
    "ResourceEstimate": "training",
    "Finished": "events",
    "GaussianLens": "config",
    "Lens": "config",
    "Method": "config",
    "NetworkConfig": "config",
    "PSFField": "optics",
    "Preview": "events",
    "Progress": "events",
    "RichardsonLucyConfig": "config",
    "Scaling": "config",
    "Selection": "config",
    "TrainingConfig": "config",
    "WienerConfig": "config",
    "Window": "geometry",
    "build_network": "networks",
    "compare": "comparison",
    "deblur": "inference",
    "deblur_folder": "batch",
    "deconvolve": "deconvolution",
    "finish": "events",
    "gating_maps": "inference",
    "load_lens": "config",
    "estimate_resources": "training",
    "richardson_lucy": "deconvolution",
    "simulate": "simulation",
    "train": "training",
    "wiener": "deconvolution",
}

__all__ = [
    "BatchConfig",
    "Camera",
    "Comparison",
    "ComparisonConfig",
    "CoordGateError",
    "DeblurConfig",
    "Finished",
    "GaussianLens",
    "Lens",
    "Method",
    "Model",
    "NetworkConfig",
    "PSFField",
    "Preview",
    "Progress",
    "ResourceEstimate",
    "RichardsonLucyConfig",
    "Scaling",
    "Selection",
    "TrainingConfig",
    "WienerConfig",
    "Window",
    "build_network",
    "compare",
    "deblur",
    "deblur_folder",
    "deconvolve",
    "estimate_resources",
    "finish",
    "gating_maps",
    "load_lens",
    "richardson_lucy",
    "simulate",
    "train",
    "wiener",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
