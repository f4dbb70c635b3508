import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_coordgate import normalization
from napari_coordgate.config import Scaling
from napari_coordgate.errors import CanceledError, ImageError
from napari_coordgate.normalization import Normalizer, check_plane, convert_dtype, fit_normalizer

DTYPES = ["?", "u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
INTEGERS = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]
WHOLE_RANGE = Scaling(low_percentile=0, high_percentile=100)


def ramp(dtype: str) -> NDArray[Any]:
    return (np.arange(64 * 64).reshape(64, 64) % 199).astype(dtype)


@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(1e-3, 1e6),
    parts=arrays(np.float64, 20, elements=st.floats(-1, 2)),
)
def test_denormalize_inverts_normalize(low: float, span: float, parts: NDArray[np.float64]) -> None:
    intensities = Normalizer(low, low + span)
    image = low + parts * span
    restored = intensities.denormalize(intensities.normalize(image), np.float64)
    np.testing.assert_allclose(restored, image, rtol=1e-15, atol=4e-7 * span + 1e-9)


@given(image=arrays(np.uint16, (2, 9)), dtype=st.sampled_from(["u1", "u2", ">u2"]))
def test_8_and_16_bit_pixels_are_restored_exactly(image: NDArray[np.uint16], dtype: str) -> None:
    image = image.astype(dtype)
    intensities = Normalizer(float(image.min()), float(image.max()) + 1)
    assert np.array_equal(intensities.denormalize(intensities.normalize(image), dtype), image)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_range_becomes_0_to_1_in_native_float32(dtype: str) -> None:
    plane = ramp(dtype)
    intensities = fit_normalizer(plane, WHOLE_RANGE)
    scaled = intensities.normalize(plane)
    assert intensities == (float(plane.min()), float(plane.max()))
    assert scaled.dtype == np.float32
    assert scaled.dtype.isnative
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_values_beyond_the_range_are_kept() -> None:
    scaled = Normalizer(10, 20).normalize(np.array([0, 15, 40]))
    assert scaled.tolist() == [-1, 0.5, 3]


def test_small_steps_on_a_large_offset_are_preserved() -> None:
    scaled = Normalizer(1e9, 1e9 + 4).normalize(np.array([1e9, 1e9 + 1, 1e9 + 4]))
    assert scaled.tolist() == [0, 0.25, 1]
    counts = np.array([4_000_000_001, 4_000_000_003], np.uint32)
    intensities = Normalizer(4e9, 4e9 + 4)
    assert np.array_equal(intensities.denormalize(intensities.normalize(counts), np.uint32), counts)


def test_percentiles_ignore_hot_and_dead_pixels() -> None:
    plane = np.tile(np.linspace(100, 200, 100, dtype=np.float32), (100, 1))
    plane[0, :10] = (0, 60000, 0, 60000, 0, 60000, 0, 60000, 0, 60000)
    low, high = fit_normalizer(plane, Scaling(low_percentile=1, high_percentile=99))
    assert 100 <= low < 102
    assert 198 < high <= 200


def test_a_sparse_image_has_the_range_of_all_its_pixels() -> None:
    plane = np.full((3000, 3000), 7, np.uint8)
    plane[1001, 1001] = 9
    assert fit_normalizer(plane, Scaling()) == (7, 9)


def test_a_constant_plane_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^beads.tif is constant .* is 3\)"):
        fit_normalizer(np.full((8, 8), 3), Scaling(), "beads.tif")


@pytest.mark.parametrize("dtype", ["u2", ">u2", "f4", ">f8"])
def test_a_large_plane_is_checked_and_sampled_without_a_copy(dtype: str) -> None:
    plane = np.zeros((6144, 6144), dtype)
    plane[::2] = 1
    tracemalloc.start()
    check_plane(plane, "frame")
    check_peak = tracemalloc.get_traced_memory()[1]
    intensities = fit_normalizer(plane, Scaling())
    range_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert check_peak < 1e6
    assert range_peak < 4e7
    assert intensities == (0, 1)


