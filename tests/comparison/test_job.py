"""Laws of a comparison: equal conditions, nothing done twice, no mixed settings, no leaks."""

import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.comparison import Comparison, Row, as_table, compare, compare_events
from napari_coordgate.config import (
    Camera,
    CGUNetConfig,
    ComparisonConfig,
    GaussianLens,
    ModelMethod,
    NetworkMethod,
    RuntimeConfig,
    TrainingConfig,
    UNetConfig,
    WienerConfig,
    WienerMethod,
)
from napari_coordgate.errors import (
    CanceledError,
    CoordGateError,
    FrameMismatchError,
    ImageError,
    ModelError,
    OutputError,
    SettingsError,
)
from napari_coordgate.events import Event, Progress
from napari_coordgate.io import Image, write_image
from napari_coordgate.io.locks import lock_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training import ResourceEstimate

FRAME = (32, 32)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), FRAME)
STEPS = 6
TRAINING = TrainingConfig(
    camera=Camera(photons=1000),
    window_size=16,
    batch_size=2,
    steps=STEPS,
    validate_every=2,
)
CONFIG = ComparisonConfig(training=TRAINING, seeds=2)
UNET = NetworkMethod(name="U-Net(2)", network=UNetConfig(depth=2, base_channels=2))
GATED = NetworkMethod(name="CG U-Net(2)", network=CGUNetConfig(depth=2, base_channels=2))
WIENER = WienerMethod(name="Wiener", wiener=WienerConfig(num_iter=3))
METHODS = (UNET, WIENER)
TIMES = {"training_seconds", "inference_seconds"}

Pixels = NDArray[np.float32]


