"""Tests of the coordinate gate."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_coordgate.config import GateOutput
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks.coordgate import CoordGate, coordinate_encoder

CHANNELS = 6
OUTPUTS: list[GateOutput] = ["identity", "relu", "one_plus"]


def coordinates(height: int, width: int) -> Tensor:
    return torch.from_numpy(frame_coordinates((height, width)))[None]


def random_gate(output: GateOutput, layers: int = 2) -> CoordGate:
    """Gate with random parameters, also those that are initialized to zero."""
    gate = CoordGate(CHANNELS, output, encoder_layers=layers).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return gate


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_encoder_has_the_requested_number_of_layers(layers: int) -> None:
    parameters = sum(p.numel() for p in coordinate_encoder(CHANNELS, layers).parameters())
    assert parameters == 3 * CHANNELS + (layers - 1) * (CHANNELS + 1) * CHANNELS


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_gated_pixel_follows_equation_3_of_the_paper(output: GateOutput) -> None:
    gate = random_gate(output)
    features, positions = torch.rand(2, CHANNELS, 5, 7), coordinates(5, 7)
    gated = gate(features, positions)
    for y, x in [(0, 0), (2, 6), (4, 3)]:
        g = gate.encoder(positions[:, :, y : y + 1, x : x + 1])[0, :, 0, 0]
        g = {"identity": g, "relu": g.relu(), "one_plus": 1 + g}[output]
        weight = gate.mix.weight[:, :, 0, 0]
        expected = (features[:, :, y, x] * g) @ weight.T + gate.mix.bias
        torch.testing.assert_close(gated[:, :, y, x], expected)


def test_a_one_plus_gate_starts_at_one() -> None:
    gate = CoordGate(CHANNELS)
    assert torch.equal(gate.gating_map(coordinates(5, 7)), torch.ones(1, CHANNELS, 5, 7))
    features = torch.rand(2, CHANNELS, 5, 7)
    assert torch.equal(gate(features, coordinates(5, 7)), gate.mix(features))


def test_a_one_plus_gate_has_a_gradient_at_initialization() -> None:
    gate = CoordGate(CHANNELS)
    gate(torch.rand(2, CHANNELS, 5, 7), coordinates(5, 7)).square().sum().backward()
    bias = gate.encoder[-1].bias
    assert isinstance(bias, Tensor)
    assert bias.grad is not None
    assert (bias.grad != 0).all()


def test_a_relu_gate_never_changes_the_sign() -> None:
    assert (random_gate("relu").gating_map(coordinates(9, 9)) >= 0).all()


def test_a_one_layer_gate_is_affine_in_the_coordinates_and_a_two_layer_gate_is_not() -> None:
    def curvature(layers: int) -> float:
        gating_map = random_gate("identity", layers).gating_map(coordinates(9, 16))
        return float(gating_map.diff(n=2, dim=-1).abs().max())

    assert curvature(1) < 1e-5
    assert curvature(2) > 1e-3


def test_a_gating_map_depends_on_the_coordinates_of_each_pixel_alone() -> None:
    gate, positions = random_gate("identity"), coordinates(8, 10)
    whole = gate.gating_map(positions)
    torch.testing.assert_close(gate.gating_map(positions[..., 3:5, 2:9]), whole[..., 3:5, 2:9])


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_gate_does_not_overwrite_its_input(output: GateOutput) -> None:
    gate, positions = random_gate(output), coordinates(5, 7)
    features = torch.rand(2, CHANNELS, 5, 7)
    before, gating_map = features.clone(), gate.gating_map(positions)
    expected = features + gate(features, positions)
    with torch.no_grad():
        torch.testing.assert_close(features + gate(features, positions), expected)
        torch.testing.assert_close(features + gate.modulate(features, gating_map), expected)
    assert torch.equal(features, before)


def test_a_gate_takes_any_number_of_coordinates() -> None:
    gate = CoordGate(CHANNELS, "identity", coordinate_channels=5)
    assert gate(torch.rand(2, CHANNELS, 4, 3), torch.rand(1, 5, 4, 3)).shape == (2, CHANNELS, 4, 3)


@pytest.mark.parametrize("output", ["sigmoid", 8, None])
def test_an_unknown_output_is_an_error_with_the_valid_choices(output: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"^output: must be one of identity, relu, one_plus \(given"
    ):
        CoordGate(8, output)


def test_a_gate_without_channels_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"channels: must be a whole number of at least 1"):
        CoordGate(0)
