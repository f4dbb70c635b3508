"""Messages of commands: names of files and channels may contain what a terminal would obey."""

import re

import typer

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, changes of direction, and halves of characters, which cannot be printed."""


def printable(text: object) -> str:
    """Text in which a terminal obeys nothing: such characters are replaced by their numbers."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: object, *, err: bool = False) -> None:
    """Print a text as a message of a command."""
    typer.echo(printable(text), err=err)
