"""A lens that was fitted to images, with its error bars."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from napari_coordgate.calibration.lens_figures import field_figure, psf_figure
from napari_coordgate.calibration.report import Section, parameter_rows, write_report
from napari_coordgate.config import Lens, PSFFieldConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import save_lens
from napari_coordgate.optics import PSFField

ACCURACY = PSFFieldConfig()


@dataclass(frozen=True, eq=False)
class LensFit:
    """Lens that was fitted to images, with its error bars.

    Attributes
    ----------
    lens : Lens
        The lens. Its ``calibration`` says how it was measured, with the error bars.
    frame_shape : tuple of int
        (height, width) of the images, in pixels.
    standard_errors : mapping of str to float
        Standard errors of the parameters that were fitted, in their units, by name: that of a
        setting of the lens, and of pairs the end after a dot, such as ``"tilt_um.y"``.
    notes : tuple of str
        What the images cannot tell, for example the sign of the defocus.

    Examples
    --------
    >>> from napari_coordgate import load_lens
    >>> fit = LensFit(load_lens("sample_data/lens.yaml"), (96, 96), {"field_curvature_um": 0.2})
    >>> fit.psf_field().frame_shape
    (96, 96)
    """

    lens: Lens
    frame_shape: tuple[int, int]
    standard_errors: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def psf_field(
        self, frame_shape: tuple[int, int] | None = None, config: PSFFieldConfig = ACCURACY
    ) -> PSFField:
        """PSF field of the lens, by default on the frame of the images."""
        shape = frame_shape or self.frame_shape
        return PSFField.from_lens(self.lens, shape, config.tolerance, config.enclosed_energy)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the lens as a YAML file that `load_lens` reads; OutputError if that fails."""
        save_lens(self.lens, path, overwrite)

    def report(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write an HTML page with the parameters and figures; OutputError if that fails."""
        if Path(path).suffix.lower() not in (".html", ".htm"):
            raise SettingsError(f"{path}: the file name of a report must end in .html.")
        write_report(Path(path), "Lens calibration", self._sections(), overwrite)

    def lines(self) -> list[str]:
        """Each measured value with its standard error, such as ``defocus_um: 1.2 ± 0.1``."""
        rows = parameter_rows(self.lens, self.standard_errors)
        return [f"{name}: {' '.join(rest)}" for name, *rest in rows if name in self.standard_errors]

    def _sections(self) -> list[Section]:
        """Parts of the report, in their order."""
        rows = parameter_rows(self.lens, self.standard_errors)
        return [
            Section("Parameters", self.notes, ("parameter", "value", "standard error"), rows),
            *(Section(title, figure=figure) for title, figure in self._figures().items()),
        ]

    def _figures(self) -> dict[str, Figure]:
        """Figures of the report by their titles."""
        return {
            "Over the field": field_figure(self.lens, self.frame_shape),
            "PSFs over the frame": psf_figure(self.lens, self.frame_shape),
        }
