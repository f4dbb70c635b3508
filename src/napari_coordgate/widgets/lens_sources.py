"""Where the values of a lens come from: presets, calibrated lenses, the file of an image."""

from dataclasses import dataclass, replace

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QSignalBlocker

from napari_coordgate.config import (
    LENS_PRESET_NOTE,
    LENS_PRESETS,
    GaussianLens,
    Lens,
    describe_calibration,
    measured_frame,
)
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, Stated, kept_lens_for, kept_lenses, lens_from_metadata
from napari_coordgate.widgets.forms import ComboBox, NumberEditor, SettingsForm, label_of, unit_of
from napari_coordgate.widgets.layers import channel_of, file_image

SAME_PIXEL_SIZE = 0.01
"""Relative difference of pixel sizes that are the same up to rounding."""
GAUSSIAN_NOTE = "Assumed by the preset: both widths of the blur. Correct them."


@dataclass(frozen=True)
class LensOption:
    """A lens to choose, and a note on what it rests on; ``kept`` is the name of a kept one."""

    lens: Lens | GaussianLens
    note: str
    kept: str = ""


class LensChoice(ComboBox):
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


def with_pixel_size(lens: Lens, size_um: float) -> Lens:
    """Measured lens for other pixels: what it does depends on the place in the sample."""
    calibration, shape = lens.calibration, measured_frame(lens)
    if calibration is not None and shape is not None:
        height, width = (round(side * lens.pixel_size_um / size_um) for side in shape)
        calibration = calibration.model_copy(update={"frame_shape": (height, width)})
    return lens.model_copy(update={"pixel_size_um": size_um, "calibration": calibration})


def part_note(name: str, shape: tuple[int, int], measured: tuple[int, int] | None) -> str:
    """What to do with an image that does not show the frame that its lens was measured on."""
    if measured is None or shape == measured:
        return ""
    of = f"{format_shape(shape)} pixels, but the lens was measured on {format_shape(measured)}"
    if shape[0] > measured[0] or shape[1] > measured[1]:
        return f"{name} has {of}: measure the lens with images of this size."
    return f'{name} has {of}: say in Deblur where it begins ("Part of the frame").'


def pixel_note(name: str, size: tuple[float, float] | None, lens: Lens | GaussianLens) -> str:
    """What may be wrong with the pixels (y, x), in um, of an image; empty where nothing is."""
    pixel = lens.pixel_size_um
    if size is None or pixel is None:
        assumed = "" if pixel is None else f"; {pixel:g} µm is assumed"
        return f"{name} does not state its pixel size{assumed}: correct it below."
    if abs(size[0] / size[1] - 1) > SAME_PIXEL_SIZE:
        return (
            f"The pixels of {name} are not square ({size[0]:g} x {size[1]:g} µm), but the blur is "
            f"computed for square pixels of {pixel:g} µm: resample the image first."
        )
    if isinstance(lens, Lens) and pixel > lens.wavelength_nm / 2000 / lens.na:
        fine = lens.wavelength_nm / 4000 / lens.na
        return (
            f"Pixels of {pixel:g} µm are too large for an NA of {lens.na:g}: details below "
            f"{2 * pixel:.2g} µm are lost. Pixels of {fine:.2g} µm record all; is the size right?"
        )
    return ""


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
