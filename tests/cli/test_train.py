from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml

from napari_coordgate.config import PRESETS, TrainingConfig, TrainingSettings, load_settings
from napari_coordgate.model import Model

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Start, World

TINY = ("--base-channels", 4, "--depth", 2, "--batch-size", 2, "--window-size", 32)


def same_weights(one: Path, other: Path) -> bool:
    weights = [Model.load(path).weights for path in (one, other)]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_leaves_its_settings_and_repeats_by_them(
    run: Run, world: World, tmp_path: Path
) -> None:
    settings = world.model.with_name("model.safetensors.yaml")
    assert (
        load_settings(TrainingSettings, settings).select(TrainingConfig)
        == Model.load(world.model).config
    )
    assert "train" in settings.read_text().splitlines()[0]
    training = ("train", world.sharp, "--psf", world.field)
    finished = run(*training, "-o", tmp_path / "again.safetensors", "--config", settings)
    assert finished.returncode == 0
    assert "Trained 4 steps" in finished.stdout
    assert finished.stderr == ""
    assert same_weights(world.model, tmp_path / "again.safetensors")


def test_flags_go_before_the_file(run: Run, world: World, tmp_path: Path) -> None:
    settings = world.model.with_name("model.safetensors.yaml")
    output = tmp_path / "unet.safetensors"
    training = ("train", world.sharp, "--psf", world.field, "-o", output, "--config", settings)
    flags = ("--network", "unet", "--no-residual", "--photons", 100, "--steps", 2)
    assert run(*training, *flags).returncode == 0
    config = Model.load(output).config
    assert config.network.architecture == "unet"
    assert not config.network.residual
    assert (config.network.features, config.camera.photons, config.steps) == (4, 100.0, 2)


@pytest.mark.parametrize("place", ["flag", "file"])
def test_steps_override_the_length_of_a_preset(
    run: Run, world: World, tmp_path: Path, place: str
) -> None:
    output, file = tmp_path / "m.safetensors", tmp_path / "run.yaml"
    file.write_text("steps: 2\n")
    training = ("train", world.sharp, "--psf", world.field, "-o", output, *TINY)
    steps = {"flag": ("--steps", 2), "file": ("--config", file)}[place]
    assert run(*training, "--preset", "paper", *steps).returncode == 0
    config, paper = Model.load(output).config, PRESETS["paper"]
    assert (config.sampling, config.schedule) == (paper.sampling, paper.schedule)
    assert (config.steps, config.epochs) == (2, None)


