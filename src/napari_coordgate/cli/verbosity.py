"""How much a command says (``-q``, ``-v``, ``-vv``), as a level of Python's logging."""

import logging
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from napari_coordgate.cli.messages import printable
from napari_coordgate.version import __version__

LOGGER = logging.getLogger("napari_coordgate")
"""WARNING: errors, warnings and results; INFO: notes and progress, too; DEBUG: tracebacks, too."""


class _Printable(logging.Formatter):
    """Formatter whose text contains nothing that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def logging_of_a_run() -> Iterator[None]:
    """Undo at the end what `set_verbosity` did."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        LOGGER.setLevel(logging.NOTSET)


def set_verbosity(verbose: int, *, quiet: bool) -> None:
    """Set the level of a run; of a verbose one, log to standard error."""
    LOGGER.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    LOGGER.debug("napari-coordgate %s, Python %s", __version__, platform.python_version())
    LOGGER.debug("%s on %s", shlex.join(sys.argv[1:]), platform.platform())


def is_quiet() -> bool:
    """Whether only errors, warnings and results are printed."""
    return LOGGER.level == logging.WARNING
