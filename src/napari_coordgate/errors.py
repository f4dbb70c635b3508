"""Errors meant for the user, and what is wrong with settings in plain words.

Every error of this family says in one line what was wrong, with which file or
value, and what to do. The command line prints the line and exits. Any other
exception is a defect of ours and keeps its traceback.
"""

import difflib
import reprlib
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


class CoordGateError(Exception):
    """Base of all errors that a user can act on."""


class SettingsError(CoordGateError):
    """A setting, or a file of settings, that cannot be used."""


class ImageError(CoordGateError):
    """An image that cannot be read, or that holds nothing to work with."""


class OutputError(CoordGateError):
    """A result that cannot be written, or would overwrite something."""


class PSFError(CoordGateError):
    """A lens or PSF field that cannot be built, read or applied."""


class ToleranceWarning(UserWarning):
    """A PSF field that is less exact than was asked for."""


class TrainingError(CoordGateError):
    """A training that came to nothing."""


class ModelError(CoordGateError):
    """A checkpoint that cannot be read or does not rebuild its network."""


class FrameMismatchError(CoordGateError):
    """An image that is not the frame which a field or network was made for."""


class FrameMismatchWarning(UserWarning):
    """An image that is likely the frame at another size, and is treated as such."""


class DeviceMemoryError(CoordGateError):
    """The device ran out of memory; the message names what would fit."""


class CanceledError(CoordGateError):
    """The job was canceled by its user."""


_NUMBER = "must be a number"
_WHOLE_NUMBER = "must be a whole number"
_YES_OR_NO = "must be true or false"
_PHRASES = {
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
"""Our words for pydantic's types of error; those not named here keep pydantic's."""

MOST_COMPLAINTS = 20
"""Who has more wrong settings than these gave another kind of file."""

_BRIEFLY = reprlib.Repr()  # what was given may be of any size
_BRIEFLY.maxlevel, _BRIEFLY.maxstring, _BRIEFLY.maxother = 2, 200, 200


def format_validation_error(error: ValidationError, *models: type[BaseModel]) -> str:
    """One line that names each wrong setting, what it was and what is allowed.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    *models : type of BaseModel
        Models whose settings may have been meant by an unknown name.

    Returns
    -------
    str
        The line.
    """
    known = {path.rpartition(".")[2]: path for model in models for path in _paths(model)}
    items = error.errors()
    lines = [_complaint(item, known) for item in items[:MOST_COMPLAINTS]]
    more = [f"and {len(items) - len(lines)} more"] if len(items) > len(lines) else []
    return "; ".join(lines + more)


def format_error_detail(item: ErrorDetails) -> str:
    """What is wrong with one setting, one of the errors of a `ValidationError`."""
    return _complaint(item, {})


def _complaint(item: ErrorDetails, known: dict[str, str]) -> str:
    """What is wrong with one setting."""
    parts = [str(part) for part in item["loc"] if part not in ("pupil", "gaussian")]
    name, kind, given = ".".join(parts), item["type"], item.get("input")
    if kind == "extra_forbidden":
        similar = difflib.get_close_matches(parts[-1], known, n=1)
        meant = known[similar[0]] if similar else name
        advice = f"; did you mean {meant!r}?" if meant != name else ""
        return f"unknown setting {_BRIEFLY.repr(name)}{advice}"
    if kind == "literal_error":
        choices = str(item["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        message = f"must be one of {choices}"
    elif kind in _PHRASES:
        message = _PHRASES[kind].format(**item.get("ctx", {}))
    else:
        message = item["msg"].removeprefix("Value error, ")
    if kind not in ("missing", "value_error"):
        advice = "; write a decimal point" if kind == "float_parsing" and "," in str(given) else ""
        message += f" (given: {_BRIEFLY.repr(given)}{advice})"
    return f"{name}: {message}" if name else message


def _paths(model: type[BaseModel]) -> Iterator[str]:
    """Dotted names of a model's settings, and of those of the models in it."""
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{path}" for path in _paths(field.annotation))
