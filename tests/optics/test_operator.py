"""Tests of the blur operator of a PSF field."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_coordgate.config import GaussianLens
from napari_coordgate.errors import FrameMismatchError, PSFError
from napari_coordgate.geometry import Window
from napari_coordgate.optics import BlurOperator, PSFField

FRAME = (24, 30)
WHOLE = Window.whole(FRAME)
WINDOW = Window(4, 9, 12, 10)
PSF_FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.7, sigma_edge_px=1.6), FRAME)
SCENES = [
    (None, None),
    (WINDOW, None),
    (WINDOW, WHOLE),
    (WINDOW, PSF_FIELD.input_window(WINDOW)),
    (WHOLE, WHOLE.expanded(3)),
]


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize(("window", "scene_window"), SCENES)
def test_the_adjoint_is_the_exact_transpose(
    window: Window | None, scene_window: Window | None
) -> None:
    operator = PSF_FIELD.operator(window, scene_window=scene_window, device="cpu")
    scene = random((2, 1, *operator.scene_window.shape))
    image = random((2, 1, *operator.window.shape), seed=1)
    blurred, transposed = operator(scene), operator.adjoint(image)
    assert blurred.shape == image.shape
    assert transposed.shape == scene.shape
    assert (blurred * image).sum().item() == pytest.approx(
        (scene * transposed).sum().item(), rel=1e-12
    )


@pytest.mark.parametrize(("window", "scene_window"), SCENES)
def test_the_operator_equals_the_blur_of_the_psf_field(
    window: Window | None, scene_window: Window | None
) -> None:
    operator = PSF_FIELD.operator(window, scene_window=scene_window, device="cpu")
    scene = random(operator.scene_window.shape)
    origin = operator.scene_window.origin
    expected = PSF_FIELD.blur(scene, origin=origin, window=window or WHOLE)
    torch.testing.assert_close(operator(scene), expected)


def test_both_directions_are_differentiable() -> None:
    lens = GaussianLens(sigma_center_px=0.5, sigma_edge_px=0.9)
    small = PSFField.from_lens(lens, (9, 10), tolerance=0.05, enclosed_energy=0.6)
    assert small.rank > 1
    window = Window(2, 3, 5, 4)
    operator = small.operator(window, scene_window=Window.whole((9, 10)), device="cpu")
    scene = random((2, 1, 9, 10)).requires_grad_()
    image = random((2, 1, 5, 4)).requires_grad_()
    assert torch.autograd.gradcheck(operator, (scene,))
    assert torch.autograd.gradcheck(operator.adjoint, (image,))
    assert torch.autograd.gradgradcheck(operator, (scene,))


def test_the_gradient_of_the_blur_is_the_adjoint() -> None:
    operator = PSF_FIELD.operator(device="cpu")
    scene, image = random((3, 1, *FRAME)).requires_grad_(), random((3, 1, *FRAME), seed=1)
    (gradient,) = torch.autograd.grad((operator(scene) * image).sum(), scene)
    torch.testing.assert_close(gradient, operator.adjoint(image))


def test_a_batch_is_blurred_image_by_image() -> None:
    operator = PSF_FIELD.operator(WINDOW, device="cpu")
    scenes = random((4, 3, *WINDOW.shape))
    torch.testing.assert_close(operator(scenes)[2, 1], operator(scenes[2, 1]))


def test_the_sensitivity_is_the_adjoint_of_ones() -> None:
    operator = PSF_FIELD.operator(device="cpu")
    torch.testing.assert_close(operator.sensitivity, operator.adjoint(torch.ones(FRAME)))


def test_a_crop_is_the_part_of_the_scene_in_the_window() -> None:
    operator = PSF_FIELD.operator(WINDOW, scene_window=WHOLE, device="cpu")
    scene = random(FRAME)
    assert torch.equal(operator.crop(scene), scene[4:16, 9:19])


def test_an_operator_is_a_module_without_parameters() -> None:
    network = torch.nn.Sequential(PSF_FIELD.operator(device="cpu"), torch.nn.ReLU()).double()
    assert network.state_dict() == {}
    assert isinstance(network[0], BlurOperator)
    assert str(WHOLE) in repr(network)
    torch.testing.assert_close(network(random(FRAME)), PSF_FIELD.blur(random(FRAME)).relu())


def test_the_mean_psf_field_is_a_convolution_with_the_mean_psf() -> None:
    mean = PSF_FIELD.with_mean_psf()
    assert mean.rank == 1
    np.testing.assert_allclose(mean.psf_at(3, 4), PSF_FIELD.kernels[0])
    np.testing.assert_allclose(mean.psf_at(20, 29), PSF_FIELD.kernels[0])


@pytest.mark.parametrize(
    ("window", "scene_window"),
    [(Window(0, 0, 25, 30), None), (Window(0, 0, 0, 3), None), (WINDOW, Window(5, 9, 12, 10))],
)
def test_unsuitable_windows_are_refused(window: Window, scene_window: Window | None) -> None:
    with pytest.raises(FrameMismatchError, match="choose"):
        PSF_FIELD.operator(window, scene_window=scene_window, device="cpu")


def test_a_scene_of_another_shape_is_refused() -> None:
    operator = PSF_FIELD.operator(WINDOW, scene_window=WHOLE, device="cpu")
    for apply, shape in ((operator, WINDOW.shape), (operator.adjoint, FRAME)):
        with pytest.raises(FrameMismatchError, match="does not fit"):
            apply(random(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.bool])
def test_other_types_are_computed_in_single_precision(dtype: torch.dtype) -> None:
    operator = PSF_FIELD.operator(device="cpu")
    image = (4 * random((2, 1, *FRAME))).to(dtype)
    for direction in (operator, operator.adjoint):
        result = direction(image)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, direction(image.float()))


def test_numpy_arrays_give_numpy_arrays() -> None:
    operator = PSF_FIELD.operator(device="cpu")
    image = np.random.default_rng(0).integers(0, 200, FRAME, dtype=np.uint16)
    for direction in (operator, operator.adjoint):
        result = direction(image)
        assert isinstance(result, np.ndarray)
        np.testing.assert_array_equal(result, direction(torch.from_numpy(image)).numpy())


def test_a_list_is_an_error_that_says_what_to_pass() -> None:
    operator = PSF_FIELD.operator(device="cpu")
    directions: list[Any] = [operator, operator.adjoint, PSF_FIELD.blur]
    for direction in directions:
        with pytest.raises(PSFError, match=r"NumPy array or a PyTorch tensor, got list; convert"):
            direction([[1.0]])
