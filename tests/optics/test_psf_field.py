"""Tests of the blur of a PSF field: it is the sum over all pixels of their own PSFs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import FrameMismatchError, SettingsError
from napari_coordgate.geometry import Window, coordinate_axis
from napari_coordgate.optics import PSFField, fwhm_px
from napari_coordgate.optics.pupil import lens_psfs

Array = NDArray[np.float64]

FRAME = (32, 44)
NA, WAVELENGTH_UM = 0.25, 0.52
TWO_WAVES_UM = 2 * WAVELENGTH_UM / (1 - np.sqrt(1 - NA**2))
LENS = Lens(
    na=NA,
    wavelength_nm=1e3 * WAVELENGTH_UM,
    pixel_size_um=3.0,
    field_curvature_um=TWO_WAVES_UM,
    coma_waves=0.5,
    astigmatism_waves=0.5,
)
STEADY = LENS.replace(
    field_curvature_um=0, coma_waves=0, astigmatism_waves=0, defocus_um=TWO_WAVES_UM
)
ROUND = GaussianLens(sigma_center_px=0.7, sigma_edge_px=2.5)
WINDOW = Window(5, 12, 20, 18)


@pytest.fixture(scope="module")
def psf_field() -> PSFField:
    return PSFField.from_lens(LENS, FRAME)


@pytest.fixture(scope="module")
def tight_psf_field() -> PSFField:
    return PSFField.from_lens(LENS, FRAME, tolerance=1e-5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def textured(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.random(shape)


def sparse(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.random(shape) * (rng.random(shape) < 0.01)


@pytest.fixture(scope="module")
def exact_sum(psf_field: PSFField) -> Callable[[Array], Array]:
    """Blur of a whole frame in which each pixel has the PSF of the lens."""
    size, radius = psf_field.size, psf_field.radius
    coordinates, index = [], []
    for length in FRAME:
        around = coordinate_axis(-radius, length + 2 * radius, length).clip(-1, 1)
        unique, inverse = np.unique(around, return_inverse=True)
        coordinates.append(unique)
        index.append(inverse)
    grid = np.stack(np.meshgrid(*coordinates, indexing="ij"), axis=-1)
    psfs = lens_psfs(LENS, grid.reshape(-1, 2), FRAME, size).reshape(*grid.shape[:2], size, size)
    psfs = psfs[np.ix_(*index)]

    def blur(image: Array) -> Array:
        scene = np.pad(image, radius, mode="symmetric")
        padded = np.pad(scene, radius)
        light = np.zeros_like(padded)
        for y in range(size):
            for x in range(size):
                height, width = scene.shape
                light[y : y + height, x : x + width] += scene * psfs[..., y, x]
        return light[2 * radius : -2 * radius, 2 * radius : -2 * radius]

    return blur


def relative_error(found: Array, exact: Array) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("content", [textured, sparse])
@pytest.mark.parametrize(("name", "tolerance"), [("psf_field", 1e-3), ("tight_psf_field", 1e-5)])
def test_the_blur_is_the_sum_of_the_psfs_of_all_pixels(
    content: Callable[..., Array],
    name: str,
    tolerance: float,
    exact_sum: Callable[[Array], Array],
    request: pytest.FixtureRequest,
    rng: np.random.Generator,
) -> None:
    image = content(FRAME, rng)
    psf_field: PSFField = request.getfixturevalue(name)
    assert relative_error(psf_field.blur(image), exact_sum(image)) <= tolerance


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_constant_psf_field_is_a_convolution(precision: type, rng: np.random.Generator) -> None:
    psf_field = PSFField.from_lens(STEADY, FRAME)
    image: NDArray[Any] = rng.random(FRAME).astype(precision)
    expected = convolve2d(image, psf_field.psf_at(3, 40), mode="same", boundary="symm")
    np.testing.assert_allclose(psf_field.blur(image), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.MeasuredPSFWarning")
def test_one_measured_psf_gives_a_convolution_with_it(rng: np.random.Generator) -> None:
    psf = lens_psfs(GaussianLens(sigma_center_px=1.0), np.zeros((1, 2)), (24, 40), 11)[0]
    psf_field = PSFField.from_psfs(psf[None], [[5, 9]], (24, 40))
    image = rng.random((24, 40))
    expected = convolve2d(image, psf / psf.sum(), mode="same", boundary="symm")
    np.testing.assert_allclose(psf_field.blur(image), expected, rtol=1e-6)


@pytest.mark.parametrize(("row", "column"), [(16, 21), (9, 10), (22, 34)])
def test_a_point_becomes_the_psf_of_its_position(
    row: int, column: int, psf_field: PSFField
) -> None:
    image = np.zeros(FRAME)
    image[row, column] = 1
    radius = psf_field.radius
    rows, columns = (slice(at - radius, at + radius + 1) for at in (row, column))
    expected = np.zeros(FRAME)
    expected[rows, columns] = psf_field.psf_at(row, column)
    np.testing.assert_allclose(psf_field.blur(image), expected, atol=1e-12)


def test_beyond_the_frame_the_psf_is_that_at_the_border(psf_field: PSFField) -> None:
    np.testing.assert_array_equal(psf_field.psf_at(-500, 80), psf_field.psf_at(-0.5, 43.5))


@pytest.mark.parametrize("tolerance", [0.5, 1e-2, 1e-5])
def test_a_psf_sums_to_one_at_any_position_and_rank(tolerance: float) -> None:
    psf_field = PSFField.from_lens(LENS, FRAME, tolerance)
    positions = [(0, 0), (16, 21.5), (31, 43), (10.3, 40), (-9, 99)]
    sums = [psf_field.psf_at(*position).sum() for position in positions]
    np.testing.assert_allclose(sums, 1, atol=1e-6)


def test_light_that_stays_in_the_frame_is_conserved(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    image: Array = np.zeros(FRAME)
    inner = tuple(slice(psf_field.radius, -psf_field.radius) for _ in FRAME)
    image[inner] = rng.random(image[inner].shape)
    assert psf_field.blur(image).sum() == pytest.approx(image.sum(), rel=1e-6)


def test_a_mirrored_border_conserves_light(rng: np.random.Generator) -> None:
    psf_field = PSFField.from_lens(STEADY, FRAME)
    image = rng.random(FRAME)
    assert psf_field.blur(image).sum() == pytest.approx(image.sum(), rel=1e-6)
    np.testing.assert_allclose(psf_field.blur(np.ones(FRAME)), 1, atol=1e-6)


def test_the_blur_of_a_symmetric_lens_commutes_with_flips(rng: np.random.Generator) -> None:
    psf_field = PSFField.from_lens(ROUND, FRAME)
    image = rng.random(FRAME)
    for flip in (np.flipud, np.fliplr):
        np.testing.assert_allclose(
            psf_field.blur(flip(image)), flip(psf_field.blur(image)), atol=1e-3
        )


def test_the_blur_is_linear(psf_field: PSFField, rng: np.random.Generator) -> None:
    one, other = rng.random((2, *FRAME))
    both = psf_field.blur(2 * one - 3 * other)
    np.testing.assert_allclose(
        both, 2 * psf_field.blur(one) - 3 * psf_field.blur(other), atol=1e-12
    )


def test_a_window_equals_the_crop_of_the_whole_blur(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    image = rng.random(FRAME)
    expected = psf_field.blur(image)[WINDOW.within(Window.whole(FRAME))]
    np.testing.assert_allclose(psf_field.blur(image, window=WINDOW), expected, atol=1e-12)


def test_a_window_needs_only_the_scene_within_one_radius(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    region = Window.whole(FRAME).expanded(20)
    scene = rng.random(region.shape)
    whole = psf_field.blur(scene, origin=region.origin)
    for window in (WINDOW, Window(0, 0, 9, 9), Window(25, 1, 7, 42)):
        around = window.expanded(psf_field.radius)
        blurred = psf_field.blur(scene[around.within(region)], origin=around.origin, window=window)
        np.testing.assert_allclose(blurred, whole[window.within(Window.whole(FRAME))], atol=1e-12)


def test_the_scene_beyond_the_frame_contributes_light(psf_field: PSFField) -> None:
    region = Window.whole(FRAME).expanded(3)
    scene = np.ones(region.shape)
    scene[Window.whole(FRAME).within(region)] = 0
    blurred = psf_field.blur(scene, origin=region.origin)
    assert blurred[0, 0] > 0.01
    assert abs(blurred[16, 22]) < 1e-12


def test_a_batch_of_patches_equals_single_patches(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    origins = [(0, 0), (5, 12), (12, 26)]
    windows = [Window(*origin, *WINDOW.shape) for origin in origins]
    arounds = [window.expanded(psf_field.radius) for window in windows]
    scenes = torch.from_numpy(rng.random((3, *arounds[0].shape)))
    expected = torch.stack(
        [
            psf_field.blur(scene, origin=around.origin, window=window)
            for scene, around, window in zip(scenes, arounds, windows, strict=True)
        ]
    )
    torch.testing.assert_close(psf_field.blur_patches(scenes, origins), expected)
    torch.testing.assert_close(psf_field.blur_patches(scenes[1:2], origins[1:2]), expected[1:2])


@pytest.mark.parametrize(
    ("region", "window"),
    [
        (Window.whole(FRAME), None),
        (Window.whole(FRAME), WINDOW),
        (Window.whole(FRAME).expanded(5), None),
        (Window(-3, 10, 40, 23), WINDOW),
        (WINDOW, WINDOW),
        (Window(20, 30, 3, 2), Window(20, 30, 3, 2)),
        (Window(30, 0, 2, 44), Window(31, 40, 1, 1)),
    ],
)
def test_the_adjoint_is_the_exact_transpose(
    region: Window, window: Window | None, psf_field: PSFField, rng: np.random.Generator
) -> None:
    sharp = rng.normal(size=(2, *region.shape))
    other = rng.normal(size=(2, *(window or Window.whole(FRAME)).shape))
    blurred = psf_field.blur(sharp, origin=region.origin, window=window)
    gathered = psf_field.adjoint(
        other, origin=region.origin, window=window, scene_shape=region.shape
    )
    assert gathered.shape == sharp.shape
    assert np.vdot(blurred, other) == pytest.approx(np.vdot(sharp, gathered), rel=1e-11, abs=1e-11)


def test_the_adjoint_of_the_whole_frame_needs_no_shapes(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    one, other = rng.random((2, *FRAME))
    assert np.vdot(psf_field.blur(one), other) == pytest.approx(
        np.vdot(one, psf_field.adjoint(other))
    )


@pytest.mark.parametrize(
    "kind", ["bool", "uint8", "uint16", ">u2", "int32", "float32", ">f4", "float64"]
)
def test_arrays_and_tensors_give_the_same(
    kind: str, psf_field: PSFField, rng: np.random.Generator
) -> None:
    image = (rng.random(FRAME) * (1 if kind == "bool" else 200)).astype(kind)
    tensor = torch.from_numpy(image.astype(image.dtype.newbyteorder("=").str.replace("u2", "i4")))
    for act in (psf_field.blur, psf_field.adjoint):
        array_out, tensor_out = act(image), act(tensor)
        assert isinstance(array_out, np.ndarray)
        assert isinstance(tensor_out, torch.Tensor)
        assert array_out.dtype == (np.float64 if kind == "float64" else np.float32)
        np.testing.assert_array_equal(array_out, tensor_out)
        exact = act(image.astype(np.float64))
        np.testing.assert_allclose(array_out, exact, atol=1e-5 * np.abs(exact).max())


def test_a_batch_of_channels_is_blurred_plane_by_plane(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    images = rng.random((2, 3, *FRAME))
    for act in (psf_field.blur, psf_field.adjoint):
        together = act(images)
        np.testing.assert_allclose(together[1, 2], act(images[1, 2]), atol=1e-12)
        assert together.shape == images.shape


def test_the_image_is_not_modified(psf_field: PSFField, rng: np.random.Generator) -> None:
    image = rng.random(FRAME)
    image.flags.writeable = False
    before = image.copy()
    first = psf_field.blur(image)
    np.testing.assert_array_equal(psf_field.blur(image), first)
    np.testing.assert_array_equal(image, before)


def test_blur_and_adjoint_pass_gradcheck(rng: np.random.Generator) -> None:
    psf_field = PSFField.from_lens(ROUND, (11, 12), tolerance=0.05, enclosed_energy=0.6)
    assert psf_field.rank > 1
    image = torch.from_numpy(rng.random((2, 11, 12))).requires_grad_()
    for act in (psf_field.blur, psf_field.adjoint):
        assert torch.autograd.gradcheck(act, (image,))


def test_the_gradient_of_the_blur_is_its_adjoint(
    psf_field: PSFField, rng: np.random.Generator
) -> None:
    image = torch.from_numpy(rng.random(FRAME)).requires_grad_()
    other = torch.from_numpy(rng.random(FRAME))
    torch.sum(psf_field.blur(image) * other).backward()
    assert image.grad is not None
    torch.testing.assert_close(image.grad, psf_field.adjoint(other))


@pytest.mark.parametrize("shape", [(32, 43), (44, 32), (32,), (3, 0, 44), (1, 1)])
def test_an_image_that_does_not_cover_the_frame_is_refused(
    shape: tuple[int, ...], psf_field: PSFField
) -> None:
    with pytest.raises(FrameMismatchError) as caught:
        psf_field.blur(np.ones(shape))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((32, 43), {}),
        ((5, 5), {"window": Window(0, 0, 5, 6)}),
        ((5, 5), {"window": Window(30, 0, 5, 5)}),
        ((5, 5), {"window": Window(0, 0, 5, 5), "scene_shape": (4, 5)}),
    ],
)
def test_the_adjoint_refuses_an_image_of_another_shape(
    shape: tuple[int, int], options: dict[str, Any], psf_field: PSFField
) -> None:
    with pytest.raises(FrameMismatchError) as caught:
        psf_field.adjoint(np.ones(shape), **options)
    assert "\n" not in str(caught.value)


def test_a_psf_field_has_a_repr_and_sizes(psf_field: PSFField) -> None:
    assert (
        repr(psf_field)
        == f"PSFField(frame 32x44, psf {psf_field.size}x{psf_field.size}, rank {psf_field.rank})"
    )
    assert psf_field.kernels.shape == (psf_field.rank, psf_field.size, psf_field.size)
    assert psf_field.size == 2 * psf_field.radius + 1


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_the_width_of_a_gaussian_is_its_full_width_at_half_maximum(sigma: float) -> None:
    lens = GaussianLens(sigma_center_px=sigma, sigma_edge_px=sigma)
    psfs = lens_psfs(lens, np.zeros((2, 2)), (200, 200), 61)
    pixel = 1 / 12  # variance of the camera's square pixel, which widens the PSF
    expected = 2 * np.sqrt(2 * np.log(2) * (sigma**2 + pixel))
    np.testing.assert_allclose(fwhm_px(psfs), [expected, expected], rtol=2e-3)


def test_the_width_is_proportional_to_the_side_of_a_flat_psf() -> None:
    flat = [np.pad(np.full((n, n), 1 / n**2), (15 - n) // 2) for n in (1, 3, 5, 7)]
    widths = fwhm_px(np.stack(flat))
    np.testing.assert_allclose(widths / widths[0], [1, 3, 5, 7])


def test_a_psf_field_gives_the_width_at_a_position() -> None:
    psf_field = PSFField.from_lens(GaussianLens(), (64, 80))
    for position in ((0, 0), (31.5, 39.5), (60, 12)):
        assert psf_field.fwhm_px(*position) == fwhm_px(psf_field.psf_at(*position))
    assert psf_field.fwhm_px(0, 0) > psf_field.fwhm_px(31.5, 39.5)


def test_the_plot_shows_the_psf_at_each_position(psf_field: PSFField) -> None:
    figure = psf_field.plot(side=2)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    corners = [(0, 0), (0, 43), (31, 0), (31, 43)]
    for axes, corner in zip(figure.axes, corners, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), psf_field.psf_at(*corner))
    with pytest.raises(SettingsError, match="1 to 15"):
        psf_field.plot(side=0)


def test_notebooks_show_a_short_escaped_table(psf_field: PSFField) -> None:
    hostile = "<script>alert(1)</script>" * 20
    lens = LENS.replace(calibration={"method": hostile})
    source = {hostile: 1}
    field = PSFField(
        psf_field.kernels, psf_field.coefficients, psf_field.frame_shape, source=source
    )
    for html in (field._repr_html_(), lens._repr_html_()):
        assert "<script" not in html
        assert "&lt;script" in html
        assert len(html) < 5000
