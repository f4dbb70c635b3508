from __future__ import annotations

import gc
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from napari_coordgate import (
    CGUNetConfig,
    CoordConvUNetConfig,
    GaussianLens,
    Model,
    MultiWienerConfig,
    NetworkConfig,
    OutputError,
    PackageConfig,
    PSFField,
    SettingsError,
    TrainingConfig,
    build_network,
    export_model,
)
from napari_coordgate.cli.export import export_to
from napari_coordgate.errors import ModelError
from napari_coordgate.export import onnx_file
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.universal_model import shipped_path

FRAME = (26, 37)  # no multiples of the deepest level's pixels


def model_of(network: NetworkConfig) -> Model:
    """Model with random weights, gates included."""
    torch.manual_seed(0)
    psf_field = PSFField.from_lens(GaussianLens(), FRAME)
    weights = build_network(network, psf_field).state_dict()
    weights = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in weights.items()}
    return Model(TrainingConfig(network=network), weights, FRAME, 0.3, psf_field)


GATED = CGUNetConfig(depth=3, base_channels=4, gate_output="relu")


@pytest.mark.parametrize("baked_bytes", [onnx_file.BAKED_BYTES, 0])
@pytest.mark.parametrize("network", [GATED, CoordConvUNetConfig(depth=2, base_channels=4)])
def test_onnx_runtime_computes_what_the_network_does(
    network: NetworkConfig, baked_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "BAKED_BYTES", baked_bytes)
    model, path = model_of(network), tmp_path / "model.onnx"
    export_model(model, path)
    session = onnxruntime.InferenceSession(path)
    blurred = torch.rand(2, 1, *FRAME)
    with torch.inference_mode():
        coordinates = torch.from_numpy(frame_coordinates(FRAME))[None]
        expected = model.network(blurred, coordinates).numpy()
    (output,) = session.run(None, {"blurred": blurred.numpy()})
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)
    stated = session.get_modelmeta().custom_metadata_map
    assert json.loads(stated["frame_shape"]) == list(FRAME)
    assert json.loads(stated["pixel_size_um"]) == 0.3
    assert float(stated["high_percentile"]) == model.config.scaling.high_percentile
    assert "whole frame" in stated["position"]


def test_a_package_for_the_zoo_is_valid_and_its_test_image_comes_out(tmp_path: Path) -> None:
    from bioimageio.spec import load_model_description

    model, path = model_of(GATED), tmp_path / "model.zip"
    export_model(model, path, package=PackageConfig(author="A. B., Facility", license="CC0-1.0"))
    with zipfile.ZipFile(path) as package:
        package.extractall(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves files open
        described = load_model_description(path, perform_io_checks=True, format_version="latest")
        assert described.validation_summary.status == "valid-format"
        assert described.weights.onnx is not None
        assert described.weights.onnx.opset_version == 17
        del described
        gc.collect()
    blurred, expected = (np.load(tmp_path / f"test_{end}.npy") for end in ("input", "output"))
    low, high = np.percentile(blurred, (1, 99.8))
    scaled = ((blurred - low) / (high - low)).astype(np.float32)
    (output,) = onnxruntime.InferenceSession(tmp_path / "weights.onnx").run(
        None, {"blurred": scaled}
    )
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4)


def test_what_cannot_be_exported_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="Fourier transforms"):
        export_model(shipped_path(), path)
    with pytest.raises(ModelError, match="Fourier transforms"):
        export_model(model_of(MultiWienerConfig(depth=1, base_channels=2, wiener_side=2)), path)
    with pytest.raises(SettingsError, match=r"\.onnx or \.zip"):
        export_model(model_of(GATED), tmp_path / "model.pt")
    with pytest.raises(SettingsError, match="give an author"):
        export_to(shipped_path(), tmp_path / "model.zip", {"license": "CC0-1.0"}, False)
    with pytest.raises(SettingsError, match=r"\.zip"):
        export_to(shipped_path(), path, {"author": "A. B."}, False)
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"napari-coordgate\[export\]"):
        export_model(model_of(GATED), path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        export_model(model_of(GATED), path)
    assert path.read_text() == "mine"
