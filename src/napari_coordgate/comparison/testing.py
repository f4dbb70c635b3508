"""A method tested: its row, and the images that belong to it."""

from collections.abc import Callable, Generator, Iterator

import torch

from napari_coordgate.comparison import comparison as files
from napari_coordgate.comparison.footing import Entry, Footing
from napari_coordgate.comparison.measuring import Measurement, measure
from napari_coordgate.comparison.memory import peak_memory_bytes
from napari_coordgate.comparison.methods import Restorer, build_restorer
from napari_coordgate.comparison.rows import BLURRED, SHARP, Row, write_record
from napari_coordgate.config import Device, Method
from napari_coordgate.devices import resolve_device
from napari_coordgate.events import Event, Progress

__all__ = ["make_row"]

Share = Callable[[float], Iterator[Event]]


def make_row(
    entry: Entry,
    method: Method | None,
    footing: Footing,
    trained: tuple[int | None, float | None],
    came: Share,
) -> Generator[Event, None, Row]:
    """Test a method, and write its row, its error map and the first image that it restored.

    Parameters
    ----------
    entry : Entry
        Which row.
    method : Method or None
        The method, which needs no training any more; none: the blurred images as they are.
    footing : Footing
        What all rows stand on.
    trained : tuple
        Steps and seconds of its training.
    came : callable
        From the share of the test images that are done to events of the whole.

    Yields
    ------
    Progress
        After each test image.

    Returns
    -------
    Row
        The row, which is on disk.
    """
    training = footing.config.training
    restorer = Restorer(BLURRED, 0, lambda blurred, window: blurred)
    if method is not None:
        restorer = build_restorer(
            method,
            footing.field,
            camera=training.camera,
            device=footing.runtime.device,
            cancel=footing.cancel,
        )
    measured = yield from _with_share(measure(restorer, footing.held_back, footing.cancel), came)
    radius, errors = measured.tally.radial_error()
    steps, seconds = trained
    row = Row(
        method=entry.name,
        kind=entry.kind,
        seed=entry.seed,
        quality=measured.tally.means(),
        image_psnr=tuple(figures["psnr"] for figures in measured.tally.figures),
        radius=tuple(radius),
        radial_error=tuple(errors),
        parameters=restorer.parameters,
        steps=steps,
        training_seconds=seconds,
        inference_seconds=None if method is None else measured.seconds,
        peak_memory_bytes=None if method is None else _memory(method, footing),
        device=_device_name(footing.runtime.device),
        stem=entry.stem,
        fingerprint=entry.fingerprint,
    )
    _write(row, measured, footing)
    return row


def _with_share(
    events: Generator[Event, None, Measurement], came: Share
) -> Generator[Event, None, Measurement]:
    """Pass the events of a measurement on, each followed by what it means for the whole."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            measured: Measurement = end.value
            return measured
        yield event
        if isinstance(event, Progress):
            yield from came(event.done / event.total)


def _memory(method: Method, footing: Footing) -> int | None:
    if not footing.config.memory:
        return None
    training, pair = footing.config.training, footing.held_back.pair(0)
    return peak_memory_bytes(
        method, footing.field, training.camera, footing.runtime.device, pair, footing.cancel
    )


def _write(row: Row, measured: Measurement, footing: Footing) -> None:
    """Write a row after its images, so that it is there only when they are."""
    folder, pixel_size_um = footing.folder, footing.field.pixel_size_um
    images = {
        files.error_map_path(folder, row.stem): measured.tally.error_map(),
        files.example_path(folder, row.stem): measured.example,
    }
    if row.method == BLURRED:
        images[files.example_path(folder, SHARP)] = footing.held_back.pair(0).sharp
    for path, pixels in images.items():
        files.write_pixels(path, pixels, pixel_size_um)
    write_record(files.row_path(folder, row.stem), row)


def _device_name(device: Device) -> str:
    kind = resolve_device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads" if kind == "cpu" else kind
