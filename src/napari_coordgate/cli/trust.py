"""Flag ``deblur --trust``: deblur an image, and say where the result can be trusted."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.cli.deblur import (
    ImageSource,
    MethodFiles,
    open_image,
    summary,
    write_image_settings,
)
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import image_output
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import BatchSettings, DeblurConfig, DeblurRuntime
from napari_coordgate.inference import DeblurResult, assess_events, output_dtype
from napari_coordgate.io import Image
from napari_coordgate.trust import TrustVerdict
from napari_coordgate.trust.files import MAPS, map_path


def assess_image(
    source: ImageSource,
    files: MethodFiles,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> None:
    """Deblur an image file, write its maps beside the result, and print the verdict."""
    paths = {name: map_path(output, word) for name, word in MAPS.items()}
    outputs = [output, *paths.values()]
    image, methods, settings = open_image(source, files, outputs, axes, given, overwrite)
    start = time.perf_counter()
    result = _write_result(image, methods, output, paths, origin, settings, overwrite)
    write_image_settings(output, files, settings, given, overwrite)
    say(f"{output}: Deblurred {summary(image, time.perf_counter() - start)}.")
    for name, map_file in paths.items():
        if getattr(result, name) is not None:
            say(f"{map_file}: {MAPS[name].replace('_', ' ')}")
    print_verdict(result.verdict)


def _write_result(
    image: Image,
    methods: Path | Mapping[str, Path],
    output: Path,
    paths: dict[str, Path],
    origin: tuple[int, int] | None,
    settings: BatchSettings,
    overwrite: bool,
) -> DeblurResult:
    """Deblur an image into files; they appear at the end."""
    shape, dtype = image.data.shape, output_dtype(image.data, settings)
    with cancel_on_signal() as cancel, ExitStack() as stack:

        def create(path: Path, kind: np.dtype[Any]) -> Any:
            file = image_output(
                path, image, shape, kind, overwrite, compression=settings.compression
            )
            return stack.enter_context(file)

        out = create(output, dtype)
        return follow(
            assess_events(
                image,
                methods,
                origin=origin,
                config=settings.select(DeblurConfig),
                runtime=settings.select(DeblurRuntime),
                out=out,
                create_map=lambda name: create(paths[name], np.dtype(np.float32)),
                cancel=cancel,
            )
        )


def print_verdict(verdict: TrustVerdict) -> None:
    """Print a verdict with its findings and what could not be judged."""
    say(f"verdict: {verdict.color}")
    for finding in verdict.findings:
        say(f"{finding.color}: {finding.message}")
    for note in verdict.notes:
        say(note)
