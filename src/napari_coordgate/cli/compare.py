"""Compare methods as a settings file describes."""

from pathlib import Path

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.comparison import Comparison, as_table, compare_events, summarize
from napari_coordgate.config import (
    ComparisonConfig,
    ComparisonFile,
    Device,
    Method,
    ModelMethod,
    RuntimeConfig,
    UniversalMethod,
    load_settings,
)
from napari_coordgate.optics import PSFField


def compare_methods(file: Path, output: Path, device: Device | None) -> None:
    """Compare the methods of a file, and print their table."""
    run = load_settings(ComparisonFile, file)
    folder = file.parent
    with cancel_on_signal() as cancel:
        comparison: Comparison = follow(
            compare_events(
                [_relative_to(method, folder) for method in run.methods],
                folder / run.images,
                PSFField.load(folder / run.psf),
                config=run.select(ComparisonConfig),
                runtime=run.select(RuntimeConfig),
                device=device,
                test=None if run.test is None else folder / run.test,
                output=output,
                cancel=cancel,
            )
        )
    say(as_table(comparison.rows))
    say(f"{summarize(comparison.rows)}; table and figures are in {output}.")


def _relative_to(method: Method, folder: Path) -> Method:
    """Method whose model file, if it has one, is relative to a folder."""
    if isinstance(method, UniversalMethod) and method.universal.weights is not None:
        settings = method.universal.replace(weights=folder / method.universal.weights)
        return method.model_copy(update={"universal": settings})
    if not isinstance(method, ModelMethod):
        return method
    return method.model_copy(update={"model": folder / method.model})
