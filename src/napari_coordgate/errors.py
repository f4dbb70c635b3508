"""Errors and warnings for users, and messages for invalid settings.

Every error of this family says in one line what was wrong, in which file or value, and what to
do. The command line prints that line and exits. Any other exception is a bug and keeps its
traceback.
"""

import difflib
import re
import reprlib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


class CoordGateError(Exception):
    """Base class of all errors that a user can act on.

    Raised only as one of its subclasses, or for a broken installation. Catch it to handle every
    expected failure (a bad file, setting, image or device) in one place; the message is one line
    that can be shown as it is.

    Examples
    --------
    >>> from napari_coordgate.io import read_image
    >>> try:
    ...     image = read_image("missing.tif")
    ... except CoordGateError as error:
    ...     print(error)
    missing.tif does not exist; check the name.
    """


class SettingsError(CoordGateError):
    """A setting, or a settings file, is invalid.

    Raised before any work is done. The message names the setting, the value given and what is
    allowed; correct it and call again.

    Examples
    --------
    >>> from napari_coordgate.config import load_lens
    >>> load_lens("missing.yaml")
    Traceback (most recent call last):
        ...
    napari_coordgate.errors.SettingsError: missing.yaml: no such file; check the name.
    """


class ImageError(CoordGateError):
    """An image cannot be read, or cannot be used.

    Raised if a file is missing, damaged, incomplete or of an unknown format, if its axes are
    unclear, or if its pixels are constant, NaN or infinite. Check or export the file again, or
    pass ``axes``. Files are loaded lazily, so it can also be raised when pixels are accessed.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate.io import Image
    >>> Image(np.zeros((64, 64), complex), "YX")
    Traceback (most recent call last):
        ...
    napari_coordgate.errors.ImageError: The image has complex128 pixels; use real numbers.
    """


class ConstantPlaneError(ImageError):
    """All pixels of a plane have the same value, so there is nothing to restore.

    One of several planes is copied instead, and a `Note` says so.

    Examples
    --------
    >>> issubclass(ConstantPlaneError, ImageError)
    True
    """


class OutputError(CoordGateError):
    """A result cannot be written, or would overwrite a file.

    Raised before the work starts where possible. Choose another name or folder, free disk space,
    or pass ``overwrite=True`` (``--overwrite``). An existing file is left unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate.io import Image, write_image
    >>> write_image("result.png", Image(np.zeros((4, 4)), "YX"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    napari_coordgate.errors.OutputError: Cannot write result.png: PNG cannot store float64 ...
    """


class PSFError(CoordGateError):
    """A lens or PSF field cannot be built, read or applied.

    Raised if PSFs are larger than the frame, vary too fast for the tolerance or are invalid
    (NaN, no positive sum), or if a PSF field file is damaged. Correct the lens or the measured
    PSFs, or create the PSF field again.
    """


class MeasuredPSFWarning(UserWarning):
    """Measured PSFs have a fault that was corrected or that the PSF field retains.

    Issued if windows have a background, are off center, have an even number of pixels or cut the
    PSF off, and if PSFs are left out. The message gives the amount; cut better windows, or subtract
    the background, if the correction is not what you want.
    """


class ToleranceWarning(UserWarning):
    """A PSF field of measured PSFs is less accurate than the requested tolerance.

    The message states the error of PSFs that were left out of the fit. Measure more or brighter
    PSFs, or increase the tolerance if this error is acceptable.
    """


class TrainingError(CoordGateError):
    """A training failed.

    Raised if the loss becomes NaN or infinite (choose a lower learning rate), or if a process of
    a distributed training was killed (resume from the last checkpoint, which is kept).
    """


class TrainingImagesWarning(UserWarning):
    """Some of the images of a training are not used, or do not suffice to validate it.

    Issued if images are unreadable, constant, NaN or too small, which are passed over, and if a
    single image has to serve for training and validation. The message names files and reasons.
    """


class ModelError(CoordGateError):
    """A model file or checkpoint cannot be read, or does not match its network.

    Raised if the file is damaged, is not a model of napari-coordgate, or was written by a newer
    version. Copy the file again or update the package.
    """


class FrameMismatchError(CoordGateError):
    """An image does not match the camera frame of a PSF field or model.

    A spatially varying blur is tied to pixel positions. For a crop pass its position in the frame
    (``origin``); for another camera or binning, use a PSF field or model made for it.
    """


class FrameMismatchWarning(UserWarning):
    """An image differs from the camera frame in size or pixel size, and is processed anyway.

    Issued if the image has another number of pixels but the same aspect ratio (it is assumed to
    show the whole frame with another binning, and is resampled), or if its pixel size differs.
    Pass the ``origin`` of a crop; use a PSF field or model for this pixel size.
    """


