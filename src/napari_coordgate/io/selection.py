"""Which channels, times and planes of an image a choice in words means."""

import itertools
import re
from collections.abc import Sequence

from napari_coordgate.errors import ImageError

__all__ = ["chosen", "spacing"]

_AXES = {"C": "channel", "T": "time", "Z": "plane"}


def chosen(text: str, letter: str, length: int, names: Sequence[str], image: str) -> Sequence[int]:
    """Places along an axis that a text names.

    Parameters
    ----------
    text : str
        Numbers from 0, ranges such as ``0:10`` or ``::2`` whose end is left out, and
        names of channels; several with commas between them.
    letter : {"C", "T", "Z"}
        The axis.
    length : int
        How many places it has; an image without the axis has one.
    names : sequence of str
        Names of the channels.
    image : str
        What the error calls the image.

    Returns
    -------
    sequence of int
        At least one number, none twice.

    Raises
    ------
    ImageError
        If there is no such place, or none is left.
    """
    named = list(names) if letter == "C" else []
    if text in named:
        return [named.index(text)]
    found: list[int] = []
    for item in map(str.strip, text.split(",")):
        try:
            found += [named.index(item)] if item in named else _numbers(item, length)
        except (IndexError, ValueError):
            raise _no_such(item, letter, length, named, image) from None
    if not found:
        raise _no_such(text, letter, length, named, image)
    return list(dict.fromkeys(found))


def spacing(step: float | None, numbers: Sequence[int] | None) -> float | None:
    """Step between places that were chosen.

    Parameters
    ----------
    step : float or None
        Step between all places.
    numbers : sequence of int, or None
        Those chosen; None for all.

    Returns
    -------
    float or None
        None also where the step varies.
    """
    if step is None or numbers is None or len(numbers) == 1:
        return step
    steps = {abs(after - before) for before, after in itertools.pairwise(numbers)}
    return step * steps.pop() if len(steps) == 1 else None


def _numbers(item: str, length: int) -> Sequence[int]:
    """Places that a number or a range means."""
    if re.fullmatch(r"-?\d*(:-?\d*){1,2}", item):
        return range(length)[slice(*(int(part) if part else None for part in item.split(":")))]
    return [range(length)[int(item)]]


def _no_such(item: str, letter: str, length: int, names: Sequence[str], image: str) -> ImageError:
    kind = _AXES[letter]
    last = f" (0 to {length - 1})" if length > 1 else " (0)"
    called = f", named {', '.join(names)}" if names else ""
    plural = "" if length == 1 else "s"
    return ImageError(
        f'{image} has no {kind} "{item}"; it has {length} {kind}{plural}{last}{called}.'
    )
