"""Laws of the coordinate gate."""

import pytest
import torch
from torch import Tensor, nn

from napari_coordgate.config import GateOutput
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks.coordgate import CoordGate, coordinate_encoder

CHANNELS = 6
OUTPUTS: list[GateOutput] = ["identity", "relu", "one_plus"]


def coordinates(height: int, width: int) -> Tensor:
    return torch.from_numpy(frame_coordinates((height, width)))[None]


def random_gate(output: GateOutput, layers: int = 2) -> CoordGate:
    """Gate whose every parameter is random, also those that start at zero."""
    gate = CoordGate(CHANNELS, layers, output).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return gate


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_encoder_has_as_many_layers_as_asked(layers: int) -> None:
    parameters = sum(p.numel() for p in coordinate_encoder(CHANNELS, layers).parameters())
    assert parameters == 3 * CHANNELS + (layers - 1) * (CHANNELS + 1) * CHANNELS


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_gated_pixel_is_the_formula_of_the_paper(output: GateOutput) -> None:
    gate = random_gate(output)
    features, places = torch.rand(2, CHANNELS, 5, 7), coordinates(5, 7)
    gated = gate(features, gate.gating_map(places))
    for y, x in [(0, 0), (2, 6), (4, 3)]:
        g = gate.encoder(places[:, :, y : y + 1, x : x + 1])[0, :, 0, 0]
        g = {"identity": g, "relu": g.relu(), "one_plus": 1 + g}[output]
        weight = gate.mix.weight[:, :, 0, 0]
        expected = (features[:, :, y, x] * g) @ weight.T + gate.mix.bias
        torch.testing.assert_close(gated[:, :, y, x], expected)


def test_one_plus_starts_as_if_there_were_no_gate() -> None:
    gate = CoordGate(CHANNELS, 2, "one_plus")
    assert torch.equal(gate.gating_map(coordinates(5, 7)), torch.ones(1, CHANNELS, 5, 7))
    features = torch.rand(2, CHANNELS, 5, 7)
    assert torch.equal(gate(features, gate.gating_map(coordinates(5, 7))), gate.mix(features))


def test_one_plus_learns_from_the_first_step() -> None:
    gate = CoordGate(CHANNELS, 2, "one_plus")
    gate(
        torch.rand(2, CHANNELS, 5, 7), gate.gating_map(coordinates(5, 7))
    ).square().sum().backward()
    bias = gate.encoder[-1].bias
    assert isinstance(bias, Tensor)
    assert bias.grad is not None
    assert (bias.grad != 0).all()


def test_a_relu_gate_never_changes_the_sign() -> None:
    assert (random_gate("relu").gating_map(coordinates(9, 9)) >= 0).all()


def test_one_layer_is_affine_in_the_coordinates_and_two_are_not() -> None:
    def curvature(layers: int) -> float:
        gating_map = random_gate("identity", layers).gating_map(coordinates(9, 16))
        return float(gating_map.diff(n=2, dim=-1).abs().max())

    assert curvature(1) < 1e-5
    assert curvature(2) > 1e-3


def test_a_gating_map_depends_on_each_pixels_coordinates_alone() -> None:
    gate, places = random_gate("identity"), coordinates(8, 10)
    whole = gate.gating_map(places)
    torch.testing.assert_close(gate.gating_map(places[..., 3:5, 2:9]), whole[..., 3:5, 2:9])
