"""Tiles, windows, types and bad input of deblurring; the networks are small and untrained."""

import itertools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from skimage.transform import resize

from napari_coordgate.config import DeblurConfig, DeblurRuntime, GaussianLens, RichardsonLucyConfig
from napari_coordgate.deconvolution import deconvolve
from napari_coordgate.errors import (
    CanceledError,
    FrameMismatchError,
    FrameMismatchWarning,
    ImageError,
)
from napari_coordgate.events import Event, PlaneDone, Progress, run
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.inference import Predictor, deblur, deblur_events, gating_maps
from napari_coordgate.io import Image
from napari_coordgate.optics import PSFField
from tests.inference.making import (
    Pixels,
    deblur_stack,
    identity_model,
    noise,
    random_model,
)


class LazyArray:
    """Array that is loaded when it is indexed, as those of dask and zarr; it counts."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.loaded: list[tuple[int, ...]] = []

    def __getitem__(self, index: tuple[int | slice, ...]) -> Pixels:
        part: Pixels = self._pixels[index]
        self.loaded.append(part.shape)
        return part


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(30, 150),
    width=st.integers(30, 150),
    depth=st.integers(2, 3),
    spare=st.integers(8, 60),
)
def test_tiled_equals_whole(height: int, width: int, depth: int, spare: int) -> None:
    model = random_model((height, width), depth)
    image = noise((height, width))
    whole = deblur(image, model, runtime=DeblurRuntime(tile=1000))
    tile = 2 * (model.network.receptive_radius + 4) + spare
    tiled = deblur(image, model, runtime=DeblurRuntime(tile=tile))
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * np.ptp(whole))


def test_cached_gating_maps_equal_computed_ones() -> None:
    model = random_model((40, 52))
    image = noise((40, 52))
    predictor = Predictor(model, DeblurConfig())

    first = deblur_stack(predictor, image, "YX")
    deblur_stack(predictor, image, "YX")  # a second use is when the maps are kept
    again = deblur_stack(predictor, image, "YX")
    np.testing.assert_array_equal(first, again)
    scaled = torch.from_numpy((image - image.min()) / np.ptp(image))[None, None]
    coordinates = torch.from_numpy(frame_coordinates((40, 52)))[None]
    computed = model.network(scaled, coordinates)[0, 0].numpy()
    np.testing.assert_allclose(first, computed * np.ptp(image) + image.min(), atol=1e-3)


DTYPES = ("?", "u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8", ">u2", ">f4")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_that_changes_nothing_returns_the_image_in_its_own_units(dtype: str) -> None:
    image = noise((24, 31), dtype) if dtype != "?" else noise((24, 31)) > 100
    model = identity_model((24, 31))
    restored = deblur(image, model)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, image.astype(np.float64), atol=2e-4)
    kept = deblur(image, model, config=DeblurConfig(keep_dtype=True))
    assert kept.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(kept.astype(float), image.astype(float), atol=2e-4)


def test_values_outside_the_dtype_range_are_clipped_not_wrapped() -> None:
    model = random_model((32, 32))
    image = noise((32, 32), np.uint8)
    image[:4] = 255
    free = deblur(image, model)
    assert free.min() < 0 or free.max() > 255
    kept = deblur(image, model, config=DeblurConfig(keep_dtype=True))
    np.testing.assert_allclose(kept, np.clip(np.rint(free), 0, 255), atol=1)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 24, 20), "ZYX"), ((2, 3, 24, 20), "TCYX"), ((24, 20, 3), "YXS"), ((24, 2, 20), "YZX")],
)
def test_each_plane_is_deblurred_independently(shape: tuple[int, ...], axes: str) -> None:
    model = random_model((24, 20))
    stack = noise(shape)
    restored = deblur(stack, model, axes=axes)
    planes, restored_planes = (
        np.moveaxis(a, (axes.index("Y"), axes.index("X")), (-2, -1)).reshape(-1, 24, 20)
        for a in (stack, restored)
    )
    for plane, expected in zip(planes, restored_planes, strict=True):
        np.testing.assert_array_equal(deblur(plane, model), expected)


def test_a_window_is_deblurred_with_its_own_frame_coordinates() -> None:
    model = random_model((96, 120))
    image = noise((96, 120))
    image[40, 40], image[41, 41] = 0, 200
    window = Window(24, 16, 64, 72)
    cut = window.within(Window.whole((96, 120)))
    inside = model.network.receptive_radius + 1
    interior = (slice(inside, -inside), slice(inside, -inside))
    whole = deblur(image, model)[cut][interior]
    placed = deblur(image[cut], model, origin=window.origin)[interior]
    np.testing.assert_allclose(placed, whole, atol=1e-3)
    elsewhere = deblur(image[cut], model, origin=(0, 0))[interior]
    assert np.abs(elsewhere - whole).max() > 0.1


@pytest.mark.parametrize("origin", [(-1, 0), (60, 0), (0, 100)])
def test_a_window_outside_the_frame_is_an_error(origin: tuple[int, int]) -> None:
    with pytest.raises(FrameMismatchError, match=r"origin, which is at most \(40, 40\)"):
        deblur(noise((40, 40)), random_model((80, 80)), origin=origin)
    for place in (origin, None):  # no origin helps
        with pytest.raises(FrameMismatchError, match="frame of 32x32 pixels; train a model"):
            deblur(noise((40, 36)), random_model((32, 32)), origin=place)


def test_the_frame_at_another_size_is_resampled_with_a_warning() -> None:
    y, x = np.mgrid[0:48, 0:60]
    smooth, model = np.sin(y / 6) + np.cos(x / 8), identity_model((96, 120))
    with pytest.raises(FrameMismatchError, match=r"origin.*whole_frame"):
        deblur(smooth, model)
    with pytest.warns(FrameMismatchWarning, match="48x60"):
        restored = deblur(smooth, model, config=DeblurConfig(whole_frame=True))
    assert restored.shape == smooth.shape
    np.testing.assert_allclose(restored, smooth, atol=0.02)


@pytest.mark.parametrize(
    ("shape", "pixel_size_um"), [((30, 90), None), ((48, 48), (0.5, 0.5)), ((96, 95), None)]
)
def test_an_image_of_another_field_of_view_is_an_error(
    shape: tuple[int, int], pixel_size_um: tuple[float, float] | None
) -> None:
    image = Image(noise(shape), "YX", pixel_size_um)
    with pytest.raises(FrameMismatchError, match="96x96"):
        deblur(image, random_model((96, 96)))


def with_nan(image: Pixels) -> Pixels:
    image[3, 5] = np.nan
    return image


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (with_nan, "NaN"),
        (lambda image: np.full_like(image, 7), "constant|same value|7"),
        (lambda image: image[:0], "no pixels"),
        (lambda image: image[0], "shape|axes"),
        (lambda image: image + 1j, "complex"),
        (lambda image: image[:1, :1], "2 x 2"),
    ],
)
def test_an_invalid_image_is_an_error(spoil: Callable[[Pixels], Pixels], complaint: str) -> None:
    image = spoil(noise((24, 24)))
    frame = (image.shape[0], image.shape[1]) if image.ndim == 2 and image.size else (24, 24)
    with pytest.raises(ImageError, match=complaint) as caught:
        deblur(image, random_model(frame))
    assert "\n" not in str(caught.value)


def test_an_error_names_the_plane() -> None:
    stack = noise((4, 24, 24))
    stack[2, 0, 0] = np.nan
    with pytest.raises(ImageError, match="plane 2"):
        deblur(stack, random_model((24, 24)))


def test_events_count_the_tiles_and_planes() -> None:
    model = random_model((90, 90), depth=2)
    runtime = DeblurRuntime(tile=64)
    events = list(deblur_events(noise((2, 90, 90)), model, runtime=runtime))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in progress] == list(range(1, progress[0].total + 1))
    assert progress[0].total % 2 == 0
    assert progress[0].total > 2
    assert [event.index for event in events if isinstance(event, PlaneDone)] == [(0,), (1,)]


def test_a_cancel_stops_the_job_after_a_tile() -> None:
    cancel = threading.Event()
    model = random_model((90, 90), depth=2)
    runtime = DeblurRuntime(tile=64, check=False)
    events = deblur_events(noise((90, 90)), model, runtime=runtime, cancel=cancel)
    assert isinstance(next(events), Progress)
    cancel.set()
    with pytest.raises(CanceledError):
        next(events)
    with pytest.raises(CanceledError):
        deblur(noise((90, 90)), model, runtime=runtime, cancel=cancel)


def test_the_result_can_be_written_to_a_memory_map(tmp_path: Path) -> None:
    model = random_model((60, 60), depth=2)
    image = noise((60, 60), np.uint16)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (60, 60))
    result = run(deblur_events(mapped, model, out=out, runtime=DeblurRuntime(tile=40)))
    assert result is out
    out.flush()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), deblur(image, model), atol=1e-2)


def test_another_pixel_size_than_that_of_the_model_gives_a_warning() -> None:
    model = random_model((32, 32))
    with pytest.warns(FrameMismatchWarning, match=r"1\.3"):
        deblur(Image(noise((32, 32)), "YX", (1.3, 1.3)), model)
    with pytest.warns(FrameMismatchWarning, match=r"1\.3"):
        deblur(Image(noise((24, 16)), "YX", (1.3, 1.3)), model, origin=(0, 4))


def test_pixels_that_are_not_square_are_resampled_for_a_lens_and_else_refused() -> None:
    lens = GaussianLens(sigma_center_px=1.5, sigma_edge_px=1.5, pixel_size_um=0.2)
    method = RichardsonLucyConfig(num_iter=5, discrepancy=False, total_variation=0)
    config = DeblurConfig(deconvolution=method)
    y, x = np.mgrid[0:66, 0:96] * np.array([0.3, 0.2])[:, None, None]
    spot = 5 + 500 * np.exp(-((y - 10) ** 2 + (x - 10) ** 2) / 2)
    spot = np.random.default_rng(0).poisson(spot).astype(np.float32)
    image = Image(spot, "YX", (0.3, 0.2))
    with pytest.warns(FrameMismatchWarning, match="resampled"):
        deblurred = deblur(image, lens, config=config)
    square = Image(resize(spot, (99, 96), order=3, mode="symmetric"), "YX", (0.2, 0.2))
    expected = resize(deblur(square, lens, config=config), (66, 96), order=3, mode="symmetric")
    np.testing.assert_allclose(deblurred, expected, rtol=1e-3)
    field = PSFField.from_lens(lens, (66, 96))
    with pytest.raises(FrameMismatchError, match=r"0\.3 x 0\.2 um.*square"):
        deblur(image, field, config=config)
    with pytest.raises(FrameMismatchError, match=r"0\.3 x 0\.2 um.*square"):
        deconvolve(image, field, config=method)


def test_given_axes_override_those_of_the_image() -> None:
    image = Image(noise((3, 24, 20)), "CYX")
    model = random_model((24, 20))
    np.testing.assert_array_equal(deblur(image, model, axes="ZYX"), deblur(image.data, model))


def test_the_network_of_the_model_is_not_changed() -> None:
    model = random_model((24, 24))
    predictor = Predictor(model, DeblurConfig())
    assert predictor.network is not model.network
    deblur_stack(predictor, noise((24, 24)), "YX")
    assert gating_maps(model)["down 1"].shape == (4, 24, 24)


def test_a_lazy_stack_is_loaded_plane_by_plane() -> None:
    model, stack = random_model((24, 20)), noise((2, 3, 24, 20))
    lazy = LazyArray(stack)
    np.testing.assert_array_equal(deblur(lazy, model), deblur(stack, model))
    assert lazy.loaded == 6 * [(24, 20)]
    lazy = LazyArray(stack)
    events = deblur_events(Image(lazy, "TCYX"), model)
    while not isinstance(next(events), PlaneDone):
        pass
    assert lazy.loaded == [(24, 20)]


def test_a_cancel_stops_the_job_within_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, layers = threading.Event(), []
    convolve = torch.nn.Conv2d.forward

    def counted(layer: torch.nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
        layers.append(layer)
        cancel.set()
        return convolve(layer, features)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", counted)
    with pytest.raises(CanceledError, match=r"^Stopped after 0 of 1 tile\.$"):
        deblur(noise((90, 90)), random_model((90, 90)), cancel=cancel)
    assert len(layers) == 1


def done_planes(events: Iterable[Event]) -> list[tuple[int, ...]]:
    return [event.index for event in events if isinstance(event, PlaneDone)]


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((24, 20), "YX", [()]),
        ((3, 24, 20), "ZYX", [(0,), (1,), (2,)]),
        ((24, 2, 20), "YCX", [(0,), (1,)]),
        ((2, 24, 20, 2), "TYXS", [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ],
)
def test_each_plane_has_an_event_when_it_is_done(
    shape: tuple[int, ...], axes: str, expected: list[tuple[int, ...]]
) -> None:
    events = deblur_events(noise(shape), random_model((24, 20)), axes=axes)
    assert done_planes(events) == expected


def test_a_plane_that_is_reported_as_done_is_final() -> None:
    model, stack = random_model((90, 90), depth=2), noise((3, 90, 90))
    out, runtime = np.zeros_like(stack), DeblurRuntime(tile=64)
    expected = deblur(stack, model, runtime=runtime)
    for event in deblur_events(stack, model, out=out, runtime=runtime):
        if isinstance(event, PlaneDone):
            np.testing.assert_array_equal(out[event.index], expected[event.index])
            assert not out[event.index[0] + 1 :].any()


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=0, max_size=2).map(tuple),
    wishes=st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 5)), min_size=1),
)
def test_every_plane_is_deblurred_once_for_any_priority(
    lengths: tuple[int, ...], wishes: list[tuple[int, int]]
) -> None:
    wish = itertools.cycle(wishes)
    events = deblur_events(
        noise((*lengths, 8, 8)),
        identity_model((8, 8)),
        axes="TC"[: len(lengths)] + "YX",
        first=lambda: next(wish)[: len(lengths)],
    )
    assert sorted(done_planes(events)) == list(np.ndindex(lengths))


def test_the_prioritized_plane_comes_first_and_then_its_neighbors() -> None:
    model = identity_model((8, 8))
    order = done_planes(deblur_events(noise((6, 8, 8)), model, first=lambda: (3,)))
    assert order == [(3,), (2,), (4,), (1,), (5,), (0,)]


def test_the_priority_may_change_between_planes() -> None:
    wanted, seen = [4], []
    model = identity_model((8, 8))
    for event in deblur_events(noise((6, 8, 8)), model, first=lambda: (wanted[0],)):
        if isinstance(event, PlaneDone):
            seen.append(event.index)
            wanted[0] = 0
    assert seen == [(4,), (0,), (1,), (2,), (3,), (5,)]


def test_a_canceled_job_reports_the_plane_that_it_finished() -> None:
    cancel = threading.Event()
    model = identity_model((8, 8))
    seen = []
    with pytest.raises(CanceledError, match="1 of 3 tiles"):
        for event in deblur_events(
            noise((3, 8, 8)), model, runtime=DeblurRuntime(check=False), cancel=cancel
        ):
            seen.append(type(event))
            cancel.set()
    assert seen == [Progress, PlaneDone]