class LoadedPixels:
    """Plane that counts how often each pixel is loaded."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.times = np.zeros(pixels.shape, int)
        self.largest = 0

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        self.times[index] += 1
        part: NDArray[Any] = self._pixels[index]
        self.largest = max(self.largest, part.nbytes)
        return part


@given(
    shape=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    strip_bytes=st.integers(1, 5000),
    sampled=st.integers(1, 4000),
    levels=st.integers(2, 1000),
)
def test_strips_give_the_range_of_the_whole_plane_and_load_each_pixel_once(
    shape: tuple[int, int], strip_bytes: int, sampled: int, levels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, levels, shape).astype(np.uint16)
    pixels[0, 0], pixels[1, 1] = 0, levels
    plane, percentiles = LoadedPixels(pixels), (2, 97)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalization, "STRIP_BYTES", strip_bytes)
        patch.setattr(normalization, "_MAX_SAMPLES", sampled)
        found = fit_normalizer(plane, Scaling(low_percentile=2, high_percentile=97))
    assert (plane.times == 1).all()
    assert plane.largest <= max(strip_bytes, 2 * shape[1])
    step = int(np.ceil(np.sqrt(pixels.size / sampled)))
    low, high = np.percentile(pixels[::step, ::step], percentiles)
    assert found == ((low, high) if high > low else (0, levels))


@pytest.mark.parametrize("row", [0, 37, 99])
@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "NaN"), (-np.inf, "infinite"), (1e300, "rescale")]
)
def test_invalid_pixels_are_found_in_any_strip(
    monkeypatch: pytest.MonkeyPatch, row: int, value: float, problem: str
) -> None:
    monkeypatch.setattr(normalization, "STRIP_BYTES", 1000)
    pixels = np.random.default_rng(0).uniform(0, 1, (100, 20))
    pixels[row, 7] = value
    for look in (check_plane, lambda plane, name: fit_normalizer(plane, Scaling(), name)):
        with pytest.raises(ImageError, match=f"^frame.tif .*{problem}"):
            look(LoadedPixels(pixels), "frame.tif")


def test_fitting_to_a_large_plane_can_be_canceled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization, "STRIP_BYTES", 1000)
    plane = LoadedPixels(np.random.default_rng(0).uniform(0, 1, (100, 20)))

    def check() -> None:
        if plane.times.sum() > 500:
            raise CanceledError("Stopped.")

    with pytest.raises(CanceledError):
        fit_normalizer(plane, Scaling(), check=check)
    assert plane.times.sum() < 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_pixel_passes_the_check(dtype: str) -> None:
    check_plane(ramp(dtype), "frame")


@pytest.mark.parametrize(
    ("plane", "problem"),
    [
        (np.zeros((0, 5)), "is 0x5 pixels"),
        (np.zeros((1, 1)), "is 1x1 pixels"),
        (np.zeros((1, 50)), "is 1x50 pixels"),
        (np.zeros((2, 2, 2)), "is 2x2x2 pixels"),
        (np.full((4, 4), 5, np.uint16), r"is constant \(every pixel is 5\)"),
        (np.zeros((4, 4), bool), "is constant"),
        (np.eye(4) + np.nan, "NaN"),
        (np.where(np.eye(4) > 0, np.nan, 1), "NaN"),
        (np.where(np.eye(4) > 0, np.inf, 1), "infinite"),
        (np.where(np.eye(4) > 0, -np.inf, 1).astype(">f4"), "infinite"),
        (np.eye(4) * 1e300, "rescale"),
        (np.eye(4, dtype=np.float32) * np.float32(3e38), "rescale"),
        (np.eye(4, dtype=np.float32) * np.float32(1e-42), "rescale"),
        (np.eye(4) * -1e-300, "rescale"),
        (np.eye(4) * 1j, "complex128"),
        (np.array([["a", "b"], ["c", "d"]]), "<U1"),
        (np.eye(4).astype(object), "object"),
    ],
)
def test_an_invalid_plane_is_an_error_that_names_it(plane: NDArray[Any], problem: str) -> None:
    with pytest.raises(ImageError, match=rf"^frame.tif .*{problem}") as caught:
        check_plane(plane, "frame.tif")
    assert len(str(caught.value).splitlines()) == 1


@given(
    values=arrays(np.float64, 20, elements=st.floats(-1e20, 1e20) | st.floats(-300, 300)),
    source=st.sampled_from(["f4", "f8", ">f4"]),
    dtype=st.sampled_from(INTEGERS),
)
def test_integers_are_rounded_and_clipped(
    values: NDArray[np.float64], source: str, dtype: str
) -> None:
    values = values.astype(source)
    info = np.iinfo(dtype)
    result = convert_dtype(values, dtype)
    assert result.dtype == np.dtype(dtype)
    for value, whole in zip(values.tolist(), result.tolist(), strict=True):
        expected = min(max(round(value), info.min), info.max)
        # Floats are sparse near the 64-bit limits.
        assert abs(whole - expected) <= (2048 if info.bits == 64 else 0)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_infinity_is_clipped_and_nan_is_0(dtype: str) -> None:
    low, high, nothing = convert_dtype(
        np.array([-np.inf, np.inf, np.nan], np.float32), dtype
    ).tolist()
    assert low == np.iinfo(dtype).min
    assert high == pytest.approx(np.iinfo(dtype).max, rel=1e-15)
    assert nothing == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_that_have_the_type_already_are_not_copied(dtype: str) -> None:
    image = ramp(dtype)
    result = convert_dtype(image, dtype)
    assert result.dtype.isnative
    assert np.array_equal(result, image)


def test_bool_is_true_from_one_half() -> None:
    assert convert_dtype(np.array([-1, 0.49, 0.5, 3]), bool).tolist() == [False, False, True, True]


def test_conversion_does_not_modify_its_input() -> None:
    image = np.array([1.4, 400.0])
    convert_dtype(image, np.uint8)
    assert image.tolist() == [1.4, 400.0]
