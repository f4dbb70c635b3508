"""All figures by name."""

import threading
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Literal, cast, get_args

from napari_coordgate.data import Images
from napari_coordgate.events import Event
from napari_coordgate.io.files import sample_data_folder

__all__ = ["FIGURES", "Figure", "Scale", "run_figure"]

Figure = Literal["padding", "line", "lens", "ablation"]
Scale = Literal["small", "full"]

FIGURES: tuple[Figure, ...] = get_args(Figure)


def run_figure(
    figure: Figure,
    scale: Scale,
    output: Path,
    *,
    seeds: int | None = None,
    images: Images | None = None,
    test: Images | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Make a figure of the paper anew, with its data.

    Parameters
    ----------
    figure : {"padding", "line", "lens", "ablation"}
        Fig. 1; Fig. 3; Fig. 4b and 5; the supplement.
    scale : {"small", "full"}
        For two CPU cores, or the paper's on a GPU.
    output : Path
        Folder to write to; a second start does only what is missing.
    seeds : int, optional
        Trainings of each network; as the scale has it when not given.
    images, test : path, array or sequence of either, optional
        Sharp images to train and to test on, for ``lens`` and ``ablation``; the few sample
        images when not given. Without ``test`` a part of ``images`` is held back.
    cancel : threading.Event, optional
        Once set, the work is kept as it is and ends.

    Yields
    ------
    Progress, Preview
        Of the trainings and tests.
    Finished
        Once, at the end, with the files written.
    """
    # Each figure is loaded by itself: matplotlib and the networks take their time.
    run = import_module(f"paper.{figure}").run
    if figure in ("padding", "line"):
        return cast(Generator[Event], run(scale, seeds, output, cancel))
    if images is None:
        samples = sample_data_folder()
        images, test = samples / "train", samples / "test"
    return cast(Generator[Event], run(scale, seeds, output, images, test, cancel))
