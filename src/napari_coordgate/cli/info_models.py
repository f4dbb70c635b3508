"""Show what a model or a PSF field contains."""

from pathlib import Path
from typing import Any

from napari_coordgate.model import Model, is_checkpoint, is_universal
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

Description = dict[str, Any]


def psf_field_file_info(path: Path) -> Description:
    """Summary of the PSF field of a file."""
    return {"file": str(path), **psf_field_info(PSFField.load(path))}


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


def model_info(path: Path) -> Description:
    """Settings, measures and training of a model or checkpoint."""
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
