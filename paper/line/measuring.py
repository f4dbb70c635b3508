"""What a trained network does to signals: its error, its matrix, and by what means."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from napari_coordgate.metrics import psnr
from paper.line.models import Model
from paper.line.task import LENGTH, convolution_matrix
from paper.line.training import Protocol, Trained
from paper.networks import ConvolutionalLine

__all__ = ["figures_of"]

SIGNALS_FOR_MATRIX = 64
FACTORS = (0.25, 1.0, 4.0)
"""By which signals are multiplied: H is linear, so should a network be that has learned it."""
ALWAYS = 0.99
"""Part of the signals for which a unit that is always on, or off, is so."""


@torch.no_grad()
def figures_of(model: Model, trained: Trained, protocol: Protocol) -> dict[str, Any]:
    """Figures of a trained network, plain JSON values.

    Parameters
    ----------
    model : Model
        The network's form.
    trained : Trained
        Its weights.
    protocol : Protocol
        Gives the test signals.

    Returns
    -------
    dict
        ``psnr`` on test signals, dB, peak 1, and ``pixel_errors``, mean squared, of each pixel;
        ``relative_error_db``: error against the power of the blurred signals' variation;
        ``scaled_error_db``: against their power, with signals multiplied by each of `FACTORS`;
        ``psnr_without_coordinates``: all of them 0; ``matrix``: the mean Jacobian over test
        signals, which is the answer to unit impulses where the network is linear;
        ``nonlinearity``: how far the Jacobians of single signals are from it, RMS, against H;
        and for networks of several convolutions those of `_switching`.
    """
    network = model.build(trained.seed)
    network.load_state_dict(trained.weights)
    coordinates, signals = model.coordinates(trained.seed), protocol.samples(model.lowest).test
    matrix = torch.from_numpy(convolution_matrix()).float()
    blurred = signals @ matrix.T
    errors = (network(signals, coordinates) - blurred).square()
    without = network(signals, torch.zeros_like(coordinates))
    return {
        "psnr": psnr(blurred.numpy(), network(signals, coordinates).numpy()),
        "pixel_errors": errors.mean(0).tolist(),
        "relative_error_db": _decibels(errors.mean() / blurred.var(0).mean()),
        "scaled_error_db": [
            _scaled_error(network, coordinates, signals, blurred, factor) for factor in FACTORS
        ],
        "psnr_without_coordinates": psnr(blurred.numpy(), without.numpy()),
        **_linearised(network, coordinates, signals, matrix),
        **_switching(network, coordinates, signals),
    }


def _decibels(ratio: Tensor) -> float:
    return float(10 * torch.log10(ratio))


def _scaled_error(
    network: nn.Module, coordinates: Tensor, signals: Tensor, blurred: Tensor, factor: float
) -> float:
    wrong = network(factor * signals, coordinates) - factor * blurred
    return _decibels(wrong.square().mean() / (factor * blurred).square().mean())


def _linearised(
    network: nn.Module, coordinates: Tensor, signals: Tensor, matrix: Tensor
) -> dict[str, Any]:
    def output(signal: Tensor) -> Tensor:
        answer: Tensor = network(signal[None], coordinates)[0]
        return answer

    jacobians = vmap(jacrev(output))(signals[:SIGNALS_FOR_MATRIX])
    mean = jacobians.mean(0)
    apart = (jacobians - mean).square().sum((1, 2)).mean() / matrix.square().sum()
    off = (mean - matrix).square().sum() / matrix.square().sum()
    return {
        "matrix": np.round(mean.numpy().astype(float), 4).tolist(),
        "matrix_error_db": _decibels(off),
        "nonlinearity": float(apart.sqrt()),
    }


def _switching(network: nn.Module, coordinates: Tensor, signals: Tensor) -> dict[str, float]:
    """How a network's ReLUs and coordinates are used; nothing where there are none.

    ``switching_units``: part of the hidden units that are always on (for 99 % of the signals)
    at some pixels and always off at others; ``decided``: part of all units at all pixels that are
    always on or always off; ``coordinate_weights``: RMS weight of coordinates against that of
    features, mean over the layers (1 as training begins).
    """
    if not isinstance(network, ConvolutionalLine):
        return {}
    told = {}
    if len(network.convolutions) > 1 and not network.linear:
        on = torch.cat(_active(network, coordinates, signals))
        always, never = on >= ALWAYS, on <= 1 - ALWAYS
        told["switching_units"] = float((always.any(1) & never.any(1)).float().mean())
        told["decided"] = float((always | never).float().mean())
    if network.coordinates:
        ratios = [
            weight[:, -1].square().mean().sqrt() / weight[:, :-1].square().mean().sqrt()
            for name, weight in network.named_parameters()
            if name.endswith("weight")
        ]
        told["coordinate_weights"] = float(torch.stack(ratios).mean())
    return told


def _active(network: ConvolutionalLine, coordinates: Tensor, signals: Tensor) -> list[Tensor]:
    """Part of the signals for which each hidden unit is on, (channels, N), a layer each."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        margin = (output.shape[-1] - LENGTH) // 2
        found.append((output[..., margin : margin + LENGTH] > 0).float().mean(0))

    hooks = [layer.register_forward_hook(keep) for layer in network.convolutions[:-1]]
    network(signals, coordinates)
    for hook in hooks:
        hook.remove()
    return found
