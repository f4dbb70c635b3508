"""Tests of U-Net(d) and CG U-Net(d)."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_coordgate.config import (
    CGUNetConfig,
    CoordConvUNetConfig,
    UNetConfig,
    UNetSettings,
    network_config,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import Window, frame_coordinates, tiles
from napari_coordgate.networks import CoordGate, UNet

FRAME = (48, 40)
WHOLE = Window.whole(FRAME)


def random_network(**changes: Any) -> UNet:
    """Small network in double precision with random gates."""
    config = network_config(**{"base_channels": 4, "depth": 2, **changes})
    assert isinstance(config, UNetSettings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet.from_config(config).double().requires_grad_(False)
        for gate in (*network.down_gates, *network.up_gates):
            for parameter in gate.parameters():
                nn.init.normal_(parameter, std=0.5)
    return network


def coordinates(window: Window = WHOLE, frame_shape: tuple[int, int] = FRAME) -> Tensor:
    return torch.from_numpy(frame_coordinates(frame_shape, window))[None].double()


def random_image(shape: tuple[int, int] = FRAME, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 1, *shape, generator=generator, dtype=torch.float64)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "expected"), [(3, 465_953), (6, 31_093_921)])
def test_a_unet_has_the_parameters_of_the_paper(depth: int, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(UNet.from_config(UNetConfig(depth=depth))) == expected


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_gates_add_their_encoder_and_mix_at_each_sampling_point(depth: int, layers: int) -> None:
    config = CGUNetConfig(depth=depth, encoder_layers=layers)
    with torch.device("meta"):
        plain = UNet.from_config(UNetConfig(depth=depth))
        extra = parameters(UNet.from_config(config)) - parameters(plain)
    assert extra == sum(2 * (3 * c + layers * (c + 1) * c) for c in config.channels[:-1])


def test_gates_that_are_the_identity_give_a_plain_unet() -> None:
    gated = random_network()
    plain = random_network(architecture="unet")
    own = {k: v for k, v in gated.state_dict().items() if "gates" not in k}
    plain.load_state_dict(own)
    for gate in (*gated.down_gates, *gated.up_gates):
        for parameter in gate.parameters():
            nn.init.zeros_(parameter)
        nn.init.dirac_(gate.get_parameter("mix.weight"))
    image = random_image()
    torch.testing.assert_close(gated(image, coordinates()), plain(image, coordinates()))


@pytest.mark.parametrize("output", ["identity", "relu", "one_plus"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_precomputed_maps_give_the_same_output(depth: int, output: str) -> None:
    network = random_network(depth=depth, gate_output=output)
    image, nowhere = random_image((41, 33)), torch.full((1, 2, 41, 33), torch.nan)
    positions = coordinates(Window(3, 4, 41, 33))
    maps = network.gating_maps(positions)
    assert len(maps.down) == len(maps.up) == depth - 1
    precomputed = network.coordinate_maps(positions)
    assert torch.equal(network(image, nowhere, precomputed), network(image, positions))


def influence(network: UNet, shape: tuple[int, int], pixel: tuple[int, int]) -> Tensor:
    """Output pixels that an input pixel affects, found with positive weights and no bias."""
    for name, parameter in network.named_parameters():
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    image = torch.zeros(1, 1, *shape, dtype=torch.float64)
    image[..., pixel[0], pixel[1]] = 1
    affected: Tensor = network(image, torch.zeros(1, 2, *shape, dtype=torch.float64))[0, 0]
    return affected != 0


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 1), (2, 3), (2, 5), (3, 3)])
def test_the_receptive_radius_reaches_the_farthest_affected_pixel(depth: int, kernel: int) -> None:
    network = random_network(
        architecture="unet", depth=depth, kernel_size=kernel, base_channels=1, residual=False
    )
    radius, multiple = network.receptive_radius, network.multiple
    side = 2 * (radius + multiple) // multiple * multiple + multiple
    affected = 0
    for first in range(side // 2, side // 2 + multiple):
        rows, columns = influence(network, (side, side), (first, side // 2)).nonzero().unbind(1)
        affected = max(affected, int((rows - first).abs().max()))
        assert (columns - side // 2).abs().max() <= radius
    assert affected == radius


def test_the_gradient_is_zero_beyond_the_receptive_radius() -> None:
    network = random_network(depth=3)
    radius, side = network.receptive_radius, 96
    image = random_image((side, side)).requires_grad_()
    network(image, coordinates(frame_shape=(side, side), window=Window.whole((side, side))))[
        0, 0, 45, 50
    ].backward()
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    assert (rows - 45).abs().max() <= radius
    assert (columns - 50).abs().max() <= radius


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 17), (7, 5), (31, 33)])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_the_output_has_the_size_of_any_input(depth: int, shape: tuple[int, int]) -> None:
    network = random_network(depth=depth)
    window = Window(0, 0, *shape)
    restored = network(random_image(shape, batch=2), coordinates(window))
    assert restored.shape == (2, 1, *shape)
    assert restored.isfinite().all()


def test_an_odd_size_is_padded_by_repeating_border_pixels() -> None:
    network = random_network(depth=3)
    image, window = random_image((37, 30)), Window(0, 0, 37, 30)
    larger = functional.pad(image, (0, 2, 0, 3), mode="replicate")
    expected = network(larger, coordinates(Window(0, 0, 40, 32)))[..., :37, :30]
    torch.testing.assert_close(network(image, coordinates(window)), expected)


@pytest.mark.parametrize("architecture", ["cg-unet", "unet", "coordconv-unet"])
@pytest.mark.parametrize("shape", [(96, 96), (83, 71)])
def test_overlapping_tiles_equal_the_whole_frame(architecture: str, shape: tuple[int, int]) -> None:
    network = random_network(architecture=architecture)
    image, whole = random_image(shape), Window.whole(shape)
    expected = network(image, coordinates(whole, shape))
    restored = torch.full_like(image, torch.nan)
    pairs = list(tiles(shape, 48, network.receptive_radius, network.multiple))
    assert len(pairs) > 1
    for tile, window in pairs:
        rows, columns = window.within(whole)
        output = network(image[..., rows, columns], coordinates(window, shape))
        restored[:, :, *tile.within(whole)] = output[:, :, *tile.within(window)]
    torch.testing.assert_close(restored, expected, rtol=0, atol=1e-12)


def test_only_networks_with_coordinates_depend_on_the_position_of_a_window() -> None:
    image = random_image((16, 16))
    here, there = (coordinates(Window(y0, 8, 16, 16)) for y0 in (0, 24))
    plain = random_network(architecture="unet")
    assert torch.equal(plain(image, here), plain(image, there))
    for architecture in ("cg-unet", "coordconv-unet"):
        network = random_network(architecture=architecture)
        assert (network(image, here) - network(image, there)).abs().max() > 1e-3


@pytest.mark.parametrize("depth", [1, 3])
def test_coordconv_appends_two_features_at_each_level(depth: int) -> None:
    config = CoordConvUNetConfig(depth=depth)
    with torch.device("meta"):
        plain = UNet.from_config(UNetConfig(depth=depth))
        extra = parameters(UNet.from_config(config)) - parameters(plain)
    levels = [*config.channels, *config.channels[:-1]]  # encoder and decoder
    assert extra == sum(2 * 9 * channels for channels in levels)


@pytest.mark.parametrize(("points", "down", "up"), [("down", 2, 0), ("up", 0, 2), ("both", 2, 2)])
def test_gates_are_applied_at_the_requested_points(points: str, down: int, up: int) -> None:
    network = random_network(depth=3, gate_points=points)
    maps = network.gating_maps(coordinates())
    assert (len(maps.down), len(maps.up)) == (down, up)
    restored = network(random_image(), coordinates(), network.coordinate_maps(coordinates()))
    assert torch.equal(restored, network(random_image(), coordinates()))


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_encoder_width_is_that_of_the_hidden_layers(layers: int) -> None:
    config = CGUNetConfig(depth=2, encoder_layers=layers, encoder_width=5)
    (gate,) = UNet.from_config(config).down_gates
    assert isinstance(gate, CoordGate)
    widths = [2, *[5] * (layers - 1), 32]
    expected = sum((a + 1) * b for a, b in pairwise(widths))
    assert parameters(gate.encoder) == expected


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_the_activation_follows_every_convolution(
    activation: str,
) -> None:
    network = random_network(activation=activation)
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())
    relu = [type(module) for module in random_network().modules()]
    assert len(list(network.modules())) == len(relu)


def test_deeper_gates_get_the_coordinates_of_a_coarser_frame() -> None:
    network = random_network(depth=4)
    shape, window = (64, 80), Window(8, 24, 32, 40)
    maps = network.gating_maps(coordinates(window, shape))
    for level in range(3):
        scale = 2**level
        coarse = Window(*(side // scale for side in window))
        positions = coordinates(coarse, (shape[0] // scale, shape[1] // scale))
        for gates, baked in ((network.down_gates, maps.down), (network.up_gates, maps.up)):
            gate = gates[level]
            assert isinstance(gate, CoordGate)
            expected = gate.gating_map(positions)
            torch.testing.assert_close(baked[level], expected, rtol=0, atol=1e-5)


def test_coordinates_are_broadcast_over_a_batch() -> None:
    network, images = random_network(), random_image(batch=3)
    together = network(images, coordinates())
    for image, restored in zip(images, together, strict=True):
        torch.testing.assert_close(network(image[None], coordinates())[0], restored)
    torch.testing.assert_close(network(images, coordinates().expand(3, -1, -1, -1)), together)


def test_a_residual_network_adds_its_input() -> None:
    direct, residual = random_network(residual=False), random_network(residual=True)
    image = random_image()
    expected = image + direct(image, coordinates())
    torch.testing.assert_close(residual(image, coordinates()), expected)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_lower_precision_gives_nearly_the_same_output(dtype: torch.dtype, error: float) -> None:
    network, image = random_network(), random_image()
    expected = network(image, coordinates())
    restored = network.to(dtype)(image.to(dtype), coordinates().to(dtype))
    assert restored.dtype == dtype
    assert (restored - expected).abs().max() < error * np.ptp(expected.numpy())


def test_gating_maps_are_computed_in_full_precision_under_autocast() -> None:
    network = random_network().float()
    there = coordinates(Window(0, 2000, 8, 16), (8, 4096)).float()
    expected = network.gating_maps(there)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network.gating_maps(there)
    torch.testing.assert_close(mixed, expected)


def test_a_plain_unet_needs_no_coordinates() -> None:
    assert UNet(2, 3, depth=2, base_channels=4, residual=False)(torch.rand(1, 2, 9, 8)).shape == (
        1,
        3,
        9,
        8,
    )


@pytest.mark.parametrize("uses", [{"gate_points": "up"}, {"coordinate_features": True}])
def test_a_unet_that_uses_coordinates_says_so(uses: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs coordinates"):
        UNet(depth=2, base_channels=4, **uses)(torch.rand(1, 1, 8, 8))


def test_a_residual_network_needs_equal_numbers_of_channels() -> None:
    with pytest.raises(SettingsError, match="residual=False"):
        UNet(2, 1)


def test_inference_equals_the_forward_pass_of_training() -> None:
    network, image = random_network(depth=3).requires_grad_(True), random_image((130, 140))
    positions = coordinates(Window(0, 0, 130, 140), (130, 140))
    before, expected = image.clone(), network(image, positions).detach()
    with torch.inference_mode():
        torch.testing.assert_close(network(image, positions), expected)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gate_points": "botth"}, r"gate_points: .* both, down, up \(given: 'botth'\)"),
        ({"gate_output": 3}, r"gate_output: .* one_plus \(given: 3\)"),
        ({"activation": "tanh"}, r"activation: .* relu, gelu, silu \(given: 'tanh'\)"),
        ({"kernel_size": 4}, r"kernel_size must be odd, .* \(given: 4\)"),
        ({"depth": 0}, r"depth: .* at least 1 \(given: 0\)"),
        ({"base_channels": 2.5}, r"base_channels: must be a whole number"),
    ],
)
def test_an_invalid_setting_is_an_error_with_the_valid_choices(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        UNet(**settings)
