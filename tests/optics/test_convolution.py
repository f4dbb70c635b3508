"""Tests of the product convolution."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d

from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import Window, coordinate_axis
from napari_coordgate.optics.convolution import ProductConvolution
from napari_coordgate.optics.low_rank import sum_series

Array = NDArray[np.float64]

FRAME = (11, 14)
WINDOW = Window(2, 5, 7, 6)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture
def convolution(rng: np.random.Generator) -> ProductConvolution:
    coefficients = rng.normal(size=(3, 4, 4))
    coefficients[0] = np.eye(4) * [1, 0, 0, 0]
    kernels = rng.normal(size=(3, 5, 5))
    kernels -= kernels.mean(axis=(1, 2), keepdims=True)
    kernels[0] += 1 / 25
    return ProductConvolution(kernels, coefficients, FRAME)


def random_scene(
    convolution: ProductConvolution, window: Window, rng: np.random.Generator
) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(2, *convolution.input_window(window).shape)))


def test_each_kernel_convolves_the_scene_times_its_multiplier(
    convolution: ProductConvolution, rng: np.random.Generator
) -> None:
    around = convolution.input_window(WINDOW)
    scene = random_scene(convolution, WINDOW, rng)[0].numpy()
    axes = (
        np.clip(coordinate_axis(start, length, frame_length), -1, 1)
        for start, length, frame_length in zip(around.origin, around.shape, FRAME, strict=True)
    )
    coordinates = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    multipliers = sum_series(convolution.coefficients, coordinates).T.reshape(-1, *around.shape)
    parts = [
        convolve2d(weights * scene, kernel, mode="valid")
        for weights, kernel in zip(multipliers, convolution.kernels, strict=True)
    ]
    expected = np.sum(parts, axis=0)
    light = convolution.forward(torch.from_numpy(scene), [WINDOW])
    np.testing.assert_allclose(light, expected[: WINDOW.height, : WINDOW.width], atol=1e-12)


def test_light_from_beyond_one_radius_does_not_arrive(convolution: ProductConvolution) -> None:
    reach = WINDOW.expanded(convolution.radius)
    around = convolution.input_window(WINDOW)
    scene = torch.ones(around.shape, dtype=torch.float64)
    scene[reach.within(around)] = 0
    assert scene.sum() > 0
    torch.testing.assert_close(
        convolution.forward(scene, [WINDOW]), torch.zeros(WINDOW.shape, dtype=torch.float64)
    )


def test_the_adjoint_is_the_exact_transpose(
    convolution: ProductConvolution, rng: np.random.Generator
) -> None:
    scene = random_scene(convolution, WINDOW, rng)
    light = torch.from_numpy(rng.normal(size=(2, *WINDOW.shape)))
    there = torch.sum(convolution.forward(scene, [WINDOW]) * light)
    back = torch.sum(scene * convolution.adjoint(light, WINDOW))
    assert there.item() == pytest.approx(back.item(), rel=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_the_adjoint_is_exact_at_odd_and_even_ranks(rank: int, rng: np.random.Generator) -> None:
    kernels = rng.normal(size=(rank, 5, 5))
    kernels -= kernels.mean(axis=(1, 2), keepdims=True)
    kernels[0] += 1 / 25
    coefficients = rng.normal(size=(rank, 4, 4))
    coefficients[0] = np.eye(4) * [1, 0, 0, 0]
    convolution = ProductConvolution(kernels, coefficients, FRAME)
    scene = random_scene(convolution, WINDOW, rng)[0]
    light = torch.from_numpy(rng.normal(size=WINDOW.shape))
    there = torch.sum(convolution.forward(scene, [WINDOW]) * light)
    back = torch.sum(scene * convolution.adjoint(light, WINDOW))
    assert there.item() == pytest.approx(back.item(), rel=1e-12)


def test_many_windows_equal_single_windows(
    convolution: ProductConvolution, rng: np.random.Generator
) -> None:
    windows = [WINDOW, Window(0, 0, *WINDOW.shape)]
    scenes = random_scene(convolution, WINDOW, rng)
    one_by_one = [
        convolution.forward(scene, [window]) for scene, window in zip(scenes, windows, strict=True)
    ]
    torch.testing.assert_close(convolution.forward(scenes, windows), torch.stack(one_by_one))


def test_threads_can_share_a_convolution(
    convolution: ProductConvolution, rng: np.random.Generator
) -> None:
    windows = [Window(y0, x0, 4 + y0 % 2, 5) for y0 in range(6) for x0 in range(9)]
    scenes = [random_scene(convolution, window, rng) for window in windows]

    def spread(scene: torch.Tensor, window: Window) -> torch.Tensor:
        return convolution.forward(scene, [window])

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(spread, scenes, windows))
    alone = map(spread, scenes, windows)
    assert all(map(torch.equal, together, alone))


@pytest.mark.parametrize(
    ("kernels", "coefficients"),
    [
        ((2, 3), (2, 4, 4)),
        ((2, 3, 3), (3, 4, 4)),
        ((2, 3, 5), (2, 4, 4)),
        ((2, 4, 4), (2, 4, 4)),
        ((2, 3, 3), (2, 4, 5)),
        ((0, 3, 3), (0, 4, 4)),
        ((2, 3, 3), (2, 0, 0)),
    ],
)
def test_shapes_that_do_not_fit_together_are_refused(
    kernels: tuple[int, ...], coefficients: tuple[int, ...]
) -> None:
    with pytest.raises(PSFError, match=r"\(R, K, K\) with odd K"):
        ProductConvolution(np.ones(kernels), np.ones(coefficients), FRAME)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(PSFError, match="NaN"):
        ProductConvolution(np.full((1, 3, 3), np.nan), np.ones((1, 1, 1)), FRAME)


def test_a_mean_of_a_weight_other_than_one_is_refused() -> None:
    with pytest.raises(PSFError, match="weight 1"):
        ProductConvolution(np.ones((1, 3, 3)), np.full((1, 1, 1), 0.9), FRAME)


@pytest.mark.parametrize("sums", [(1.01,), (0.99,), (0.0,), (1.0, 0.01), (1.0, 1.0)])
def test_kernels_that_do_not_conserve_light_are_refused(sums: tuple[float, ...]) -> None:
    kernels = np.full((len(sums), 3, 3), np.array(sums)[:, None, None] / 9)
    with pytest.raises(PSFError, match="conserve light"):
        ProductConvolution(kernels, np.ones((len(sums), 1, 1)), FRAME)


def test_values_cached_in_inference_mode_can_be_used_with_gradients(
    convolution: ProductConvolution, rng: np.random.Generator
) -> None:
    scene = random_scene(convolution, WINDOW, rng)
    with torch.inference_mode():
        convolution.forward(scene, [WINDOW])
    scene.requires_grad_()
    light = convolution.forward(scene, [WINDOW])
    light.sum().backward()
    expected = convolution.adjoint(torch.ones_like(light), WINDOW)
    torch.testing.assert_close(scene.grad, expected)