class LensMismatchError(CoordGateError):
    """An image contradicts the lens or the noise that a model or PSF field is for.

    Raised instead of a `LensMismatchWarning` if ``strict`` is set. Use a model or PSF field for the
    lens that the message suggests; measure it with ``calibrate``.
    """


class LensMismatchWarning(UserWarning):
    """An image contradicts the lens or the noise of a model or PSF field, and is deblurred anyway.

    Issued if the power spectra of the image show that deblurring would sharpen too much or
    amplify noise, see `check`. The result is probably worse than the image.
    """


class ResultRangeWarning(UserWarning):
    """Pixels of a result are far outside the range of the image.

    Issued if they are further outside than ten times the range of the gray values. The lens, the
    model or the noise are probably wrong for this image; look at the result before you use it.
    """


class DeviceMemoryError(CoordGateError):
    """The device ran out of memory.

    The message names settings that fit: a smaller tile, window or batch, or another device.
    """


class CanceledError(CoordGateError):
    """The job was canceled.

    Raised by a job whose ``cancel`` event was set. Files that were complete are kept; partial
    files are removed.
    """


_NUMBER = "must be a number"
_WHOLE_NUMBER = "must be a whole number"
_YES_OR_NO = "must be true or false"
_MESSAGES = {
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "must be a finite number",
    "int_parsing": _WHOLE_NUMBER,
    "int_type": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "bool_parsing": _YES_OR_NO,
    "bool_type": _YES_OR_NO,
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}
"""Messages by pydantic's type of error; other types keep pydantic's message."""

_MAX_LISTED = 20
"""Longer lists do not help: the file is probably no settings file."""

_REPR = reprlib.Repr()  # values given by a user may be of any size
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 200, 200


def format_validation_error(error: ValidationError, *models: type[BaseModel]) -> str:
    """Message, in one line, that names each invalid setting, its value and what is allowed.

    Unknown names get suggestions from the settings of ``models``, and missing settings what to do.
    """
    known = {path.rpartition(".")[2]: path for model in models for path in _dotted_names(model)}
    remedies = {name: text for model in models for name, text in _remedies(model)}
    items = error.errors()
    lines = [_format_detail(item, known, remedies) for item in items[:_MAX_LISTED]]
    more = [f"and {len(items) - len(lines)} more"] if len(items) > len(lines) else []
    return "; ".join(lines + more)


def format_error_detail(item: ErrorDetails) -> str:
    """Message for one invalid setting, one of the errors of a `ValidationError`."""
    return _format_detail(item, {}, {})


_UNION_TAG = re.compile("<[a-z_-]+>")
"""Name by which pydantic marks a class of a union in the location of an error."""


def _format_detail(item: ErrorDetails, known: dict[str, str], remedies: dict[str, str]) -> str:
    """Message for one invalid setting, with a suggestion from the known names or remedies."""
    loc, kind, given = [str(part) for part in item["loc"]], item["type"], item.get("input")
    is_unknown = kind == "extra_forbidden"  # an unknown name may look like a tag
    last = loc[-1:] if is_unknown else []
    parts = [part for part in loc[: len(loc) - len(last)] if not _UNION_TAG.fullmatch(part)] + last
    name = ".".join(parts)
    if is_unknown:
        similar = difflib.get_close_matches(parts[-1], known, n=1)
        meant = known[similar[0]] if similar else name
        advice = f"; did you mean {meant!r}?" if meant != name else ""
        return f"unknown setting {_REPR.repr(name)}{advice}"
    if kind == "missing" and name in remedies:
        return remedies[name]
    if kind == "literal_error":
        choices = str(item["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        message = f"must be one of {choices}"
    elif kind in _MESSAGES:
        message = _MESSAGES[kind].format(**item.get("ctx", {}))
    else:
        message = item["msg"].removeprefix("Value error, ")
    if kind not in ("missing", "value_error"):
        advice = "; write a decimal point" if kind == "float_parsing" and "," in str(given) else ""
        message += f" (given: {_REPR.repr(given)}{advice})"
    return f"{name}: {message}" if name else message


def _dotted_names(model: type[BaseModel]) -> Iterator[str]:
    """Dotted names of the settings of a pydantic model, nested models included."""
    for name, field in model.model_fields.items():
        yield name
        for kind in _models_in(field.annotation):
            yield from (f"{name}.{path}" for path in _dotted_names(kind))


def _remedies(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Settings of a model that say, in their schema, what to do if they are missing."""
    for name, field in model.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and "missing" in field.json_schema_extra:
            yield name, str(field.json_schema_extra["missing"])


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Pydantic models in a type annotation, such as those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
