"""Small untrained models, and images for them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.config import (
    CGUNetConfig,
    Scaling,
    TrainingConfig,
    UniversalTrainingConfig,
    UnrolledConfig,
)
from napari_coordgate.geometry import Window
from napari_coordgate.inference import Predictor, deblur_planes
from napari_coordgate.io import Image
from napari_coordgate.model import Model
from napari_coordgate.networks import CoordGate, UNet, UnrolledNetwork
from napari_coordgate.universal_model import UniversalModel

Pixels = NDArray[Any]
WHOLE_RANGE = Scaling(low_percentile=0, high_percentile=100)


def random_model(
    frame: tuple[int, int], depth: int = 3, *, channels: int = 4, seed: int = 0
) -> Model:
    """Model whose gates vary strongly over the frame."""
    torch.manual_seed(seed)
    settings = CGUNetConfig(base_channels=channels, depth=depth)
    network = UNet.from_config(settings)
    for gate in (*network.down_gates, *network.up_gates):
        torch.nn.init.normal_(gate.encoder[-1].weight)
    config = TrainingConfig(network=settings, scaling=WHOLE_RANGE)
    return Model(config, network.state_dict(), frame, pixel_size_um=0.5)


def identity_model(frame: tuple[int, int]) -> Model:
    """Model whose residual is zero, so that it returns its input."""
    settings = CGUNetConfig(base_channels=4, depth=2)
    network = UNet.from_config(settings)
    torch.nn.init.zeros_(network.head.weight)
    assert network.head.bias is not None
    torch.nn.init.zeros_(network.head.bias)
    config = TrainingConfig(network=settings)
    return Model(config, network.state_dict(), frame)


def noise(shape: tuple[int, ...], dtype: DTypeLike = np.float32, seed: int = 0) -> Pixels:
    values = np.random.default_rng(seed).uniform(0, 200, shape)
    return values.astype(dtype)


def deblur_stack(predictor: Predictor, stack: Pixels, axes: str = "ZYX") -> Pixels:
    """Result of a predictor for a stack whose planes are the whole frame."""
    image, result = Image(stack, axes), np.empty(stack.shape, np.float32)
    for _ in deblur_planes(predictor, image, result, Window.whole(image.frame_shape)):
        pass
    return result


def random_universal_model(seed: int = 0) -> UniversalModel:
    """Small universal model with weak random corrections, whose gates vary with the noise."""
    torch.manual_seed(seed)
    config = UniversalTrainingConfig(network=UnrolledConfig(stages=2, base_channels=4))
    network = UnrolledNetwork(config.network)
    for name, parameter in network.named_parameters():
        if "head" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    for module in network.modules():
        if isinstance(module, CoordGate):
            for parameter in module.encoder[-1].parameters():
                torch.nn.init.normal_(parameter, std=0.1)
    return UniversalModel(config, network.state_dict(), card={"training_data": "none"})