def test_a_preset_outweighs_the_run_that_is_gone_on_with_but_not_a_flag(
    run: Run, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "m.safetensors"
    training = ("train", world.sharp, "-o", output)
    assert run(*training, "--psf", world.field, *TINY, "--epochs", 1).returncode == 0
    longer = run(*training, "--resume", "--preset", "thorough", "--steps", 5)
    assert "Trained 5 steps" in longer.stdout
    assert Model.load(output).config.epochs is None


def test_an_unknown_preset_is_wrong_use_and_the_known_ones_are_named(
    run: Run, world: World, tmp_path: Path
) -> None:
    training = ("train", world.sharp, "--psf", world.field, "-o", tmp_path / "m.safetensors")
    finished = run(*training, "--preset", "best")
    assert finished.returncode == 2
    assert all(name in finished.stderr for name in PRESETS)


def test_epochs_beside_the_steps_of_a_file_count(run: Run, world: World, tmp_path: Path) -> None:
    output, file = tmp_path / "m.safetensors", tmp_path / "run.yaml"
    file.write_text("steps: 50\nepochs: 1\n")
    training = ("train", world.sharp, "--psf", world.field, "-o", output, *TINY)
    finished = run(*training, "--preset", "paper", "--config", file)
    assert "Trained 2 steps" in finished.stdout  # of two images, three to train on


def test_fine_tuning_takes_network_and_psf_field_from_the_checkpoint(
    run: Run, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "tuned.safetensors"
    training = ("train", world.sharp, "--init", world.model, "-o", output, "--batch-size", 2)
    assert run(*training, "--steps", 2, "--window-size", 32).returncode == 0
    tuned, first = Model.load(output), Model.load(world.model)
    assert tuned.config.network == first.config.network
    assert tuned.psf_field is not None
    assert not same_weights(output, world.model)


def test_a_flag_that_asks_for_another_network_than_the_checkpoint_is_wrong_use(
    run: Run, world: World, tmp_path: Path
) -> None:
    training = ("train", world.sharp, "--init", world.model, "-o", tmp_path / "m.safetensors")
    finished = run(*training, "--depth", 3, "--steps", 2)
    assert finished.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_measured_pairs_train_without_a_psf_field(run: Run, world: World, tmp_path: Path) -> None:
    output = tmp_path / "measured.safetensors"
    training = ("train", world.sharp, "--blurred", world.blurred.parent, "-o", output, *TINY)
    assert run(*training, "--steps", 2).returncode == 0
    assert Model.load(output).psf_field is None


def test_without_a_blur_or_with_two_it_is_wrong_use(run: Run, world: World, tmp_path: Path) -> None:
    training = ("train", world.sharp, "-o", tmp_path / "m.safetensors", "--steps", 1)
    both = ("--psf", world.field, "--blurred", world.blurred.parent)
    for blur in ((), both):
        finished = run(*training, *blur)
        assert finished.returncode == 2
        assert "--blurred" in finished.stderr


def test_outputs_are_not_overwritten_by_default(run: Run, world: World) -> None:
    before = {path: path.read_bytes() for path in world.model.parent.glob("model*")}
    finished = run("train", world.sharp, "--psf", world.field, "-o", world.model, "--steps", 1)
    assert finished.returncode == 1
    assert f"{world.model} already exists" in finished.stderr
    assert "--resume" in finished.stderr
    assert "--overwrite" in finished.stderr
    assert {path: path.read_bytes() for path in world.model.parent.glob("model*")} == before


def test_an_interrupted_run_saves_a_checkpoint_and_resumes(
    run: Run, start: Start, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "long.safetensors"
    last = tmp_path / "long.last.safetensors"
    training = ("train", world.sharp, "--psf", world.field, "-o", output)
    with start(*training, *TINY, "--steps", 1_000_000, "--validate-every", 2) as process:
        while not last.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("napari-coordgate: Stopped after")
    assert "--resume" in err
    step = json.loads(run("info", last, "--json").stdout)["step"]
    # Settings, network and PSF field are those of the run, without naming them again.
    resumed = run("train", world.sharp, "-o", output, "--resume", "--steps", step + 3)
    assert resumed.returncode == 0
    assert f"Trained {step + 3} steps" in resumed.stdout
    settings = yaml.safe_load((tmp_path / "long.safetensors.yaml").read_text())
    assert (settings["steps"], settings["network"]["base_channels"]) == (step + 3, 4)


def test_a_training_that_diverges_failed_and_was_no_wrong_use(
    run: Run, world: World, tmp_path: Path
) -> None:
    training = ("train", world.sharp, "--psf", world.field, "-o", tmp_path / "m.safetensors")
    network = ("--network", "unet", "--base-channels", 4, "--depth", 6, "--batch-size", 2)
    rate = ("--schedule", "plateau", "--learning-rate", 1, "--window-size", 32)
    finished = run(*training, *network, *rate)
    assert finished.returncode == 1
    assert "diverged" in finished.stderr


def test_resuming_beyond_the_requested_steps_is_an_error(run: Run, world: World) -> None:
    before = {path: path.read_bytes() for path in world.model.parent.glob("model*")}
    finished = run("train", world.sharp, "-o", world.model, "--resume", "--steps", 2)
    assert finished.returncode == 2
    assert "already at step 4; set steps to more" in finished.stderr
    assert {path: path.read_bytes() for path in world.model.parent.glob("model*")} == before


def test_our_own_products_are_no_images_to_train_on(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "sharp"
    folder.mkdir()
    assert run("gates", world.model, "-o", folder / "gates.tif").returncode == 0
    training = ("train", folder, "--psf", world.field, "-o", tmp_path / "m.safetensors")
    finished = run(*training, "--steps", 1)
    assert finished.returncode == 1
    assert "gates.tif contains gating maps" in finished.stderr
    (folder / "gates.tif").unlink()
    (folder / "field.tif").write_bytes(world.field.read_bytes())
    assert "field.tif contains a PSF field" in run(*training, "--steps", 1).stderr


def test_a_run_resumes_or_starts_over(run: Run, world: World, tmp_path: Path) -> None:
    flags = ("--init", world.model, "--resume", "-o", tmp_path / "m.safetensors")
    finished = run("train", world.sharp, *flags)
    assert finished.returncode == 2
    assert "--init" in finished.stderr
