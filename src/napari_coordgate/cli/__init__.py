"""The command line, ``napari-coordgate``: every job of the library, one command each.

`app` holds the commands as their users see them and imports nothing heavy; what
a command does stands in the module of its name, imported when it runs.
"""

import atexit
import gc
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from napari_coordgate.cli.app import app
from napari_coordgate.errors import CanceledError, CoordGateError, SettingsError

__all__ = ["main"]

PROGRAM = "napari-coordgate"
FAILED, WRONG_USE, CANCELED = 1, 2, 130


def main() -> int:
    """Run the command line on the arguments of the process.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong use, 130 canceled.
    """
    # Or Python would search all of torch for garbage at its end, which takes a second.
    atexit.register(gc.freeze)
    try:
        with _terminating_like_ctrl_c(), _warnings_in_one_line():
            status = app(prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        return _end(f"{error.format_message().rstrip('.')}; see --help.", error.exit_code)
    except SettingsError as error:
        return _end(error, WRONG_USE)
    except CanceledError as error:
        return _end(error, CANCELED)
    except CoordGateError as error:
        return _end(error, FAILED)
    if status == CANCELED:
        return _end("Canceled.", CANCELED)
    return status or 0


@contextmanager
def _terminating_like_ctrl_c() -> Iterator[None]:
    """Make SIGTERM, which schedulers of clusters send, unwind like Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show what a warning says, and not where in the code it was said."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _end(message: object, status: int) -> int:
    _say(message)
    return status


def _say(message: object) -> None:
    """One line for the user, beside the results."""
    typer.echo(f"{PROGRAM}: {' '.join(str(message).split())}", err=True)
