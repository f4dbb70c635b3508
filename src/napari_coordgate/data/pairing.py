"""Pairing of measured sharp and blurred images by the names of their files."""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from napari_coordgate.data.planes import (
    Images,
    Plane,
    find_planes,
    folders_below,
    items_of,
    planes_of,
)
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, is_image

Pairing = list[tuple[Plane, Plane]]

_WORD = re.compile(r"[^\W\d_]+")
_MAX_NAMED = 3


def find_pairs(sharp: Images, blurred: Images) -> tuple[Pairing, list[str]]:
    """Pairs of planes of one shape, and a line for each file or pair that is passed over."""
    matched = _pair_items(sharp, blurred)
    if matched is None:
        return _of_one_shape(_pair_planes(find_planes(sharp), find_planes(blurred)))
    pairs: Pairing = []
    passed_over = [*folders_below(sharp), *folders_below(blurred)]
    for number, both in enumerate(matched):
        try:
            pairs += _pair_planes(*(planes_of(item, number) for item in both))
        except (ImageError, FrameMismatchError) as error:
            passed_over.append(str(error))
    pairs, others = _of_one_shape(pairs)
    return pairs, passed_over + others


def describe_pairs(pairs: Pairing) -> str:
    """Which files were paired, if their names differ."""
    names = [[Path(plane.name) for plane in pair] for pair in pairs]
    if all(one == other for one, other in map(_stems, names)):
        return ""
    shown = [f"{one.name} with {other.name}" for one, other in names]
    return f"Paired by name: {', '.join(shown[:_MAX_NAMED])}{_and_more(shown)}."


def _pair_items(sharp: Images, blurred: Images) -> list[tuple[Any, Any]] | None:
    """Pairs of sharp and blurred items, matched by name; None if they are given in order.

    Files are matched by their stems, else by the numbers and words in which the names of a side
    differ. The files of a folder have no other order: if names cannot tell, a FrameMismatchError
    says which have no partner.
    """
    items, others = items_of(sharp), items_of(blurred)
    names, partners = _names(items), _names(others)
    if names is not None and partners is not None:
        keys = _matching_keys(names, partners)
        if keys is not None:
            by_key = dict(zip(keys[1], others, strict=True))
            return [(item, by_key[key]) for item, key in zip(items, keys[0], strict=True)]
    if not (_is_folder(sharp) or _is_folder(blurred)):
        return None
    if names is None or partners is None:
        raise FrameMismatchError(
            f"{sharp if _is_folder(sharp) else blurred} is a folder, and its files cannot be "
            "matched with arrays; give two folders, or two lists in the same order."
        )
    raise _unmatched(names, partners)


def _pair_planes(sharp: Sequence[Plane], blurred: Sequence[Plane]) -> Pairing:
    """Pairs of planes in their order; a FrameMismatchError if their numbers differ."""
    if len(sharp) != len(blurred):
        raise FrameMismatchError(
            f"{len(sharp)} sharp and {len(blurred)} blurred images do not form pairs "
            f"({sharp[0].name}; {blurred[0].name}); give one blurred image for each sharp one, in "
            "the same order."
        )
    return list(zip(sharp, blurred, strict=True))


def _of_one_shape(pairs: Pairing) -> tuple[Pairing, list[str]]:
    """Pairs of the most frequent shape, and a line for each image that has another."""
    if not pairs:
        return [], []
    shapes = Counter(one.shape for one, other in pairs if one.shape == other.shape)
    frame = max(shapes, key=lambda shape: shapes[shape], default=pairs[0][0].shape)
    lines = [
        f"{plane.name} is {format_shape(plane.shape)} pixels, and not {format_shape(frame)}: "
        "measured pairs must all be whole frames of one size."
        for pair in pairs
        for plane in pair
        if plane.shape != frame
    ]
    kept = [pair for pair in pairs if all(plane.shape == frame for plane in pair)]
    if not kept:
        raise FrameMismatchError(lines[0])
    return kept, lines


def _is_folder(images: Images) -> bool:
    return isinstance(images, str | Path) and Path(images).is_dir() and not is_image(images)


def _names(items: Sequence[Any]) -> list[Path] | None:
    """Name of each file or image; None if one is an array."""
    named = [item.name if isinstance(item, Image) else item for item in items]
    names = [Path(name) for name in named if isinstance(name, str | Path)]
    return names if len(names) == len(items) else None


def _matching_keys(
    names: Sequence[Path], partners: Sequence[Path]
) -> tuple[list[Hashable], list[Hashable]] | None:
    """Keys of two groups of files by which they match one to one; None if no keys do."""
    for key_of in (_stems, _differences):
        keys, others = key_of(names), key_of(partners)
        if len(set(keys)) == len(keys) == len(others) and set(keys) == set(others):
            return keys, others
    return None


def _stems(paths: Sequence[Path]) -> list[Hashable]:
    """Names without suffixes, in lower case."""
    return [path.stem.lower().removesuffix(".ome") for path in paths]


def _differences(paths: Sequence[Path]) -> list[Hashable]:
    """Words that are not in all names, and numbers where the names have different ones."""
    stems = [str(stem) for stem in _stems(paths)]
    words = [Counter(_WORD.findall(stem)) for stem in stems]
    common = reduce(Counter.__and__, words)
    numbers = [[int(number) for number in re.findall(r"\d+", stem)] for stem in stems]
    if len({len(found) for found in numbers}) == 1:
        columns = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        numbers = [[column[n] for column in columns] for n in range(len(stems))]
    return [
        (frozenset((found - common).items()), *of_name)
        for found, of_name in zip(words, numbers, strict=True)
    ]


def _unmatched(names: Sequence[Path], partners: Sequence[Path]) -> FrameMismatchError:
    """Error that names files without a partner, by the keys that match most."""
    keys, others = max(
        ((key_of(names), key_of(partners)) for key_of in (_stems, _differences)),
        key=lambda both: len(set(both[0]) & set(both[1])),
    )
    alone = [path for path, key in zip(names, keys, strict=True) if key not in others]
    alone += [path for path, key in zip(partners, others, strict=True) if key not in keys]
    shown = ", ".join(map(str, alone[:_MAX_NAMED])) + _and_more(alone)
    which = f": {shown} {'has' if len(alone) == 1 else 'have'} no partner" if alone else ""
    return FrameMismatchError(
        f"{len(names)} sharp and {len(partners)} blurred files cannot be matched by the stems or "
        f"numbers of their names{which}; give each pair the same name or number, and move files "
        "without a partner to another folder."
    )


def _and_more(items: Sequence[object]) -> str:
    more = len(items) - _MAX_NAMED
    return f" and {more} more" if more > 0 else ""
