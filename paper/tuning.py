"""Settings of classical methods, chosen on images of the training, never of the test."""

import threading
from collections.abc import Generator, Mapping, Sequence

from napari_coordgate.comparison import build_restorer
from napari_coordgate.comparison.measuring import HeldBack
from napari_coordgate.config import Method, RichardsonLucyConfig, TrainingConfig, WienerConfig
from napari_coordgate.data import Images, SimulatedPairs, find_planes, prepare_pairs
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import PSFField

__all__ = ["tuned"]

IMAGES = 12
"""Training images on which settings are judged."""

Settings = WienerConfig | RichardsonLucyConfig


def tuned(
    candidates: Mapping[str, Sequence[Settings]],
    images: Images,
    field: PSFField,
    training: TrainingConfig,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, list[Method]]:
    """Methods by name, each with the settings that serve some training images best.

    Parameters
    ----------
    candidates : mapping of str to sequence of settings
        What each method may choose among.
    images : path, array or sequence of either
        Training images, of which the first ones are looked at.
    field : PSFField
        The blur.
    training : TrainingConfig
        Camera and scaling.
    cancel : threading.Event, optional
        Once set, the work ends.

    Yields
    ------
    Progress
        After each candidate.

    Returns
    -------
    list of Method
        The methods.

    Raises
    ------
    CanceledError
        If it was canceled.
    """
    planes = [plane.read() for plane in find_planes(images)[:IMAGES]]
    _, pairs = yield from prepare_pairs(training, planes, field, None, planes, cancel)
    assert isinstance(pairs, SimulatedPairs)
    stopwatch = Stopwatch("tuning classical methods", sum(map(len, candidates.values())))
    methods, done = [], 0
    for name, choices in candidates.items():
        reached: list[tuple[float, Method]] = []
        for settings in choices:
            raise_if_canceled(cancel, "Stopped while tuning classical methods.")
            kind = "wiener" if isinstance(settings, WienerConfig) else "richardson_lucy"
            method = Method.model_validate({"name": name, kind: settings})
            reached.append((_mean_psnr(method, pairs, field, training, cancel), method))
            done += 1
            yield stopwatch.progress(done)
        methods.append(max(reached, key=lambda pair: pair[0])[1])
    return methods


def _mean_psnr(
    method: Method,
    pairs: SimulatedPairs,
    field: PSFField,
    training: TrainingConfig,
    cancel: threading.Event | None,
) -> float:
    restorer = build_restorer(
        method, field, camera=training.camera, device=training.device, cancel=cancel
    )
    held_back = HeldBack(pairs)
    tested = (held_back.pair(number) for number in range(len(held_back)))
    values = [psnr(pair.sharp, restorer(pair.blurred, pair.window)) for pair in tested]
    return sum(values) / len(values)
