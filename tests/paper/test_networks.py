"""Properties of the one-dimensional networks: what they can represent, and their parameters."""

import pytest
import torch
from torch import Tensor, nn

from paper.networks_1d import (
    CNN1D,
    GatedCNN1D,
    LocallyConnected1D,
    PixelAdaptiveCNN1D,
)

LENGTH = 30
COORDINATES = torch.linspace(-1, 1, LENGTH)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def matrix_of(network: nn.Module) -> Tensor:
    """Matrix of a network that is linear in the signal, from unit impulses."""
    with torch.no_grad():
        offset = network(torch.zeros(1, LENGTH), COORDINATES)
        columns: Tensor = network(torch.eye(LENGTH), COORDINATES) - offset
    return columns.T


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 7, 1), 8), ((3, 7, 4), 32 + 116 + 29), ((4, 7, 20), 160 + 5640 + 141)],
)
def test_a_cnn_has_the_parameters_of_its_layers(size: tuple[int, int, int], expected: int) -> None:
    assert parameters(CNN1D(*size)) == expected


def test_coordconv_adds_a_channel_to_every_layer() -> None:
    extra = parameters(CNN1D(4, 7, 4, coordinates=True)) - parameters(CNN1D(4, 7, 4))
    assert extra == 7 * (4 + 4 + 4 + 1)


def test_a_gated_layer_has_the_parameters_of_its_encoder_and_mix() -> None:
    assert parameters(GatedCNN1D(1, 7, 3, 2)) == 3 * 8 + (2 * 3 + 4 * 3) + 4
    assert parameters(GatedCNN1D(1, 7, 3, 0, length=LENGTH)) == 3 * 8 + 3 * LENGTH + 4


def test_a_cnn_is_shift_equivariant_away_from_the_borders() -> None:
    torch.manual_seed(0)
    network, signal = CNN1D(2, 7, 4), torch.rand(1, LENGTH)
    moved = network(signal.roll(3, 1), COORDINATES)
    inner = slice(12, -12)
    torch.testing.assert_close(moved[:, inner], network(signal, COORDINATES).roll(3, 1)[:, inner])


def test_a_cnn_padded_once_maps_a_constant_to_a_constant() -> None:
    torch.manual_seed(0)
    flat = CNN1D(3, 7, 4, padding="once")(torch.zeros(1, LENGTH), COORDINATES)
    torch.testing.assert_close(flat, flat[:, :1].expand_as(flat))


def test_a_gated_layer_weights_its_kernels_by_position() -> None:
    network = GatedCNN1D(1, 3, 2, 0, length=LENGTH)
    gates = torch.stack([torch.linspace(1, 0, LENGTH), torch.linspace(0, 1, LENGTH)])
    with torch.no_grad():
        network.free_map.copy_(gates)
        network.get_parameter("features.0.weight").copy_(
            torch.tensor([[[0.0, 1, 0]], [[1.0, 0, 0]]])
        )
        network.get_parameter("mix.weight").fill_(1)
    expected = torch.diag(gates[0]) + torch.diag(gates[1][1:], -1)
    torch.testing.assert_close(matrix_of(network), expected)


def test_a_locally_connected_layer_can_be_any_banded_matrix() -> None:
    network = LocallyConnected1D(LENGTH, 3)
    rows = torch.rand(LENGTH, 3)
    with torch.no_grad():
        network.kernels.copy_(rows)
    expected = torch.diag(rows[:, 1]) + torch.diag(rows[:-1, 2], 1) + torch.diag(rows[1:, 0], -1)
    torch.testing.assert_close(matrix_of(network), expected)


def test_pixel_adaptive_convolution_with_even_coordinates_is_an_ordinary_convolution() -> None:
    torch.manual_seed(0)
    matrix = matrix_of(PixelAdaptiveCNN1D(1, 7, 1))
    diagonals = [torch.diagonal(matrix, offset) for offset in range(-3, 4)]
    for values in diagonals:
        torch.testing.assert_close(values, values[:1].expand_as(values))


def test_padding_in_every_layer_reaches_one_radius_further_per_layer_after_the_first() -> None:
    torch.manual_seed(0)
    usual, once = (CNN1D(4, 7, 4, linear=True, padding=padding) for padding in ("same", "once"))
    once.load_state_dict(usual.state_dict())
    affected = (matrix_of(usual) - matrix_of(once)).abs().amax(1) > 1e-6
    reach = 3 * (4 - 1)
    assert affected.nonzero().flatten().tolist() == [*range(reach), *range(LENGTH - reach, LENGTH)]


def test_coordconv_without_relu_only_adds_a_bias() -> None:
    torch.manual_seed(0)
    network = CNN1D(4, 7, 4, coordinates=True, linear=True)
    with torch.no_grad():
        impulses = torch.cat([torch.eye(LENGTH), torch.zeros(1, LENGTH)])
        here, elsewhere = (network(impulses, c) for c in (COORDINATES, COORDINATES.flip(0)))
    assert not torch.allclose(here, elsewhere)
    torch.testing.assert_close(here[:-1] - here[-1:], elsewhere[:-1] - elsewhere[-1:])


def test_a_free_gating_map_over_all_shifts_equals_a_locally_connected_layer() -> None:
    torch.manual_seed(0)
    local, gated = LocallyConnected1D(LENGTH, 7), GatedCNN1D(1, 7, 7, 0, length=LENGTH)
    with torch.no_grad():
        local.biases.zero_()
        gated.free_map.copy_(local.kernels.T)
        gated.get_parameter("features.0.weight").copy_(torch.eye(7)[:, None])
        for name in ("features.0.bias", "mix.bias"):
            gated.get_parameter(name).zero_()
        gated.get_parameter("mix.weight").fill_(1)
    torch.testing.assert_close(matrix_of(gated), matrix_of(local))
