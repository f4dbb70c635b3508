"""The one family of errors whose message is meant for the user.

Every error of this family says in one line what was wrong, with which file or
value, and what to do. The command line prints the line and exits. Any other
exception is a defect of ours and keeps its traceback.
"""

__all__ = [
    "CancelledError",
    "CheckpointError",
    "CoordGateError",
    "DeviceMemoryError",
    "FrameMismatchError",
    "FrameMismatchWarning",
    "ImageError",
    "OutputError",
    "PSFError",
    "SettingsError",
    "ToleranceWarning",
    "TrainingError",
]


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


class CheckpointError(CoordGateError):
    """A checkpoint that cannot be read or does not rebuild its network."""


class FrameMismatchError(CoordGateError):
    """An image that is not the frame which a field or network was made for."""


class FrameMismatchWarning(UserWarning):
    """An image that is likely the frame at another size, and is treated as such."""


class DeviceMemoryError(CoordGateError):
    """The device ran out of memory; the message names what would fit."""


class CancelledError(CoordGateError):
    """The job was cancelled by its user."""
