"""Where the values of a lens come from: presets, calibrated lenses, the file of an image."""

from dataclasses import dataclass, replace

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox

from napari_coordgate.config import (
    LENS_PRESET_NOTE,
    LENS_PRESETS,
    GaussianLens,
    Lens,
    describe_calibration,
)
from napari_coordgate.io import Image, Stated, kept_lens_for, kept_lenses, lens_from_metadata
from napari_coordgate.widgets.forms import NumberEditor, SettingsForm, label_of, unit_of
from napari_coordgate.widgets.layers import channel_of, file_image

GAUSSIAN_NOTE = "Assumed by the preset: both widths of the blur. Correct them."


@dataclass(frozen=True)
class LensOption:
    """A lens to choose, and a note on what it rests on; ``kept`` is the name of a kept one."""

    lens: Lens | GaussianLens
    note: str
    kept: str = ""


class LensChoice(QComboBox):
    """Choice among presets and the calibrated lenses that were kept."""

    def __init__(self) -> None:
        super().__init__()
        self.setPlaceholderText("as below")
        self.refresh()

    @property
    def option(self) -> LensOption | None:
        """Chosen lens; None if the lens in the form is another one."""
        option = self.currentData()
        assert option is None or isinstance(option, LensOption)
        return option

    def refresh(self) -> None:
        """Offer the lenses that are kept now, without emitting a signal."""
        chosen = self.currentText()
        with QSignalBlocker(self):
            self.clear()
            for name, lens in LENS_PRESETS.items():
                note = LENS_PRESET_NOTE if isinstance(lens, Lens) else GAUSSIAN_NOTE
                self.addItem(name, LensOption(lens, note))
            for name, kept in kept_lenses().items():
                assert kept.calibration is not None
                day = kept.calibration.date or "no date"
                self.addItem(f"{name} ({day})", LensOption(kept, lens_note(name, kept), name))
            self.setCurrentIndex(self.findText(chosen))

    def show_kept(self, name: str) -> None:
        """Show the kept lens of this name as the chosen one, without emitting a signal."""
        options = [self.itemData(index) for index in range(self.count())]
        names = [option.kept for option in options]
        self.show_index(names.index(name) if name in names else -1)

    def show_index(self, index: int) -> None:
        """Show an item as the chosen one, or none (-1), without emitting a signal."""
        with QSignalBlocker(self):
            self.setCurrentIndex(index)


def lens_note(name: str, lens: Lens | GaussianLens) -> str:
    """How a lens was measured, or its name alone."""
    if isinstance(lens, GaussianLens) or lens.calibration is None:
        return f"{name}."
    text = f"{name}: {describe_calibration(lens.calibration)}"
    error = lens.calibration.standard_errors.get("field_curvature_um")
    if error is not None:
        text += f", field curvature {lens.field_curvature_um:.3g} ± {error:.2g} µm"
    return f"{text}."


def with_file_optics(image: Image, layer: ImageLayer) -> Image:
    """Image of a layer with the objective and camera that the layer's file states."""
    stated = file_image(layer)
    return image if stated is None else replace(image, optics=stated.optics.select_channels(()))


def calibrated_option(layer: ImageLayer, image: Image) -> LensOption | None:
    """Kept lens that was calibrated for the objective of an image."""
    found = kept_lens_for(image, channel_of(layer, image))
    if found is None:
        return None
    name, lens = found
    assert image.optics.objective is not None
    chosen = f"Chosen for the objective of the image, {image.optics.objective.value}."
    return LensOption(lens, f"{lens_note(name, lens)} {chosen}", name)


def stated_values(layer: ImageLayer, image: Image) -> dict[str, Stated[float]]:
    """Values of the lens that the file of a layer states."""
    return lens_from_metadata(image, channel_of(layer, image))


def stated_note(stated: dict[str, Stated[float]], others: str) -> str:
    """Sources of the values of an image; ``others`` says what all others are."""
    values = [
        f"{label_of(name)} {item.value:g} {unit_of(name)}".strip() + f" ({item.source})"
        for name, item in stated.items()
    ]
    needed = {name for name, field in Lens.model_fields.items() if field.is_required()}
    missing = [label_of(name) for name in Lens.model_fields if name in needed - stated.keys()]
    names = ", ".join([*missing, label_of("field_curvature_um"), "aberrations"])
    return f"From the image: {'; '.join(values)}. Not stated: {names}; {others}."


def show_standard_errors(form: SettingsForm, lens: Lens | GaussianLens) -> None:
    """Show "± error" behind the values of a lens that were measured."""
    calibration = lens.calibration if isinstance(lens, Lens) else None
    errors = {} if calibration is None else calibration.standard_errors
    for name, editor in form.editors.items():
        if isinstance(editor, NumberEditor):
            ends = [("",)] if len(editor.boxes) == 1 else [(".y", ".0"), (".x", ".1")]
            keys = [[f"{name}{end}" for end in alternatives] for alternatives in ends]
            editor.show_errors(
                [next((errors[key] for key in of_box if key in errors), None) for of_box in keys]
            )
