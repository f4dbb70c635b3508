"""Model files: one file restores the model, and a bad file is an error of one line."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_coordgate.config import Camera, CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.errors import ModelError, OutputError
from napari_coordgate.geometry import Window
from napari_coordgate.inference import deblur, gating_maps
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.io.model_header import FORMAT, FORMER_FORMAT, read_metadata
from napari_coordgate.model import CHECKSUM, Model, as_model
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField

FRAME = (24, 20)
CONFIG = TrainingConfig(
    network=CGUNetConfig(base_channels=4, depth=2), camera=Camera(photons=77), learning_rate=3e-4
)
FIELD = PSFField.from_lens(GaussianLens(sigma_edge_px=1.0, pixel_size_um=0.3), FRAME)


def example() -> Model:
    return Model(
        config=CONFIG,
        weights=build_network(CONFIG.network).state_dict(),
        frame_shape=FRAME,
        pixel_size_um=0.3,
        psf_field=FIELD,
        step=12,
        history=({"step": 6.0, "psnr": 20.5}, {"step": 12.0, "psnr": float("inf")}),
        metrics={"psnr": 1 / 3},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    example().save(path)
    return path


def assert_refused(path: Path, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as caught:
        Model.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1


def with_header(file: Path, **changes: Any) -> Path:
    """The file with some entries of its header changed, or removed where they are `...`."""
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()[FORMAT])
    header = {name: value for name, value in (header | changes).items() if value is not ...}
    save_file(load_file(file), file, {FORMAT: json.dumps(header)})
    return file


def test_a_loaded_model_equals_the_saved_one(file: Path) -> None:
    saved, loaded = example(), Model.load(file)
    for name in ("config", "frame_shape", "pixel_size_um", "step", "history", "metrics"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert loaded.weights.keys() == saved.weights.keys()


def test_the_noise_of_training_images_in_counts_is_recorded_in_electrons(tmp_path: Path) -> None:
    config = CONFIG.replace(camera=Camera(electrons_per_count=0.5))
    noise = Camera(photons=300, read_noise=2)
    replace(example(), config=config, noise=noise).save(tmp_path / "counts.safetensors")
    assert Model.load(tmp_path / "counts.safetensors").camera == noise


def test_a_file_without_the_noise_has_that_of_its_recipe(file: Path) -> None:
    assert Model.load(with_header(file, camera=...)).camera == Camera(photons=77)


def test_a_file_of_format_version_1_is_loaded(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()[FORMAT])
    runtime = {"device": "cpu", "devices": 2, "nodes": 1, "workers": 3, "autosave_minutes": 1.0}
    config = header["config"] | runtime
    config["network"] |= {"wiener_side": 5, "regularisation": 0.01}
    header |= {"version": 1, "progress": {}, "config": config}
    save_file(load_file(file), file, {FORMER_FORMAT: json.dumps(header)})
    loaded = Model.load(file)
    assert loaded.config == CONFIG
    assert loaded.header() == example().header() | {"history": loaded.header()["history"]}


def test_no_runtime_setting_is_in_the_header() -> None:
    assert example().header()["config"].keys() == TrainingConfig.model_fields.keys()


def test_as_model_accepts_a_model_or_its_path(file: Path) -> None:
    model = Model.load(file)
    assert as_model(model) is model
    for path in (file, str(file)):
        assert as_model(path).header() == model.header()


def test_a_model_deblurs_and_shows_its_gating_maps() -> None:
    model, image = example(), np.random.default_rng(0).random((2, *FRAME))
    np.testing.assert_array_equal(model.deblur(image, device="cpu"), deblur(image, model))
    assert model.gating_maps(longest_side=16)["down 1"].shape[1:] != model.frame_shape
    maps = model.gating_maps(Window(0, 0, 8, 10))
    assert maps.keys() == gating_maps(model).keys()
    assert {gate.shape[1:] for gate in maps.values()} >= {(8, 10)}


def test_a_loaded_psf_field_blurs_like_the_saved_one(file: Path) -> None:
    loaded = Model.load(file).psf_field
    assert loaded is not None
    assert np.array_equal(loaded.kernels, FIELD.kernels)
    assert np.array_equal(loaded.coefficients, FIELD.coefficients)
    assert (loaded.frame_shape, loaded.pixel_size_um) == (FRAME, 0.3)
    assert loaded.source == FIELD.source
    image = np.random.default_rng(0).random(FRAME)
    assert np.array_equal(loaded.blur(image), FIELD.blur(image))


def test_a_loaded_network_is_in_evaluation_mode_without_gradients(tmp_path: Path) -> None:
    model = example()
    model.save(tmp_path / "model.safetensors")
    network = Model.load(tmp_path / "model.safetensors").network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image, coordinates = torch.rand(1, 1, *FRAME), torch.rand(1, 2, *FRAME)
    assert torch.equal(network(image, coordinates), model.network(image, coordinates))


def test_a_model_of_measured_pairs_has_no_psf_field(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    replace(example(), psf_field=None, pixel_size_um=None).save(path)
    loaded = Model.load(path)
    assert loaded.psf_field is None
    assert loaded.pixel_size_um is None


def test_any_memory_layout_of_weights_is_saved(tmp_path: Path) -> None:
    weights = {
        name: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in example().weights.items()
    }
    replace(example(), weights=weights).save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors").weights
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_an_existing_file_is_kept_without_overwrite(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        replace(example(), step=99).save(file)
    assert file.read_bytes() == before
    replace(example(), step=99).save(file, overwrite=True)
    assert Model.load(file).step == 99
    assert list(file.parent.iterdir()) == [file]


def test_a_truncated_file_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for length in {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(whole) - 1}:
        file.write_bytes(whole[:length])
        assert_refused(file, "is not a complete model")


def test_a_changed_bit_is_noticed(file: Path) -> None:
    """In the weights it would only make the results worse."""
    whole = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in np.linspace(header, len(whole) - 1, 40, dtype=int):
        whole[position] ^= 4
        file.write_bytes(whole)
        assert_refused(file, "do not match their checksum")
        whole[position] ^= 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: w * torch.nan,
        lambda w: w / 0,
        torch.Tensor.half,
        torch.Tensor.double,
        lambda w: w.to(torch.float8_e5m2),
        lambda w: w.to(torch.complex64),
    ],
)
def test_weights_that_are_no_single_precision_numbers_are_refused(
    file: Path, damage: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    weights = {**example().weights}
    name = next(iter(weights))
    replace(example(), weights=weights | {name: damage(weights[name])}).save(file, overwrite=True)
    assert_refused(file, f"{name} (is not finite|has numbers of type)")


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, ...])
def test_an_unknown_version_is_refused(file: Path, version: Any) -> None:
    assert_refused(with_header(file, version=version), "version .*update napari-coordgate")


@pytest.mark.parametrize(
    "name", ["config", "frame_shape", "psf_field", "step", "history", "metrics"]
)
@pytest.mark.parametrize("value", [..., "text", [1]])
def test_a_damaged_header_is_refused(file: Path, name: str, value: Any) -> None:
    assert_refused(with_header(file, **{name: value}), "damaged")


def test_the_error_names_an_invalid_setting_in_the_header(file: Path) -> None:
    config = CONFIG.model_dump(mode="json") | {"momentum": 0.9}
    problem = "damaged header: unknown setting 'config.momentum'"
    assert_refused(with_header(file, config=config), problem)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frame_shape", [0, 20]),
        ("frame_shape", [24, -1]),
        ("pixel_size_um", "small"),
        ("pixel_size_um", -0.3),
        ("step", -1),
        ("metrics", {"psnr": "high"}),
        ("history", [{"psnr": None}]),
    ],
)
def test_an_invalid_value_in_the_header_is_refused(file: Path, name: str, value: Any) -> None:
    assert_refused(with_header(file, **{name: value}), f"damaged header: {name}")


def test_a_deeply_nested_header_is_refused(file: Path) -> None:
    save_file(load_file(file), file, {FORMAT: "[" * 100_000})
    assert_refused(file, "is not a complete model")


def test_weights_of_another_network_are_refused(file: Path) -> None:
    config = CONFIG.model_copy(update={"network": CGUNetConfig(base_channels=8, depth=2)})
    assert_refused(with_header(file, config=config.model_dump(mode="json")), "do not fit")


def test_a_missing_tensor_is_refused(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        metadata = {FORMAT: opened.metadata()[FORMAT]}  # a tampered file, without its checksum
    for name, problem in (("network.head.weight", "do not fit"), ("psf_field.kernels", "kernels")):
        tensors = load_file(file)
        del tensors[name]
        damaged = file.with_stem("damaged")
        save_file(tensors, damaged, metadata)
        assert_refused(damaged, problem)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert_refused(path, "no such file")
    save_file({"weight": torch.zeros(3)}, path)
    assert_refused(path, "not a model of napari-coordgate")
    save_file({"weight": torch.zeros(3)}, path, {FORMAT: "[1, 2]"})
    assert_refused(path, "damaged header")
    save_file({"weight": torch.zeros(3)}, path, {FORMAT: "{"})
    assert_refused(path, "is not a complete model")
    path.write_text("This is a text file.")
    assert_refused(path, "is not a complete model")
    path.unlink()
    path.mkdir()
    assert_refused(path, "is a folder")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_loading_executes_no_pickled_code(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Payload(trace)))
    assert_refused(path, "is not a complete model")
    torch.save({"network": Payload(trace)}, path)
    assert_refused(path, "is not a complete model")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists()


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"psnr": 30.25, "blurred_psnr": 24.15}, "6.1 dB better than the blurred images"),
        ({"psnr": 20.0, "blurred_psnr": 24.0}, "not better than the blurred images"),
        ({"psnr": 20.0}, "validation PSNR 20.00 dB"),
    ],
)
def test_the_quality_of_a_training_begins_with_the_gain(
    metrics: dict[str, float], said: str
) -> None:
    assert replace(example(), metrics=metrics).describe_validation().startswith(said)


@pytest.mark.parametrize("name", ["starter", "universal"])
def test_the_shipped_weights_have_a_checksum(name: str) -> None:
    assert CHECKSUM in read_metadata(sample_data_folder() / f"{name}.safetensors")
