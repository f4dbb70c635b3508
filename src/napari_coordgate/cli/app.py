"""The command line: the commands in the order of ``--help``."""

from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.cli.commands import calibrate
from napari_coordgate.cli.commands.deblur import (
    check,
    deblur,
    richardson_lucy,
    validate_shifted,
    wiener,
)
from napari_coordgate.cli.commands.lens import blur, lenses, psf
from napari_coordgate.cli.commands.train import compare, export, gates, train
from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.cli.verbosity import set_verbosity
from napari_coordgate.config import DemoConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.version import __version__

__all__ = ["app"]

app = typer.Typer(
    help="Deblur microscopy images that are sharp in the middle and soft at the edge.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEMO_FOLDER = "napari-coordgate-demo"


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Log what happens, with the traceback of an error; -vv: what libraries log, too.",
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print results, warnings and errors only: no progress."),
    ] = False,
) -> None:
    """Print the version, or the list of commands if none is given."""
    if quiet and verbose:
        raise SettingsError("Give --quiet or --verbose, not both.")
    set_verbosity(verbose, quiet=quiet)
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def info(
    file: Annotated[
        Path | None, typer.Argument(help="Model, PSF field, settings or image.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    system: Annotated[
        bool, typer.Option("--system", help="Show the versions and the device that is used.")
    ] = False,
) -> None:
    """Show what a file contains, or what the program runs on."""
    from napari_coordgate.cli.info import info_text
    from napari_coordgate.cli.messages import say

    say(info_text(file, system=system, json=json))


@settings_flags(DemoConfig)
def demo(
    given: CliSettings[DemoConfig],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="New or empty folder for the results; if given, the demo stays in the terminal.",
        ),
    ] = None,
    headless: Annotated[
        bool,
        typer.Option("--headless", help=f"Stay in the terminal and write to {DEMO_FOLDER}."),
    ] = False,
) -> None:
    """Run the whole workflow on sample images.

    The demo opens in napari if it is installed. In the terminal, it also fine-tunes the
    model and reports the gain of each step.
    """
    from napari_coordgate.cli.demo import can_open_a_window, open_demo, show_demo

    if headless or folder is not None or not can_open_a_window():
        show_demo(folder or Path(DEMO_FOLDER), given.settings())
    elif status := open_demo():
        raise typer.Exit(status)


def paper(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Replaced by ``python -m paper`` in a clone of the repository."""
    raise SettingsError("Figures of the paper are made by 'python -m paper FIGURE' in a clone.")


for command in (
    *(psf, lenses, blur, train, deblur, check, validate_shifted, wiener, richardson_lucy),
    *(gates, export, info, compare, demo),
):
    app.command()(command)
app.command(hidden=True, context_settings={"ignore_unknown_options": True})(paper)
app.add_typer(calibrate.app, name="calibrate")
