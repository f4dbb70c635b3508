"""What deblurs images: a model for one lens, or a method that works with the blur of any lens."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_coordgate.config import (
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    Lens,
    RichardsonLucyConfig,
    UniversalConfig,
    as_deconvolution,
    load_lens,
    measured_frame,
)
from napari_coordgate.config.deconvolution import METHODS
from napari_coordgate.errors import ModelError, PSFError, SettingsError
from napari_coordgate.inference.alignment import FrameAlignment, lens_frame
from napari_coordgate.inference.channels import (
    AnyDeblurrer,
    ChannelDeblurrer,
    lens_at,
    stated_wavelengths_nm,
)
from napari_coordgate.inference.deblurrers import Deblurrer, build_deblurrer
from napari_coordgate.io import Image
from napari_coordgate.io.image import selected_elements
from napari_coordgate.io.lens_library import LENS_SUFFIXES
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

AnyBlur = PSFField | Lens | GaussianLens | str | Path
"""Blur of a lens: its PSF field, the lens, or the file of either."""
AnyMethod = Model | UniversalModel | AnyBlur
"""What deblurs: a model, the name of a method or its universal model, or a blur alone."""

AnyOf = TypeVar("AnyOf")
"""Method of a channel, loaded or not."""

_TIFF, _YAML = (".tif", ".tiff"), LENS_SUFFIXES
_BLUR_NEEDED = "pass psf_field: a PSF field, a lens, or the file of either."


@dataclass(frozen=True, eq=False)
class DeblurMethod:
    """A method of deblurring with its files loaded; threads may share it."""

    source: Model | PSFField | Lens | GaussianLens
    config: DeblurConfig
    """Settings; the deconvolution is set unless the source is a model."""
    runtime: DeblurRuntime
    universal: UniversalModel | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    channels: Mapping[str, DeblurMethod] = field(default_factory=dict)
    """Methods of channels, by name or number, if there are several; the first is also this one."""
    _latest: dict[float | None, tuple[Model | PSFField, Deblurrer]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: AnyMethod | Mapping[str, AnyMethod] | DeblurMethod,
        psf_field: AnyBlur | None,
        config: DeblurConfig,
        runtime: DeblurRuntime,
    ) -> DeblurMethod:
        """Method of the arguments of `deblur`; raises what is wrong with them or their files."""
        if isinstance(model, DeblurMethod):  # loaded before, for many images
            return model
        if isinstance(model, Mapping):
            if psf_field is not None or not model:
                raise SettingsError("Give each channel its model, PSF field or lens, and no other.")
            return cls._of_channels(model, config, runtime)
        universal = None
        if psf_field is None and not _is_method(model):
            source = _load(model)
            if isinstance(source, Model):
                return cls(source, _without_deconvolution(config), runtime)
        elif psf_field is None:
            what = "The universal model" if isinstance(model, UniversalModel) else model
            raise SettingsError(f"{what} needs the blur of the lens; {_BLUR_NEEDED}")
        else:
            source = _load_blur(psf_field)
            config, universal = _with_method(model, config)
        deconvolution = as_deconvolution(config.deconvolution)
        config = config.replace(deconvolution=deconvolution)
        if isinstance(deconvolution, RichardsonLucyConfig):
            deconvolution.check_camera(config.camera)
        if isinstance(deconvolution, UniversalConfig) and universal is None:
            universal = UniversalModel.load(deconvolution.weights)
        return cls(source, config, runtime, universal)

    @classmethod
    def _of_channels(
        cls, given: Mapping[str, AnyMethod], config: DeblurConfig, runtime: DeblurRuntime
    ) -> DeblurMethod:
        """Method with that of each channel; only those with a blur have a deconvolution."""
        loaded = {name: m if _is_method(m) else _load(m) for name, m in given.items()}
        plain = config.replace(deconvolution=None)
        is_mixed = len({isinstance(one, Model) for one in loaded.values()}) > 1
        methods = {
            name: cls.of(
                one, None, plain if is_mixed and isinstance(one, Model) else config, runtime
            )
            for name, one in loaded.items()
        }
        shared = max(methods.values(), key=lambda method: method.config.deconvolution is not None)
        return replace(shared, channels=methods)

    def of_selected(self, image: Image, channels: str | None) -> DeblurMethod:
        """Method for the selected channels of an image."""
        return replace(self, channels=selected_methods(self.channels, image, channels))

    def prepare(
        self,
        image: Image,
        origin: Any = None,
        cancel: threading.Event | None = None,
    ) -> tuple[Model | PSFField, Deblurrer]:
        """Model or PSF field for the frame of an image, and its deblurrer; the last ones are kept.

        The PSF field of a lens is made for the frame that the image shows.
        """
        return self._prepare(self._frame_shape(image, origin), None, cancel)

    def prepare_channels(
        self,
        image: Image,
        origin: Any = None,
        cancel: threading.Event | None = None,
    ) -> tuple[Model | PSFField, AnyDeblurrer]:
        """As `prepare`, but with a deblurrer for each channel that has its own blur or model.

        A lens, described by its pupil, has a PSF field for each stated emission wavelength.
        """
        if self.channels:
            methods = _in_order(self.channels, image)
            found = [method.prepare(image, origin, cancel) for method in methods]
            if len({reference.frame_shape for reference, _ in found}) > 1:
                raise SettingsError("The models of the channels are for frames of other sizes.")
            scalings = [deblurrer.scaling for _, deblurrer in found]
            if self.config.intensity == "per-stack" and scalings != scalings[:1] * len(found):
                raise SettingsError(
                    "The models of the channels scale intensities in other ways; scale them per "
                    "plane (--intensity per-plane)."
                )
        elif isinstance(self.source, Lens) and (waves := stated_wavelengths_nm(image)):
            shape = self._frame_shape(image, origin)
            found = [self._prepare(shape, wave, cancel) for wave in waves]
        else:
            return self.prepare(image, origin, cancel)
        return found[0][0], ChannelDeblurrer(image.axes.index("C"), found)

    def _prepare(
        self,
        shape: tuple[int, int] | None,
        wavelength_nm: float | None,
        cancel: threading.Event | None,
    ) -> tuple[Model | PSFField, Deblurrer]:
        """Model or PSF field for a frame, at a wavelength if given; kept for one frame."""
        with self._lock:
            if any(shape not in (None, kept.frame_shape) for kept, _ in self._latest.values()):
                self._latest.clear()
            if wavelength_nm not in self._latest:
                reference = self.source
                if isinstance(reference, Lens) and wavelength_nm is not None:
                    reference = lens_at(reference, wavelength_nm)
                if isinstance(reference, Lens | GaussianLens):
                    assert shape is not None
                    reference = PSFField.from_lens(reference, shape, cancel=cancel)
                deblurrer = build_deblurrer(reference, self.config, self.runtime, self.universal)
                self._latest[wavelength_nm] = (reference, deblurrer)
            return self._latest[wavelength_nm]

    def _frame_shape(self, image: Image, origin: Any) -> tuple[int, int] | None:
        """Frame for which a lens needs a PSF field; None if the source has a frame.

        A measured lens has the frame that it was measured on.
        """
        if not isinstance(self.source, Lens | GaussianLens):
            return None
        if isinstance(origin, FrameAlignment):
            return origin.frame_shape
        measured = measured_frame(self.source)
        if origin is None:
            return measured or lens_frame(image, self.source.pixel_size_um)
        if measured is None:
            raise SettingsError(
                f"{image.name} is a window of the frame, but the lens does not say how large the "
                "frame is; give a PSF field for the frame instead of the lens."
            )
        return measured


def selected_methods(
    methods: Mapping[str, AnyOf], image: Image, channels: str | None
) -> Mapping[str, AnyOf]:
    """Methods of the selected channels of an image, by ranges of their numbers among these."""
    if channels is None or not methods:
        return methods
    # Ranges, as a number may be the name of another channel.
    chosen = enumerate(_in_order(methods, image, channels))
    return {f"{number}:{number + 1}": method for number, method in chosen}


def _in_order(
    methods: Mapping[str, AnyOf], image: Image, channels: str | None = None
) -> list[AnyOf]:
    """Methods in the order of the selected channels; SettingsError if a channel has none."""
    names = image.channel_names
    count = image.data.shape[image.axes.index("C")] if "C" in image.axes else 0
    if not count:
        raise SettingsError(f"{image.name} has one channel; give one model or PSF field.")
    found: dict[int, AnyOf] = {}
    for name, method in methods.items():
        found |= dict.fromkeys(selected_elements(name, "channel", count, names, image.name), method)
    chosen = selected_elements(channels or ":", "channel", count, names, image.name)
    if missing := [n for n in chosen if n not in found]:
        listed = ", ".join(names[n] if names else str(n) for n in missing)
        raise SettingsError(
            f"{image.name}: no model or PSF field for channel {listed}; give one, or select the "
            f"other channels (--channels {','.join(methods)})."
        )
    return [found[n] for n in chosen]


def _is_method(model: AnyMethod) -> bool:
    """Whether this is the name of a method, or a universal model, and not a blur or its model."""
    return isinstance(model, UniversalModel) or (isinstance(model, str) and model in METHODS)


def _load(model: AnyMethod) -> Model | PSFField | Lens | GaussianLens:
    """Model or blur that is given as such, or by the path of its file."""
    if isinstance(model, Model | PSFField | Lens | GaussianLens):
        return model
    if not isinstance(model, str | Path):
        raise ModelError(
            f"Expected a model or a PSF field, got {type(model).__name__}; pass a Model or "
            "PSFField, or the file of either."
        )
    if Path(model).suffix.lower() in (*_TIFF, *_YAML):
        return _load_blur(model)
    return Model.load(model)


def _load_blur(blur: AnyBlur) -> PSFField | Lens | GaussianLens:
    """PSF field or lens that is given as such, or by the path of its file."""
    if isinstance(blur, PSFField | Lens | GaussianLens):
        return blur
    if not isinstance(blur, str | Path):
        raise PSFError(
            f"Expected a PSF field or a lens, got {type(blur).__name__}; pass a PSFField or Lens, "
            "or the file of either."
        )
    return load_lens(blur) if Path(blur).suffix.lower() in _YAML else PSFField.load(blur)


def _without_deconvolution(config: DeblurConfig) -> DeblurConfig:
    """Settings for a model, which has no method of deconvolution."""
    if config.deconvolution is not None:
        raise SettingsError(
            f"{config.deconvolution.method} needs a PSF field, not a model; pass the PSF field, or "
            "omit the deconvolution."
        )
    return config


def _with_method(
    model: AnyMethod, config: DeblurConfig
) -> tuple[DeblurConfig, UniversalModel | None]:
    """Settings with the method that is given beside a blur, and its universal model if given."""
    given, universal = config.deconvolution, None
    if isinstance(model, str) and model in METHODS:
        name, wanted = model, as_deconvolution(model)
    elif isinstance(model, UniversalModel):
        name, wanted, universal = "the universal model", UniversalConfig(), model
    elif isinstance(model, str | Path) and Path(model).suffix.lower() not in (*_TIFF, *_YAML):
        name, wanted = str(model), UniversalConfig(weights=Path(model))
        if isinstance(given, UniversalConfig):
            given = given.replace(weights=Path(model))
    else:
        raise SettingsError(
            "With psf_field, pass the name of a method or a universal model; a PSF field or a "
            "model for one lens is passed alone."
        )
    if given is not None and type(given) is not type(wanted):
        raise SettingsError(f"The settings are for {given.method}, but the method is {name}.")
    return config.replace(deconvolution=given or wanted), universal
