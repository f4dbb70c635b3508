"""What deblurs the channels of an image, if each has its own blur or model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_coordgate.calibration.checking import Check, Finding
from napari_coordgate.config import Camera, DeblurRuntime, Lens, Scaling, Selection
from napari_coordgate.geometry import Window
from napari_coordgate.inference.deblurrers import Deblurrer
from napari_coordgate.inference.mismatch import Mismatch, check_image, find_mismatch
from napari_coordgate.io import Image, PlaneIndex
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField


@dataclass(frozen=True)
class ChannelDeblurrer:
    """Model or PSF field, and deblurrer, of each channel along an axis of an image."""

    axis: int
    channels: Sequence[tuple[Model | PSFField, Deblurrer]]

    @property
    def scaling(self) -> Scaling:
        """Percentiles that are scaled to 0 and 1."""
        return self.channels[0][1].scaling

    @property
    def unit(self) -> str:
        """What a step is."""
        return self.channels[0][1].unit

    def steps(self, shape: tuple[int, int]) -> int:
        """Maximum number of steps for a plane (height, width)."""
        return max(deblurrer.steps(shape) for _, deblurrer in self.channels)

    def tile_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Shape of the pieces in which a plane (height, width) is written."""
        return self.channels[0][1].tile_shape(shape)


AnyDeblurrer = Deblurrer | ChannelDeblurrer
"""One deblurrer for all planes, or one for each channel."""


def deblurrer_of_plane(deblurrer: AnyDeblurrer, index: PlaneIndex) -> Deblurrer:
    """Deblurrer of a plane."""
    if not isinstance(deblurrer, ChannelDeblurrer):
        return deblurrer
    channel = index[deblurrer.axis]
    assert isinstance(channel, int)
    return deblurrer.channels[channel][1]


def stated_wavelengths_nm(image: Image) -> tuple[float | None, ...]:
    """Emission wavelength of each channel; none if there is no axis of channels, or none is stated.

    One channel selected from several has the wavelength that it has among these.
    """
    stated = tuple(None if wave is None else wave.value for wave in image.optics.wavelengths_nm)
    return stated if "C" in image.axes and any(stated) else ()


def lens_at(lens: Lens, wavelength_nm: float) -> Lens:
    """Lens at another wavelength: lengths stay, and so do the aberrations in waves as lengths."""
    ratio = lens.wavelength_nm / wavelength_nm
    scaled = {
        name: tuple(ratio * part for part in value) if isinstance(value, tuple) else ratio * value
        for name in Lens.model_fields
        if name.endswith("_waves")
        for value in [getattr(lens, name)]
    }
    return lens.replace(wavelength_nm=wavelength_nm, **scaled)


def find_mismatches(
    image: Image,
    reference: Model | PSFField,
    deblurrer: AnyDeblurrer,
    camera: Camera,
    window: Window,
    runtime: DeblurRuntime,
) -> Mismatch:
    """What contradicts the model or PSF field, or that of each channel."""
    if not isinstance(deblurrer, ChannelDeblurrer):
        found = find_mismatch(image, reference, camera, window, runtime)
        return found._replace(note=" ".join(filter(None, [found.note, _one_blur_note(image)])))
    all_found = [
        find_mismatch(channel, own, camera, window, runtime)
        for channel, own in _channels_with_blur(image, deblurrer)
    ]
    messages, notes = (dict.fromkeys(texts) for texts in zip(*all_found, strict=True))
    return Mismatch(" ".join(filter(None, messages)), " ".join(filter(None, notes)))


def check_channels(
    image: Image,
    reference: Model | PSFField,
    deblurrer: AnyDeblurrer,
    camera: Camera,
    window: Window,
    runtime: DeblurRuntime,
) -> Check | None:
    """Check of an image, or the worst finding of each kind where channels have their own blur."""
    if not isinstance(deblurrer, ChannelDeblurrer):
        return check_image(image, reference, camera, window, runtime)
    checks = [
        check_image(channel, own, camera, window, runtime)
        for channel, own in _channels_with_blur(image, deblurrer)
    ]
    found = [check for check in checks if check is not None]
    if not found:
        return None
    worst: dict[str, Finding] = {}
    for verdict in ("red", "amber", "green"):
        for finding in (one for check in found for one in check.findings):
            if finding.verdict == verdict:
                worst.setdefault(finding.subject, finding)
    notes = dict.fromkeys(note for check in found for note in check.notes)
    return Check(tuple(worst.values()), tuple(notes))


def _channels_with_blur(
    image: Image, deblurrer: ChannelDeblurrer
) -> Iterator[tuple[Image, Model | PSFField]]:
    """Each channel of an image, with its model or PSF field."""
    for number, (own, _) in enumerate(deblurrer.channels):
        # A range, as a number may be the name of another channel.
        yield image.select(Selection(channels=f"{number}:{number + 1}")), own


def _one_blur_note(image: Image) -> str:
    """Note that channels of several wavelengths have one blur; empty if they have not."""
    waves = [wave for wave in dict.fromkeys(stated_wavelengths_nm(image)) if wave]
    if len(waves) < 2:
        return ""
    listed = ", ".join(f"{wave:g}" for wave in waves)
    return (
        f"{image.name}: one PSF field or model for channels of {listed} nm; give a lens with its "
        "NA, whose PSFs are made for each wavelength, or a model or PSF field for each "
        "channel (-m DAPI=FILE -m GFP=FILE)."
    )
