"""Show what a file contains: any kind that the program reads or writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile
import yaml

from napari_coordgate.config import (
    Camera,
    DeblurSettings,
    PSFFieldConfig,
    Settings,
    TrainingSettings,
    load_lens,
    load_mapping,
    load_settings,
)
from napari_coordgate.errors import CoordGateError, ImageError, SettingsError
from napari_coordgate.events import pluralize
from napari_coordgate.io import IMAGE_SUFFIXES, Image, Scene, find_scenes, open_scene
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.io.zarr_stores import RemotePath, as_path, is_zip
from napari_coordgate.model import Model, is_checkpoint, is_universal
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

Description = dict[str, Any]


def file_info(path: Path) -> Description:
    """Contents of a file as plain JSON values, with its ``kind``."""
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _model_info(path)
    if suffix in (".yaml", ".yml"):
        return _settings_info(path)
    if suffix in (".tif", ".tiff"):
        return _tiff_info(path)
    if suffix in IMAGE_SUFFIXES or path.is_dir() or is_zip(path) or isinstance(path, RemotePath):
        return _image_info(path)
    if not path.exists():
        raise CoordGateError(f"{path} does not exist; check the name.")
    raise CoordGateError(
        f"{path} is not a file of napari-coordgate; give a model (.safetensors), "
        "a PSF field or image (.tif, .png, .npy), or settings (.yaml)."
    )


def to_json(description: Description) -> str:
    """Description as JSON text."""
    return json.dumps(description, indent=2)


def to_text(description: Description) -> str:
    """Description as readable text, without the training history."""
    shown = dict(description)
    if "history" in shown:
        shown["history"] = f"{pluralize(len(shown['history']), 'validation')} (see --json)"
    text = yaml.safe_dump(_rounded(shown), sort_keys=False, default_flow_style=None, width=100)
    return str(text).rstrip()


def psf_field_info(field: PSFField) -> Description:
    """Summary of a PSF field."""
    rows, columns = ((0, (side - 1) / 2, side - 1) for side in field.frame_shape)
    corners = [field.fwhm_px(row, column) for row in rows[::2] for column in columns[::2]]
    return {
        "kind": "PSF field",
        "frame_shape": list(field.frame_shape),
        "pixel_size_um": field.pixel_size_um,
        "psf_size_px": field.size,
        "rank": field.rank,
        **_flat_field_info(field),
        "fwhm_px": {"middle": field.fwhm_px(rows[1], columns[1]), "corners": corners},
        "source": field.source,
    }


def _flat_field_info(field: PSFField) -> Description:
    """Range of the gain, if there is a flat field."""
    if field.gain is None:
        return {}
    return {"flat_field": {"min": float(field.gain.min()), "max": float(field.gain.max())}}


def _model_info(path: Path) -> Description:
    if is_universal(path):
        return _universal_info(path)
    checkpoint = Model.load(path)
    field = checkpoint.psf_field
    return {
        "file": str(path),
        "kind": "checkpoint" if is_checkpoint(path) else "model",
        "frame_shape": list(checkpoint.frame_shape),
        "pixel_size_um": checkpoint.pixel_size_um,
        "parameters": sum(p.numel() for p in checkpoint.network.parameters()),
        "step": checkpoint.step,
        "metrics": checkpoint.metrics,
        "camera": checkpoint.camera.model_dump(mode="json", exclude_none=True),
        "psf_field": None if field is None else psf_field_info(field),
        "settings": checkpoint.config.model_dump(mode="json"),
        "history": list(checkpoint.history),
    }


def _universal_info(path: Path) -> Description:
    """Card, training and settings of a universal model."""
    model = UniversalModel.load(path)
    return {
        "file": str(path),
        "kind": "universal model",
        "step": model.step,
        "parameters": sum(weights.numel() for weights in model.weights.values()),
        "weights": model.digest,
        "card": model.card,
        "settings": model.config.model_dump(mode="json"),
        "history": list(model.history),
    }


def _settings_info(path: Path) -> Description:
    """Settings of the class that has most of the file's keys, with defaults filled in."""
    try:
        keys = set(load_mapping(path))
    except SettingsError:
        keys = set()  # the loader below reports the error
    models: dict[str, type[Settings]] = {
        "settings of a training or blur": TrainingSettings,
        "settings of a deblurring": DeblurSettings,
        "settings of a PSF field": PSFFieldConfig,
        "camera": Camera,
    }
    kind = max(models, key=lambda kind: len(keys & set(models[kind].model_fields)))
    if keys & set(models[kind].model_fields):
        settings: Settings = load_settings(models[kind], path)
    else:
        kind, settings = "lens", load_lens(path)
    return {"file": str(path), "kind": kind, "settings": settings.model_dump(mode="json")}


def _tiff_info(path: Path) -> Description:
    kind = coordgate_tiff_kind(path)
    if kind == "PSF field":
        return {"file": str(path), **psf_field_info(PSFField.load(path))}
    if kind == "gating maps":
        with tifffile.TiffFile(path) as tiff:
            gates = {series.name: list(series.shape) for series in tiff.series}
        return {"file": str(path), "kind": kind, "gates": gates}
    return _image_info(path)


def _image_info(path: Path) -> Description:
    scenes = find_scenes(path)
    if len(scenes) == 1:
        return {"file": str(path), "kind": "image", **_describe(open_scene(path, scenes, 0))}
    listed = [_scene_info(path, scenes, number) for number in range(len(scenes))]
    return {"file": str(path), "kind": pluralize(len(scenes), "image"), "scenes": listed}


def _scene_info(path: Path, scenes: Sequence[Scene], number: int) -> Description:
    """Description of one image of several, or why it cannot be read."""
    try:
        described = _describe(open_scene(path, scenes, number))
    except ImageError as error:
        described = {"problem": str(error)}
    return {"scene": scenes[number].name, **described}


def _describe(image: Image) -> Description:
    known = {
        "z_step_um": image.z_step_um,
        "time_step_s": image.time_step_s,
        "channels": list(image.channel_names),
        "colors": list(image.channel_colors),
        "optics": image.optics.described(),
        "processing": dict(image.processing or {}),
    }
    return {
        "axes": image.axes,
        "shape": list(image.data.shape),
        "dtype": image.data.dtype.name,
        "pixel_size_um": image.pixel_size_um and list(image.pixel_size_um),
        **{name: value for name, value in known.items() if value},
    }


def _rounded(value: Any) -> Any:
    """Copy of plain JSON values with floats rounded to four digits."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
