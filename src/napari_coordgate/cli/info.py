"""Show what a file contains: any kind that the program reads or writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from napari_coordgate.io import (
    IMAGE_SUFFIXES,
    Image,
    Scene,
    find_scenes,
    open_scene,
    plane_indices,
)
from napari_coordgate.io.lazy import LazyArray
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.io.zarr_stores import RemotePath, as_path, is_zip

Description = dict[str, Any]


def info_text(file: Path | None, *, system: bool, json: bool) -> str:
    """Description of a file, or of the system, as readable text or JSON."""
    if (file is None) != system:
        raise SettingsError("Name a file to describe, or give --system.")
    if file is None:
        from napari_coordgate.cli.info_system import system_info  # loads torch

        description = system_info()
    else:
        description = file_info(file)
    return to_json(description) if json else to_text(description)


def file_info(path: Path) -> Description:
    """Contents of a file as plain JSON values, with its ``kind``."""
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from napari_coordgate.cli.info_models import model_info  # loads torch

        return model_info(path)
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
        from napari_coordgate.cli.info_models import psf_field_file_info  # loads torch

        return psf_field_file_info(path)
    if kind == "gating maps":
        scenes = find_scenes(path)
        gates = {
            scene.name: list(open_scene(path, scenes, number).data.shape)
            for number, scene in enumerate(scenes)
        }
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
    missing = image.data.missing_planes if isinstance(image.data, LazyArray) else 0
    known = {
        "missing_planes": missing and f"{missing} of {sum(1 for _ in plane_indices(image))}",
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
