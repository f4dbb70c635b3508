"""The command line ``napari-coordgate``: one command for each function of the library.

`app` lists the commands and `commands` has their flags; both import nothing heavy. The code of a
command is in the module of its name, imported when the command runs.
"""

import atexit
import gc
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from napari_coordgate.cli.app import app
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.verbosity import LOGGER, logging_of_a_run
from napari_coordgate.errors import CanceledError, CoordGateError, SettingsError

__all__ = ["main"]

PROGRAM = "napari-coordgate"
FAILED, WRONG_USAGE, CANCELED = 1, 2, 130


def main() -> int:
    """Run the command line; return 0 (success), 1 (failure), 2 (wrong usage) or 130 (canceled)."""
    # Otherwise Python collects the garbage of all of torch at exit, which takes a second.
    atexit.register(gc.freeze)
    with logging_of_a_run():
        return _run()


def _run() -> int:
    """Run the command, and turn its end into an exit status."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return _end("The current folder was removed; change to another one.", FAILED)
    try:
        with _sigterm_as_ctrl_c(), _one_line_warnings():
            status = app(prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        return _end(f"{error.format_message().rstrip('.')}; see --help.", error.exit_code)
    except SettingsError as error:
        return _end(error, WRONG_USAGE)
    except CanceledError as error:
        return _end(error, CANCELED)
    except CoordGateError as error:
        return _end(error, FAILED)
    except MemoryError as error:
        return _end(f"The memory is too small ({error}); use a smaller image.", FAILED)
    if status == CANCELED:
        return _end("Canceled.", CANCELED)
    return status or 0


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM, which cluster schedulers send, like Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Print the message of a warning without its location in the code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _print_error(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _end(message: object, status: int) -> int:
    if isinstance(message, BaseException):
        LOGGER.debug("%s", message, exc_info=message)
    _print_error(message)
    return status


def _print_error(message: object) -> None:
    """Print one line to standard error."""
    say(f"{PROGRAM}: {' '.join(str(message).split())}", err=True)
