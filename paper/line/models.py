"""The networks that are tried on the line, with the paper's names."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from paper.line.task import LENGTH, line_coordinates
from paper.networks import (
    ConvolutionalLine,
    GatedLine,
    LocallyConnected,
    Padding,
    PixelAdaptive,
)

__all__ = ["MODELS", "Model"]


@dataclass(frozen=True)
class Model:
    """A network, and what it is trained on.

    Attributes
    ----------
    name : str
        As the paper writes it, with what is changed.
    kind : {"CNN", "cCNN", "CG", "LCN", "PAC"}
        Which network.
    layers, kernel_size, channels : int
        L, k and c.
    encoder_layers : int
        p of CG; 0: a free map.
    linear : bool
        No ReLU between the layers of a CNN or cCNN.
    padding : {"same", "once"}
        Zeros around every layer of a CNN or cCNN, or around the signal alone.
    relu_features : bool
        ReLU before the gate of CG.
    embedding : int
        Nodes of the features that PAC learns; 0: coordinates.
    random_numbers : bool
        A random number in (-1, 1) for each pixel, drawn once, in place of its coordinate.
    lowest : float
        Least intensity of the signals.
    """

    name: str
    kind: Literal["CNN", "cCNN", "CG", "LCN", "PAC"]
    layers: int = 1
    kernel_size: int = 7
    channels: int = 1
    encoder_layers: int = 2
    linear: bool = False
    padding: Padding = "same"
    relu_features: bool = False
    embedding: int = 0
    random_numbers: bool = False
    lowest: float = 0.0

    def build(self, seed: int) -> nn.Module:
        """Network with the initial weights of a seed."""
        size = (self.layers, self.kernel_size, self.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            match self.kind:
                case "CG":
                    return GatedLine(
                        *size, self.encoder_layers, length=LENGTH, relu_features=self.relu_features
                    )
                case "LCN":
                    return LocallyConnected(LENGTH, self.kernel_size)
                case "PAC":
                    return PixelAdaptive(*size, embedding=self.embedding)
            return ConvolutionalLine(
                *size,
                coordinates=self.kind == "cCNN",
                linear=self.linear,
                padding=self.padding,
            )

    def coordinates(self, seed: int) -> Tensor:
        """What is given as coordinates, (30,)."""
        if self.random_numbers:
            generator = torch.Generator().manual_seed(seed)
            return 2 * torch.rand(LENGTH, generator=generator) - 1
        return line_coordinates()

    @property
    def parameters(self) -> int:
        """Numbers that the network learns."""
        return sum(parameter.numel() for parameter in self.build(0).parameters())


def _convolutional(kind: Literal["CNN", "cCNN"], layers: int, channels: int) -> Model:
    return Model(f"{kind}({layers},7,{channels})", kind, layers, 7, channels)


def _gated(
    channels: int, change: str = "", *, relu_features: bool = False, random_numbers: bool = False
) -> Model:
    return Model(
        f"CG(1,7,{channels},2){change}",
        "CG",
        1,
        7,
        channels,
        relu_features=relu_features,
        random_numbers=random_numbers,
    )


MODELS: tuple[Model, ...] = (
    *(_convolutional("CNN", *size) for size in ((1, 1), (3, 4), (4, 4), (8, 4), (4, 20))),
    *(_convolutional("cCNN", *size) for size in ((4, 4), (4, 20))),
    *(_gated(channels) for channels in (3, 4, 8, 16)),
    # In place of coordinates, of their encoder, of the gate.
    *(_gated(channels, ", random numbers", random_numbers=True) for channels in (3, 16)),
    Model("CG(1,7,3), free map", "CG", 1, 7, 3, encoder_layers=0),
    _gated(3, ", ReLU before the gate", relu_features=True),
    Model("LCN(7)", "LCN"),
    Model("PAC(1,7,1)", "PAC"),
    Model("PAC(4,7,4)", "PAC", 4, 7, 4),
    Model("PAC(1,7,1), learned features", "PAC", embedding=8),
    # Why CoordConv does not fail: ReLU, padding, and the signals' range.
    Model("linear CNN(4,7,4)", "CNN", 4, 7, 4, linear=True),
    Model("linear cCNN(4,7,4)", "cCNN", 4, 7, 4, linear=True),
    Model("linear CNN(8,7,4)", "CNN", 8, 7, 4, linear=True),
    Model("CNN(4,7,4), padded once", "CNN", 4, 7, 4, padding="once"),
    Model("cCNN(4,7,4), padded once", "cCNN", 4, 7, 4, padding="once"),
    Model("linear cCNN(4,7,4), padded once", "cCNN", 4, 7, 4, linear=True, padding="once"),
    Model("linear cCNN(4,7,4), signals in [-1, 1]", "cCNN", 4, 7, 4, linear=True, lowest=-1.0),
    Model("cCNN(4,7,4), signals in [-1, 1]", "cCNN", 4, 7, 4, lowest=-1.0),
)
"""All networks of the figure, in the order of its table."""
