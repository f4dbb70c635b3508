import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from napari.layers import Image
from safetensors.torch import save_file

from napari_coordgate.config import GaussianLens, TrainingConfig, network_config
from napari_coordgate.errors import ModelError
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.inference import gating_maps
from napari_coordgate.model import Model
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.contributions import (
    get_image_reader,
    get_model_reader,
    get_psf_field_reader,
)
from napari_coordgate.widgets.layers import (
    LayerData,
    gate_layers,
    image_of,
    provenance,
    psf_field_of,
)

FRAME = (48, 64)


@pytest.fixture
def psf_field_file(tmp_path: Path) -> Path:
    path = tmp_path / "lens.psf.tif"
    lens = GaussianLens(sigma_edge_px=1.5, pixel_size_um=0.2)
    PSFField.from_lens(lens, FRAME, tolerance=0.03).save(path)
    return path


def build_model(architecture: str = "cg-unet", frame_shape: tuple[int, int] = FRAME) -> Model:
    torch.manual_seed(0)
    network = network_config(architecture=architecture, depth=3, base_channels=2)
    weights = build_network(network).state_dict()
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in weights.items()}
    return Model(TrainingConfig(network=network), weights, frame_shape, 0.2)


def read(path: Path) -> list[LayerData]:
    reader = get_model_reader(str(path))
    assert reader is not None
    return reader(str(path))


def test_checking_a_tiff_file_and_opening_a_sample_import_no_torch() -> None:
    code = (
        "import sys\n"
        "from napari_coordgate.widgets import contributions\n"
        "contributions.get_psf_field_reader('cells.psf.tif'), contributions.nuclei_sharp()\n"
        "print(sorted({'torch', 'napari', 'qtpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_a_psf_field_opens_as_a_layer_over_its_frame(psf_field_file: Path) -> None:
    reader = get_psf_field_reader(str(psf_field_file))
    assert reader is not None
    ((pixels, options, kind),) = reader(str(psf_field_file))
    layer = Image(pixels, **options)
    assert kind == "image" and layer.name == "lens psf field"
    assert layer.data.shape == FRAME
    np.testing.assert_allclose(layer.scale, 0.2)
    assert provenance(layer.metadata)["path"] == str(psf_field_file)
    psf_field = psf_field_of(layer.metadata)
    assert psf_field is not None
    assert psf_field.description() == PSFField.load(psf_field_file).description()


def test_several_psf_fields_open_as_several_layers(psf_field_file: Path) -> None:
    paths = [str(psf_field_file)] * 2
    reader = get_psf_field_reader(paths)
    assert reader is not None and len(reader(paths)) == 2


@pytest.mark.parametrize("content", [None, b"", b"II*\0 and nothing more", b"text"])
def test_other_tiff_files_are_left_to_napari(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "cells.psf.tif"
    if content is None:
        tifffile.imwrite(path, np.zeros((4, 5), np.uint8))
    else:
        path.write_bytes(content)
    assert get_psf_field_reader(str(path)) is None
    assert get_psf_field_reader(str(tmp_path / "missing.psf.tif")) is None


def test_each_scene_of_a_file_is_a_layer_that_is_read_when_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "positions.ome.tif"
    facts = {"axes": "CYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3}
    with tifffile.TiffWriter(path) as file:
        for name in ("left", "right"):
            file.write(np.zeros((2, 16, 12), "uint8"), metadata={**facts, "Name": name})
    layers = get_image_reader(str(path))(str(path))
    assert [options["name"] for _, options, _ in layers] == ["positions left", "positions right"]
    for pixels, options, _ in layers:
        assert not isinstance(pixels, np.ndarray)
        layer = Image(pixels, **options)
        assert layer.axis_labels == ("c", "y", "x")
        assert image_of(layer).pixel_size_um == (0.3, 0.2)


def test_a_model_opens_as_one_layer_per_gate(tmp_path: Path) -> None:
    model = build_model()
    model.save(tmp_path / "mine.safetensors")
    layers = read(tmp_path / "mine.safetensors")
    maps = gating_maps(model)
    for (pixels, options, kind), (gate, expected) in zip(layers, maps.items(), strict=True):
        assert kind == "image"
        assert options["name"] == f"mine {gate} ({len(expected)} channels)"
        np.testing.assert_array_equal(pixels, expected)
        assert provenance(options["metadata"])["settings"] == model.header()
    assert [options["visible"] for _, options, _ in layers] == [True, False, False, False]


@pytest.mark.parametrize("frame_shape", [FRAME, (50, 67)])
def test_the_pixels_of_a_gating_map_are_at_their_pooled_coordinates(
    tmp_path: Path, frame_shape: tuple[int, int]
) -> None:
    build_model(frame_shape=frame_shape).save(tmp_path / "mine.safetensors")
    pixel_um = 0.2
    for pixels, options, _ in read(tmp_path / "mine.safetensors"):
        layer = Image(pixels, **options)
        pooled = torch.from_numpy(frame_coordinates(frame_shape).astype(float))
        for _ in range(int(layer.name.split()[2]) - 1):
            pooled = torch.nn.functional.avg_pool2d(pooled, 2)
        for pixel in ((0, 0), tuple(n - 1 for n in pooled.shape[1:])):
            coordinates = pooled[:, pixel[0], pixel[1]].numpy()
            frame_pixel = ((coordinates + 1) * frame_shape - 1) / 2
            place_um = layer.data_to_world((0, *pixel))[1:]
            np.testing.assert_allclose(place_um, frame_pixel * pixel_um, atol=1e-5)


def test_coarse_maps_cover_the_same_frame() -> None:
    model, coarse = build_model(), build_model(frame_shape=(12, 16))
    for (_, fine, _), (_, options, _) in zip(
        gate_layers(model, gating_maps(model), "mine"),
        gate_layers(model, gating_maps(coarse), "mine"),
        strict=True,
    ):
        np.testing.assert_allclose(options["scale"][1:], 4 * np.array(fine["scale"][1:]))
        first_edge = np.array(options["translate"][1:]) - np.array(options["scale"][1:]) / 2
        np.testing.assert_allclose(first_edge, -0.1)


def test_tensors_of_other_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weights": torch.zeros(3)}, path)
    assert get_model_reader(str(path)) is None


def test_the_reader_reports_what_is_wrong_with_a_damaged_model(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    build_model().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors: is not a complete model"):
        read(path)


def test_a_model_without_gates_is_refused(tmp_path: Path) -> None:
    build_model("unet").save(tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match="no gates"):
        read(tmp_path / "plain.safetensors")
