"""Laws of the networks of the line: what each can represent, and how many numbers it learns."""

import pytest
import torch
from torch import Tensor, nn

from paper.networks import (
    ConvolutionalLine,
    GatedLine,
    LocallyConnected,
    PixelAdaptive,
)

LENGTH = 30
PLACES = torch.linspace(-1, 1, LENGTH)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def matrix_of(network: nn.Module) -> Tensor:
    """Matrix of a network that is linear in the signal, from unit impulses."""
    with torch.no_grad():
        nothing = network(torch.zeros(1, LENGTH), PLACES)
        columns: Tensor = network(torch.eye(LENGTH), PLACES) - nothing
    return columns.T


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 7, 1), 8), ((3, 7, 4), 32 + 116 + 29), ((4, 7, 20), 160 + 5640 + 141)],
)
def test_a_cnn_has_the_parameters_of_its_layers(size: tuple[int, int, int], expected: int) -> None:
    assert parameters(ConvolutionalLine(*size)) == expected


def test_coordconv_adds_a_channel_to_every_layer() -> None:
    extra = parameters(ConvolutionalLine(4, 7, 4, coordinates=True)) - parameters(
        ConvolutionalLine(4, 7, 4)
    )
    assert extra == 7 * (4 + 4 + 4 + 1)


def test_a_gated_layer_has_its_encoder_and_its_mix() -> None:
    assert parameters(GatedLine(1, 7, 3, 2)) == 3 * 8 + (2 * 3 + 4 * 3) + 4
    assert parameters(GatedLine(1, 7, 3, 0, length=LENGTH)) == 3 * 8 + 3 * LENGTH + 4


def test_a_cnn_moves_with_its_signal_where_no_border_is_near() -> None:
    torch.manual_seed(0)
    network, signal = ConvolutionalLine(2, 7, 4), torch.rand(1, LENGTH)
    moved = network(signal.roll(3, 1), PLACES)
    inner = slice(12, -12)
    torch.testing.assert_close(moved[:, inner], network(signal, PLACES).roll(3, 1)[:, inner])


def test_padded_once_a_cnn_is_the_same_everywhere() -> None:
    torch.manual_seed(0)
    flat = ConvolutionalLine(3, 7, 4, padding="once")(torch.zeros(1, LENGTH), PLACES)
    torch.testing.assert_close(flat, flat[:, :1].expand_as(flat))


def test_a_gated_layer_weighs_its_kernels_by_place() -> None:
    network = GatedLine(1, 3, 2, 0, length=LENGTH)
    gates = torch.stack([torch.linspace(1, 0, LENGTH), torch.linspace(0, 1, LENGTH)])
    with torch.no_grad():
        network.free_map.copy_(gates)
        network.get_parameter("features.0.weight").copy_(
            torch.tensor([[[0.0, 1, 0]], [[1.0, 0, 0]]])
        )
        network.get_parameter("mix.weight").fill_(1)
    expected = torch.diag(gates[0]) + torch.diag(gates[1][1:], -1)
    torch.testing.assert_close(matrix_of(network), expected)


def test_a_locally_connected_layer_is_any_banded_matrix() -> None:
    network = LocallyConnected(LENGTH, 3)
    rows = torch.rand(LENGTH, 3)
    with torch.no_grad():
        network.kernels.copy_(rows)
    expected = torch.diag(rows[:, 1]) + torch.diag(rows[:-1, 2], 1) + torch.diag(rows[1:, 0], -1)
    torch.testing.assert_close(matrix_of(network), expected)


def test_pixel_adaptive_convolution_of_even_coordinates_is_an_ordinary_one() -> None:
    torch.manual_seed(0)
    matrix = matrix_of(PixelAdaptive(1, 7, 1))
    diagonals = [torch.diagonal(matrix, offset) for offset in range(-3, 4)]
    for values in diagonals:
        torch.testing.assert_close(values, values[:1].expand_as(values))


def test_padding_of_every_layer_reaches_a_radius_further_with_each_layer_but_the_first() -> None:
    torch.manual_seed(0)
    usual, once = (
        ConvolutionalLine(4, 7, 4, linear=True, padding=padding) for padding in ("same", "once")
    )
    once.load_state_dict(usual.state_dict())
    told = (matrix_of(usual) - matrix_of(once)).abs().amax(1) > 1e-6
    reach = 3 * (4 - 1)
    assert told.nonzero().flatten().tolist() == [*range(reach), *range(LENGTH - reach, LENGTH)]


def test_without_relu_coordconv_adds_a_bias_and_no_more() -> None:
    torch.manual_seed(0)
    network = ConvolutionalLine(4, 7, 4, coordinates=True, linear=True)
    with torch.no_grad():
        impulses = torch.cat([torch.eye(LENGTH), torch.zeros(1, LENGTH)])
        here, elsewhere = (network(impulses, places) for places in (PLACES, PLACES.flip(0)))
    assert not torch.allclose(here, elsewhere)
    torch.testing.assert_close(here[:-1] - here[-1:], elsewhere[:-1] - elsewhere[-1:])


def test_a_free_map_over_all_shifts_is_a_locally_connected_layer() -> None:
    torch.manual_seed(0)
    local, gated = LocallyConnected(LENGTH, 7), GatedLine(1, 7, 7, 0, length=LENGTH)
    with torch.no_grad():
        local.biases.zero_()
        gated.free_map.copy_(local.kernels.T)
        gated.get_parameter("features.0.weight").copy_(torch.eye(7)[:, None])
        for name in ("features.0.bias", "mix.bias"):
            gated.get_parameter(name).zero_()
        gated.get_parameter("mix.weight").fill_(1)
    torch.testing.assert_close(matrix_of(gated), matrix_of(local))
