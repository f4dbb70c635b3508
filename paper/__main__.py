"""Command line: ``python -m paper FIGURE``, from a clone of the repository."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.errors import CanceledError, CoordGateError, SettingsError
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.io.locks import lock_folder

DOCS = Path(__file__).parents[1] / "docs"
HELP = """\
Reproduce a figure of the CoordGate paper: write FIGURE.json and FIGURE.png to a folder.

\b
padding   Fig. 1: zero padding reveals the position (seconds)
line      Fig. 3: which networks learn a blur that varies along a line (an hour)
lens      Fig. 4b and 5: networks and deconvolution behind a lens (hours)
ablation  supplement: variants of the CG U-Net (hours)
deconvolution  supplement: settings of Richardson-Lucy (minutes)
unrolled  supplement: unrolled Richardson-Lucy and its gates (hours)
page      build docs/paper.md from the data in docs/paper

Press Ctrl-C to cancel. Run the same command again to resume.
"""

app = typer.Typer(add_completion=False)


@app.command(help=HELP)
def main(
    figure: Annotated[
        Literal["padding", "line", "lens", "ablation", "deconvolution", "unrolled", "page"],
        typer.Argument(metavar="FIGURE", show_default=False),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Output folder; default: paper-FIGURE.")
    ] = None,
    scale: Annotated[
        Literal["small", "full"],
        typer.Option(help="small: for two CPU cores; full: as in the paper, for a GPU."),
    ] = "small",
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of trainings of each network; default: set by --scale."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Sharp training images; default: the sample images.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Sharp test images; default: a part of --images.")
    ] = None,
) -> None:
    """Run a figure or build the page."""
    if figure == "page":
        from paper.page import build_page

        (DOCS / "paper.md").write_text(build_page(DOCS / "paper"), encoding="utf-8")
        return
    if images is None and test is not None:
        raise SettingsError("--test needs --images, the images to train on.")
    options: dict[str, Any] = {} if figure == "padding" else {"seeds": seeds}
    if figure in ("lens", "ablation", "deconvolution", "unrolled"):
        samples = sample_data_folder()
        options["images"] = images or samples / "train"
        options["test"] = test if images else samples / "test"
    folder = output or Path(f"paper-{figure}")
    run_events = import_module(f"paper.{figure}").run_events  # only now: torch takes seconds
    taken = f"Another process writes to {folder}; wait until it ends, or choose another folder."
    with lock_folder(folder, taken), cancel_on_signal() as cancel:
        follow(run_events(folder, scale, cancel, **options))
    typer.echo(f"Wrote {folder / figure}.json and {folder / figure}.png.")


if __name__ == "__main__":
    try:
        app(prog_name="python -m paper")
    except CoordGateError as error:
        typer.echo(f"Error: {error}", err=True)
        usage, canceled = isinstance(error, SettingsError), isinstance(error, CanceledError)
        sys.exit(2 if usage else 130 if canceled else 1)