def spots(number: int, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    images = (rng.random((number, 64, 64)) > 0.9) + 0.1 * rng.random((number, 64, 64))
    return images.astype(np.float32)


SHARP = spots(6)


def compared(folder: Path, methods: Any = METHODS, config: Any = CONFIG, **more: Any) -> Comparison:
    arguments = {"images": SHARP, "psf_field": FIELD, **more}
    return compare(methods, config=config, output=folder, **arguments)


def failure(folder: Path, methods: Any = METHODS, config: Any = CONFIG, **more: Any) -> str:
    """Error of a failing comparison, which is one line."""
    with pytest.raises(CoordGateError) as caught:
        compared(folder, methods, config, **more)
    assert len(str(caught.value).splitlines()) == 1
    return f"{type(caught.value).__name__}: {caught.value}"


def trained_with(**changes: Any) -> ComparisonConfig:
    return CONFIG.model_copy(update={"training": TRAINING.model_copy(update=changes)})


def canceled_at(folder: Path, is_time: Callable[[Event], bool], **more: Any) -> str:
    """Message of a comparison that is canceled at the first event of a kind."""
    cancel = threading.Event()
    arguments = {"config": CONFIG, "output": folder, "cancel": cancel, **more}

    def cancel_in_time(event: Event) -> None:
        if is_time(event):
            cancel.set()

    with pytest.raises(CanceledError) as caught:
        compare(METHODS, SHARP, FIELD, callback=cancel_in_time, **arguments)
    return str(caught.value)


def fourth_of(stage: str) -> Callable[[Event], bool]:
    """Whether an event is the fourth of a stage."""
    seen = iter(range(1000))
    return lambda event: isinstance(event, Progress) and event.stage == stage and next(seen) == 3


def results(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    return [row.model_dump(exclude=TIMES) for row in rows]


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Time of writing and content of all trainings and rows."""
    files = [*folder.glob("*.safetensors"), *(folder / "rows").iterdir()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("comparison") / "done")


# Equal conditions


def test_there_is_a_row_for_each_method_and_seed_in_the_order_given(done: Comparison) -> None:
    rows = [(row.method, row.kind, row.seed) for row in done.rows]
    network = [("U-Net(2)", "network", 0), ("U-Net(2)", "network", 1)]
    assert rows == [("blurred", "blurred", None), *network, ("Wiener", "wiener", None)]
    assert done.names == ("blurred", "U-Net(2)", "Wiener")
    for row in done.of("U-Net(2)"):
        assert row.steps == STEPS
        assert row.training_seconds
        assert row.inference_seconds
        assert row.parameters > 0
    assert done.of("Wiener")[0].parameters == 0


def test_a_second_comparison_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path / "out", "taken"),
        pytest.raises(OutputError, match="Another comparison writes to"),
    ):
        compared(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_metrics_belong_to_the_example_images(
    done: Comparison,
) -> None:
    sharp = done.sharp_example
    for row in done.rows:
        np.testing.assert_allclose(row.image_psnr[0], psnr(sharp, done.example(row)), rtol=1e-5)
        assert row.quality["psnr"] == np.mean(row.image_psnr)
        assert len(row.image_psnr) == 1
        assert row.device.startswith("cpu")


def test_the_error_map_agrees_with_the_radial_error_and_the_psnr(done: Comparison) -> None:
    for row in done.rows:
        error_map, error = done.error_map(row), [e for e in row.radial_error if e is not None]
        assert error_map.shape == FRAME
        np.testing.assert_allclose(-10 * np.log10(error_map.mean()), row.quality["psnr"], rtol=1e-4)
        assert min(error) <= error_map.mean() <= max(error)


def test_a_trained_network_has_the_same_metrics_as_a_loaded_model(
    done: Comparison, tmp_path: Path
) -> None:
    (first, _) = done.of("U-Net(2)")
    method = ModelMethod(name="loaded", model=done.folder / f"{first.stem}.safetensors")
    (row,) = compared(tmp_path / "out", [method]).of("loaded")
    assert row.quality == first.quality
    assert row.parameters == first.parameters
    assert (row.kind, row.seed, row.steps) == ("model", None, None)


def test_each_seed_trains_another_network_on_the_same_images(done: Comparison) -> None:
    first, second = (Model.load(done.folder / f"u-net-2-seed{seed}.safetensors") for seed in (0, 1))
    assert (first.config.seed, second.config.seed) == (0, 1)
    assert any(not torch.equal(first.weights[n], second.weights[n]) for n in first.weights)
    prints = [row.fingerprint for row in done.of("U-Net(2)")]
    assert prints[0]["images"] == prints[1]["images"]
    assert prints[0]["images"].startswith("5 of")
    assert all(row.fingerprint["test_images"].startswith("1 of") for row in done.rows)


def test_a_saved_comparison_equals_the_loaded_one(done: Comparison) -> None:
    read = Comparison.load(done.folder)
    assert read == done
    assert read.config == CONFIG
    assert read.methods == METHODS
    assert (done.folder / "comparison.md").read_text(encoding="utf-8") == as_table(done.rows)
    for name in ("examples.png", "error-radius.png", "parameters.png"):
        assert (done.folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_overall_progress_counts_rows(tmp_path: Path) -> None:
    events = compare_events(METHODS, SHARP, FIELD, config=CONFIG, output=tmp_path / "out")
    whole = [e for e in events if isinstance(e, Progress) and e.stage == "comparing"]
    rows = [event.done for event in whole]
    assert rows == sorted(rows)
    assert rows[-1] == whole[-1].total == 4
    assert all(event.seconds_left is not None for event in whole if event.done)


# Nothing is done twice


def test_a_second_start_trains_and_tests_nothing(done: Comparison) -> None:
    before = contents(done.folder)
    events: list[Event] = []
    again = compared(done.folder, callback=events.append)
    stages = {event.stage for event in events if isinstance(event, Progress)}
    assert not stages & {"training", "validating", "testing"}
    assert contents(done.folder) == before
    assert again == Comparison.load(done.folder)
    assert again.rows == done.rows


def test_methods_and_seeds_may_be_added(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    one = CONFIG.model_copy(update={"seeds": 1})
    first = compared(folder, [UNET], one)
    before = contents(folder)
    second = compared(folder, [GATED, UNET], CONFIG)
    assert second.names == ("blurred", "CG U-Net(2)", "U-Net(2)")
    assert first.of("U-Net(2)")[0] in second.rows
    after = contents(folder)
    plan = folder / "rows" / "u-net-2.plan.json"  # contains the training time of each seed
    assert {path: after[path] for path in before if path != plan} == {
        path: content for path, content in before.items() if path != plan
    }


@pytest.mark.parametrize("stage", ["training", "validating", "testing"])
def test_a_resumed_comparison_equals_an_uninterrupted_one(
    done: Comparison, tmp_path: Path, stage: str
) -> None:
    folder = tmp_path / "out"
    assert "start it again with the same folder" in canceled_at(folder, fourth_of(stage))
    assert len(Comparison.load(folder).rows) < len(done.rows)
    resumed = compared(folder, runtime=RuntimeConfig(device="cpu", autosave_minutes=1))
    assert results(resumed.rows) == results(done.rows)
    assert all(row.training_seconds for row in resumed.of("U-Net(2)"))
    weights = [Model.load(f / "u-net-2-seed0.safetensors") for f in (folder, done.folder)]
    for name, tensor in weights[0].weights.items():
        assert torch.equal(tensor, weights[1].weights[name])


@pytest.mark.parametrize("stage", ["checking for duplicates", "reading images", "estimating"])
def test_a_comparison_canceled_before_its_first_step_has_written_no_row(
    tmp_path: Path, stage: str
) -> None:
    config = CONFIG.model_copy(update={"minutes": 0.01})
    canceled_at(tmp_path / "out", fourth_of(stage), config=config)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("rows/*"))


def test_a_comparison_whose_generator_was_closed_can_be_resumed(
    done: Comparison, tmp_path: Path
) -> None:
    def until_training(events: Iterator[Event]) -> None:
        for event in events:
            if isinstance(event, Progress) and event.stage == "training" and event.done == STEPS:
                return

    events = compare_events(METHODS, SHARP, FIELD, config=CONFIG, output=tmp_path / "out")
    until_training(events)
    events.close()
    assert results(compared(tmp_path / "out").rows) == results(done.rows)


# No mixed settings


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": trained_with(steps=7)}, "training.steps (was 6, is 7)"),
        ({"config": trained_with(camera=Camera())}, "camera.photons (was 1000.0, is None)"),
        ({"config": CONFIG.model_copy(update={"minutes": 1.0})}, "minutes (was None, is 1.0)"),
        ({"images": spots(7)}, "images"),
        ({"psf_field": PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), FRAME)}, "psf_field"),
        ({"test": spots(1, seed=9)}, "test_images"),
        (
            {"methods": [UNET.model_copy(update={"network": CGUNetConfig(depth=2)})]},
            "training.network.base_channels (was 2, is 32)",
        ),
    ],
)
def test_rows_made_with_other_settings_are_an_error_and_are_kept(
    done: Comparison, change: dict[str, Any], named: str
) -> None:
    before = contents(done.folder), (done.folder / "comparison.json").read_bytes()
    message = failure(done.folder, **change)
    assert named in message
    assert "another folder" in message
    assert (contents(done.folder), (done.folder / "comparison.json").read_bytes()) == before


def test_a_comparison_can_be_resumed_with_any_runtime(done: Comparison) -> None:
    runtime = RuntimeConfig(device="cpu", workers=1, devices=2, autosave_minutes=1)
    assert compared(done.folder, runtime=runtime).rows == done.rows


def test_no_runtime_setting_is_part_of_a_fingerprint(done: Comparison) -> None:
    def names(fingerprint: dict[str, Any]) -> set[str]:
        nested = (names(value) for value in fingerprint.values() if isinstance(value, dict))
        return set(fingerprint).union(*nested)

    recipe = set(TrainingConfig.model_fields)
    for row in done.rows:
        assert names(row.fingerprint).isdisjoint(RuntimeConfig.model_fields)
        assert row.seed is None or recipe <= names(row.fingerprint)


def test_a_comparison_of_another_format_is_refused(done: Comparison, tmp_path: Path) -> None:
    text = (done.folder / "comparison.json").read_text()
    (tmp_path / "comparison.json").write_text(text.replace("comparison 2", "comparison 1"))
    assert "written by another version" in failure(tmp_path)


def test_a_model_is_identified_by_its_content(done: Comparison, tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((done.folder / "u-net-2-seed0.safetensors").read_bytes())
    method = ModelMethod(name="mine", model=copy)
    compared(tmp_path / "out", [method])
    copy.write_bytes((done.folder / "u-net-2-seed1.safetensors").read_bytes())
    assert "method.model" in failure(tmp_path / "out", [method])


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my life's work")
    assert "is not empty" in failure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert "OutputError" in failure(tmp_path / "thesis.txt")


def test_a_damaged_row_is_reported(done: Comparison, tmp_path: Path) -> None:
    compared(tmp_path, [WIENER])
    row = tmp_path / "rows" / "wiener.json"
    row.write_text(row.read_text()[:-50])
    assert f"{row}: is damaged" in failure(tmp_path, [WIENER])
    (tmp_path / "comparison.json").write_text("[]")
    with pytest.raises(OutputError, match="is not a comparison"):
        Comparison.load(tmp_path)
    with pytest.raises(OutputError, match="no such file"):
        Comparison.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["A b", "a-B"], "too similar to 'A b'"),
        (["Blurred"], "too similar to 'blurred'"),
        (["sharp"], "too similar to 'sharp'"),
        (["--"], "has no letter"),
        (["U-Net, seed0"], "looks like a seed"),
        ([], "nothing to compare"),
    ],
)
def test_methods_have_distinct_names(tmp_path: Path, names: list[str], problem: str) -> None:
    methods = [WIENER.model_copy(update={"name": name}) for name in names]
    assert problem in failure(tmp_path / "out", methods)
    assert not (tmp_path / "out").exists()


def test_an_unusable_model_is_reported_before_any_training(
    done: Comparison, tmp_path: Path
) -> None:
    larger = PSFField.from_lens(GaussianLens(), (40, 40))
    model = ModelMethod(name="model", model=done.folder / "u-net-2-seed0.safetensors")
    assert FrameMismatchError.__name__ in failure(tmp_path / "out", [UNET, model], psf_field=larger)
    absent = ModelMethod(name="absent", model=tmp_path / "absent.safetensors")
    assert ModelError.__name__ in failure(tmp_path / "out", [UNET, absent])
    assert not (tmp_path / "out").exists()


# Nothing leaks


def test_a_test_image_in_the_training_folder_is_refused(tmp_path: Path) -> None:
    for folder, numbers in {"sharp": (0, 1, 2), "test": (3, 1)}.items():
        for number in numbers:
            path = tmp_path / folder / f"{folder}{number}.tif"
            write_image(path, Image(SHARP[number], "YX"))
    message = failure(tmp_path / "out", images=tmp_path / "sharp", test=tmp_path / "test")
    assert message.startswith(ImageError.__name__)
    assert "test1.tif" in message
    assert "sharp1.tif" in message
    assert not (tmp_path / "out").exists()


def test_test_images_are_given_or_drawn_and_can_be_limited(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"test_images": 2})
    given = compared(tmp_path / "given", [WIENER], config, test=spots(3, seed=5))
    held = compared(tmp_path / "held", [WIENER], CONFIG.model_copy(update={"test_fraction": 0.5}))
    assert [len(c.rows[0].image_psnr) for c in (given, held)] == [2, 3]


# Equal time


def test_networks_with_equal_time_take_the_steps_that_their_pace_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def estimate(
        *_: Any, config: TrainingConfig, **__: Any
    ) -> Generator[Event, None, ResourceEstimate]:
        yield from ()
        pace = 0.08 * config.network.features  # a step without validations, seconds
        return ResourceEstimate(pace, config.steps * pace, 0, 1, "cpu")

    monkeypatch.setattr("napari_coordgate.comparison.context.estimate_resources_events", estimate)
    network = UNetConfig(depth=2, base_channels=4)
    larger = NetworkMethod(name="large", network=network)
    config = CONFIG.model_copy(update={"minutes": 0.02, "seeds": 1})
    comparison = compared(tmp_path, [UNET, larger], config)
    assert [comparison.of(name)[0].steps for name in ("U-Net(2)", "large")] == [7, 3]
    assert compared(tmp_path, [UNET, larger], config).rows == comparison.rows


def test_too_little_time_is_reported(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"minutes": 1e-9})
    message = failure(tmp_path, [UNET], config)
    assert message.startswith(SettingsError.__name__)
    assert "give more minutes" in message
