"""Laws of a training: it learns, it repeats, it stops and goes on, and it loses nothing."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.config import CGUNetConfig, GaussianLens, RuntimeConfig, TrainingConfig
from napari_coordgate.errors import (
    CanceledError,
    CoordGateError,
    ImageError,
    ModelError,
    OutputError,
    SettingsError,
    TrainingImagesWarning,
)
from napari_coordgate.events import Event, Preview, Progress
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.model import Model, is_checkpoint
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.training import Checkpoint, train, train_events

FRAME = (32, 40)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), FRAME)
OTHER_FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.4), FRAME)
SMALL = TrainingConfig(
    network=CGUNetConfig(base_channels=4, depth=2),
    window_size=16,
    batch_size=2,
    steps=12,
    validate_every=4,
)
PLATEAU = {
    "schedule": "plateau",
    "ema_decay": 0.0,
    "epochs": 4,
    "patience_epochs": 1,
    "validate_every": None,
}

Pixels = NDArray[np.float32]


def with_(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(config.model_dump() | changes)


def blobs(number: int, shape: tuple[int, int] = (48, 56)) -> Pixels:
    """Smooth spots with sharp rims, as of cells."""
    rng = np.random.default_rng(0)
    y, x = np.indices(shape)
    images = np.zeros((number, *shape), np.float32)
    for image in images:
        for _ in range(12):
            center, radius = rng.uniform(0, shape, 2), rng.uniform(2, 6)
            image[np.hypot(y - center[0], x - center[1]) < radius] += rng.uniform(0.3, 1)
    return images + rng.normal(0, 0.01, images.shape).astype(np.float32)


SHARP = blobs(8)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def trained(config: TrainingConfig = SMALL, **arguments: Any) -> Model:
    return train(SHARP, FIELD, config=config, device="cpu", **arguments)


def failure(config: TrainingConfig = SMALL, sharp: Any = SHARP, **arguments: Any) -> CoordGateError:
    """The error of a run that fails, known to be one line and to have written nothing."""
    output = arguments.get("output")
    before = contents(output.parent) if output is not None and output.parent.is_dir() else {}
    with pytest.raises(CoordGateError) as caught:
        train(sharp, arguments.pop("psf_field", FIELD), config=config, **arguments)
    assert len(str(caught.value).splitlines()) == 1
    if output is not None and output.parent.is_dir():
        assert contents(output.parent) == before
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stopped_after(
    steps: int, config: TrainingConfig, output: Path, *, overwrite: bool = False
) -> CanceledError:
    """Error of a run that is canceled after some of its steps, or after reading its images."""
    cancel = threading.Event()
    last = ("training", steps) if steps else ("reading images", len(SHARP))

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and (event.stage, event.done) == last:
            cancel.set()

    with pytest.raises(CanceledError) as caught:
        trained(config, output=output, overwrite=overwrite, cancel=cancel, callback=watch)
    return caught.value


def assert_equal_weights(one: Model, other: Model) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name


# Learning


def test_one_batch_overfits() -> None:
    config = with_(
        SMALL,
        network={"base_channels": 16, "depth": 2},
        sampling="frame",
        augment=False,
        gain=1.0,
        batch_size=1,
        steps=200,
        learning_rate=4e-3,
    )
    image = SHARP[0, : FRAME[0], : FRAME[1]]
    with pytest.warns(TrainingImagesWarning):
        events = list(train_events(image, FIELD, config=config))
    losses = [e.metrics["loss"] for e in events if isinstance(e, Progress) and "loss" in e.metrics]
    assert losses[-1] < losses[0] / 30


def test_validation_improves_on_the_blurred_images() -> None:
    history = trained(with_(SMALL, steps=120, validate_every=40, learning_rate=5e-3)).history
    losses = [figures["validation_loss"] for figures in history]
    assert [figures["step"] for figures in history] == [40, 80, 120]
    assert losses == sorted(losses, reverse=True)
    # A residual network begins, up to its random head, at the blurred image.
    begun = trained(with_(SMALL, steps=1, learning_rate=1e-9)).history[-1]
    assert history[-1]["psnr"] > begun["psnr"] + 1
    assert len({figures["blurred_psnr"] for figures in history}) == 1


def test_every_part_of_the_network_is_trained() -> None:
    begun = trained(with_(SMALL, steps=1, learning_rate=1e-9, ema_decay=0))
    after = trained(with_(SMALL, ema_decay=0))
    for name, tensor in after.weights.items():
        assert not torch.allclose(tensor, begun.weights[name], atol=1e-6), name


def test_measured_pairs_are_trained_on() -> None:
    sharp = SHARP[:, :32, :40]
    blurred = FIELD.blur(sharp)
    model = train(sharp, config=SMALL, blurred=blurred)
    assert model.psf_field is None
    assert model.frame_shape == FRAME


# Events and what is left


def test_each_step_yields_an_event(output: Path) -> None:
    events = list(train_events(SHARP, FIELD, config=SMALL, output=output))
    steps = [e for e in events if isinstance(e, Progress) and e.stage == "training"]
    assert [(e.done, e.total) for e in steps] == [(n, 12) for n in range(1, 13)]
    assert all({"loss", "learning_rate"} <= e.metrics.keys() for e in steps)
    validated = [e.done for e in steps if "psnr" in e.metrics]
    previews = [e for e in events if isinstance(e, Preview)]
    assert validated == [e.step for e in previews] == [4, 8, 12]
    assert all(e.sharp.shape == e.blurred.shape == e.deblurred.shape == FRAME for e in previews)
    assert set(output.parent.iterdir()) == {output, last_checkpoint_path(output)}


def test_the_best_weights_are_kept_with_their_figures(output: Path) -> None:
    result = trained(output=output)
    saved = Model.load(output)
    assert_equal_weights(saved, result)
    last = Model.load(last_checkpoint_path(output))
    best = min(last.history, key=lambda figures: figures["validation_loss"])
    assert saved.metrics == {k: v for k, v in best.items() if k != "step"}
    assert saved.step == best["step"]
    assert saved.history == last.history[: last.history.index(best) + 1]
    assert saved.config == SMALL
    assert not is_checkpoint(output)
    assert is_checkpoint(last_checkpoint_path(output))
    assert {"psnr", "ssim", "psnr_center", "psnr_middle", "psnr_edge"} <= saved.metrics.keys()


def test_a_run_without_output_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained()
    assert not list(tmp_path.iterdir())
    image = torch.zeros(1, 1, *FRAME)
    assert model.network(image, torch.zeros(1, 2, *FRAME)).shape == image.shape


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_says_nothing_but_events(
    capfd: pytest.CaptureFixture[str], precision: str
) -> None:
    trained(with_(SMALL, steps=2, precision=precision))
    assert capfd.readouterr() == ("", "")


# Repetition


def test_a_run_repeats_bit_for_bit_and_leaves_other_random_numbers_alone() -> None:
    one = trained()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    again = trained()
    assert torch.equal(torch.rand(3), expected)
    assert_equal_weights(one, again)
    assert one.history == again.history
    other = trained(with_(SMALL, seed=1))
    assert not torch.equal(one.weights["head.weight"], other.weights["head.weight"])


# From 3.12 to 3.13 Python forks by default, and warns where torch has started threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_number_of_workers_changes_nothing() -> None:
    assert_equal_weights(trained(), trained(runtime=RuntimeConfig(workers=2)))


def test_initial_weights_depend_on_the_seed_only() -> None:
    first = trained(with_(SMALL, steps=1, learning_rate=1e-12, ema_decay=0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SMALL.seed)
        expected = build_network(SMALL.network).state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(first.weights[name], tensor, rtol=0, atol=1e-9)


@pytest.mark.parametrize("changes", [{}, PLATEAU], ids=["cosine and averaging", "plateau"])
@pytest.mark.parametrize("steps", [0, 5, 8])
def test_a_run_stopped_and_resumed_ends_as_one_that_was_not(
    tmp_path: Path, changes: dict[str, Any], steps: int
) -> None:
    config = with_(SMALL, **changes)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    expected = trained(config, output=whole)
    stopped_after(steps, config, parts)
    assert Model.load(last_checkpoint_path(parts)).step == steps
    resumed = trained(config, output=parts, resume=True)
    assert_equal_weights(resumed, expected)
    assert resumed.history == expected.history
    one, other = (Checkpoint.load(last_checkpoint_path(path)) for path in (whole, parts))
    assert one.model.header() == other.model.header()
    assert one.progress == other.progress
    assert_equal_weights(one.model, other.model)
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 20), (3, 7), (4, 5), (7, 3)])
def test_epochs_are_passes_over_all_images_whatever_the_batch(batch_size: int, steps: int) -> None:
    config = with_(SMALL, **PLATEAU | {"batch_size": batch_size})
    events = train_events(blobs(6), FIELD, config=config)  # five to train on, one held out
    done = [e.done for e in events if isinstance(e, Progress) and e.stage == "training"]
    assert done[-1] == steps


def test_a_plateau_halves_the_rate_when_nothing_is_gained() -> None:
    config = with_(SMALL, **PLATEAU | {"epochs": 8, "learning_rate": 1e-30})
    steps = [e for e in train_events(SHARP, FIELD, config=config) if isinstance(e, Progress)]
    rates = sorted({e.metrics["learning_rate"] for e in steps if "loss" in e.metrics})
    np.testing.assert_allclose(rates[::-1], 1e-30 * 0.5 ** np.arange(len(rates)))
    assert len(rates) == 28 // 4 - 1  # steps in all and between validations; the first one gains


# Stopping and going on


def test_cancel_saves_the_run_and_says_so(output: Path) -> None:
    assert "6 of 12 steps; resume" in str(stopped_after(6, SMALL, output))
    assert Model.load(last_checkpoint_path(output)).step == 6
    assert Model.load(output).step == 4


def test_cancel_before_a_validation_leaves_the_run_alone(output: Path) -> None:
    stopped_after(2, SMALL, output)
    assert list(output.parent.iterdir()) == [last_checkpoint_path(output)]
    assert not output.exists()


def test_a_resumed_run_forgets_the_model_that_it_replaces(output: Path) -> None:
    trained(with_(SMALL, seed=5), output=output)
    stopped_after(1, SMALL, output, overwrite=True)
    assert trained(output=output, resume=True).config == SMALL


def test_a_run_may_go_on_for_longer(output: Path) -> None:
    stopped_after(5, SMALL, output)
    longer = with_(SMALL, steps=16)
    assert trained(longer, output=output, resume=True).config == longer
    assert Model.load(last_checkpoint_path(output)).step == 16


def test_a_finished_run_resumes_to_its_end(output: Path) -> None:
    result = trained(output=output)
    assert_equal_weights(trained(output=output, resume=True), result)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"network": {"base_channels": 5, "depth": 2}}, "network"),
        ({"seed": 3}, "seed"),
        ({"camera": {"photons": 10}}, "camera"),
    ],
)
def test_going_on_with_other_settings_is_refused(
    output: Path, changes: dict[str, Any], name: str
) -> None:
    stopped_after(5, SMALL, output)
    before = last_checkpoint_path(output).read_bytes()
    error = failure(with_(SMALL, **changes), output=output, resume=True)
    assert isinstance(error, SettingsError)
    assert name in str(error)
    assert last_checkpoint_path(output).read_bytes() == before


def test_going_on_with_other_images_or_another_lens_is_refused(output: Path) -> None:
    stopped_after(5, SMALL, output)
    assert "number of sharp images" in str(failure(sharp=SHARP[:5], output=output, resume=True))
    assert "psf_field" in str(failure(psf_field=OTHER_FIELD, output=output, resume=True))


def test_only_a_stopped_run_can_be_gone_on_with(output: Path) -> None:
    assert isinstance(failure(output=output, resume=True), ModelError)
    assert isinstance(failure(resume=True), SettingsError)
    trained(output=output)
    assert isinstance(failure(output=output, init=output, resume=True), SettingsError)
    last_checkpoint_path(output).write_bytes(output.read_bytes())
    assert "finished model" in str(failure(output=output, resume=True))


# Fine-tuning


def test_fine_tuning_starts_from_the_weights_it_is_given(output: Path) -> None:
    first = trained(output=output)
    still = with_(SMALL, steps=1, learning_rate=1e-12)
    for init in (first, output, str(output)):
        tuned = trained(still, init=init)
        for name, tensor in first.weights.items():
            torch.testing.assert_close(tuned.weights[name], tensor, rtol=0, atol=1e-9)


def test_fine_tuning_another_network_is_refused(output: Path) -> None:
    trained(output=output)
    other = with_(SMALL, network={"base_channels": 5, "depth": 2})
    assert "another network" in str(failure(other, init=output))
    assert isinstance(failure(init=output.with_stem("absent")), ModelError)


# What goes wrong


def test_outputs_are_not_overwritten_by_default(output: Path) -> None:
    trained(output=output)
    before = output.read_bytes()
    error = failure(with_(SMALL, seed=1), output=output)
    assert isinstance(error, OutputError)
    assert "--overwrite" in str(error)
    assert output.read_bytes() == before
    output.unlink()
    assert str(last_checkpoint_path(output)) in str(failure(output=output))
    trained(with_(SMALL, seed=1), output=output, overwrite=True)
    assert output.read_bytes() != before


def test_a_checkpoint_has_its_suffix(tmp_path: Path) -> None:
    assert ".safetensors" in str(failure(output=tmp_path / "model.pt"))


def test_bad_images_fail_the_run_before_it_begins() -> None:
    assert isinstance(failure(sharp=np.zeros((2, 40, 40))), ImageError)
    assert isinstance(failure(psf_field=None), SettingsError)


def test_a_training_that_diverges_says_so(output: Path) -> None:
    network = {"architecture": "unet", "base_channels": 4, "depth": 6}
    config = with_(SMALL, network=network, schedule="plateau", learning_rate=1.0)
    assert "diverged at step 1" in str(failure(config, output=output))
