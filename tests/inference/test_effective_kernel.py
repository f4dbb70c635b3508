"""Effective kernels are the derivative of the network at any pixel of the frame."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.config import (
    CGUNetConfig,
    Scaling,
    TrainingConfig,
    UNetConfig,
    network_config,
)
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.inference import effective_kernel
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet

FRAME = (90, 77)
PIXELS = [(0, 0), (89, 76), (45, 38), (44, 39), (3, 70), (77, 5)]


def random_model(
    depth: int = 3,
    architecture: Literal["unet", "cg-unet"] = "cg-unet",
    residual: bool = False,  # else the image's own pixel would outweigh all others
) -> Model:
    torch.manual_seed(1)
    settings = network_config(
        architecture=architecture, base_channels=4, depth=depth, residual=residual
    )
    assert isinstance(settings, CGUNetConfig | UNetConfig)
    config = TrainingConfig(
        network=settings, scaling=Scaling(low_percentile=0, high_percentile=100)
    )
    network = UNet.from_config(settings)
    for gate in (*network.down_gates, *network.up_gates):
        torch.nn.init.normal_(gate.encoder[-1].weight)
    return Model(config, network.state_dict(), FRAME)


def noise(shape: tuple[int, ...] = FRAME) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(100, 900, shape)


def output(model: Model, scaled: torch.Tensor) -> torch.Tensor:
    coordinates = torch.from_numpy(frame_coordinates(FRAME))[None].to(scaled)
    deblurred: torch.Tensor = model.network(scaled[None, None], coordinates)[0, 0]
    return deblurred


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("pixel", PIXELS)
def test_a_kernel_is_the_gradient_on_the_whole_frame(pixel: tuple[int, int], depth: int) -> None:
    model, image = random_model(depth), noise()
    scaled = torch.from_numpy((image - image.min()) / np.ptp(image)).float().requires_grad_()
    (whole,) = torch.autograd.grad(output(model, scaled)[pixel], scaled)
    kernel = effective_kernel(model, *pixel, image)
    radius = model.network.receptive_radius
    assert kernel.shape == (2 * radius + 1, 2 * radius + 1)
    expected = np.pad(whole.numpy(), radius)[
        pixel[0] : pixel[0] + 2 * radius + 1, pixel[1] : pixel[1] + 2 * radius + 1
    ]
    np.testing.assert_allclose(kernel, expected, atol=1e-5 * np.abs(expected).max())
    assert whole.abs().sum() == pytest.approx(np.abs(kernel).sum(), rel=1e-4)


def test_a_small_change_of_the_image_changes_the_output_by_its_sum_with_the_kernel() -> None:
    model, (row, column) = random_model(2), (40, 33)
    radius = model.network.receptive_radius
    around = Window(row, column, 1, 1).expanded(radius).within(Window.whole(FRAME))
    change = np.zeros(FRAME)
    change[around] = np.random.default_rng(1).normal(size=(2 * radius + 1, 2 * radius + 1))
    model.network.double()
    image, small = torch.full(FRAME, 0.5, dtype=torch.float64), 1e-6
    changed = output(model, image + small * torch.from_numpy(change))
    difference = (changed - output(model, image))[row, column].item() / small
    model.network.float()
    kernel = effective_kernel(model, row, column)
    assert difference == pytest.approx(float(np.sum(kernel * change[around])), rel=1e-3)


def test_the_kernel_of_an_identity_network_is_one_pixel() -> None:
    model = random_model(residual=True)
    torch.nn.init.zeros_(model.network.get_parameter("head.weight"))
    kernel = effective_kernel(model, 50, 20, noise())
    expected = np.zeros_like(kernel)
    expected[len(kernel) // 2, len(kernel) // 2] = 1
    np.testing.assert_array_equal(kernel, expected)


def test_the_kernel_of_a_gated_network_depends_on_the_position() -> None:
    gated, plain = random_model(2), random_model(2, "unet")
    one, other = (effective_kernel(gated, *pixel) for pixel in ((40, 20), (44, 60)))
    assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()
    one, other = (effective_kernel(plain, *pixel) for pixel in ((40, 20), (44, 60)))
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


def test_the_units_of_the_image_do_not_matter() -> None:
    model, image = random_model(), noise()
    kernel = effective_kernel(model, 30, 30, image)
    rescaled = effective_kernel(model, 30, 30, 8 * image + 1000)
    np.testing.assert_allclose(rescaled, kernel, atol=1e-4 * np.abs(kernel).max())


def test_computing_a_kernel_does_not_change_the_network(tmp_path: Path) -> None:
    model = random_model()
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    with torch.no_grad():  # as a caller may have it
        kernel = effective_kernel(model, 30, 30)
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, before[name])
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(effective_kernel(tmp_path / "model.safetensors", 30, 30), kernel)


@pytest.mark.parametrize("pixel", [(-1, 0), (0, -1), (90, 0), (0, 77)])
def test_a_pixel_outside_the_frame_is_an_error(pixel: tuple[int, int]) -> None:
    with pytest.raises(FrameMismatchError, match="90x77"):
        effective_kernel(random_model(), *pixel)


def test_an_image_of_another_shape_or_without_contrast_is_an_error() -> None:
    with pytest.raises(FrameMismatchError, match="77x90"):
        effective_kernel(random_model(), 1, 1, noise(FRAME[::-1]))
    with pytest.raises(ImageError, match="constant"):
        effective_kernel(random_model(), 1, 1, np.ones(FRAME))
