"""What a start of a batch has to do: what is missing, and what has changed since."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from napari_coordgate.batch.report import FileLine, History
from napari_coordgate.batch.sources import Source, state_of, target_names
from napari_coordgate.config import BatchConfig, FileConfig
from napari_coordgate.events import FileState

__all__ = ["Planned", "plan_files", "recipe_of"]


@dataclass(frozen=True)
class Planned:
    """What is to become of one file.

    Attributes
    ----------
    source : Source
        The file.
    target : str
        Its result, by the path within the folder of results.
    state : {"waiting", "current", "failed", "skipped"}
        Only those that wait are worked on.
    why : str
        What stands in the way of the others.
    replaces : bool
        The result is to take the place of an earlier one.
    """

    source: Source
    target: str
    state: FileState
    why: str = ""
    replaces: bool = False


def recipe_of(model: Path, config: BatchConfig) -> str:
    """Stands for all that a result depends on beside its source.

    Parameters
    ----------
    model : Path
        The checkpoint.
    config : BatchConfig
        The settings.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    settings = json.dumps(config.select(FileConfig).model_dump(mode="json"), sort_keys=True)
    with model.open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{weights} {settings}".encode()).hexdigest()[:16]


def plan_files(
    sources: list[Source],
    folder: Path,
    output: Path,
    config: BatchConfig,
    recipe: str,
    history: History,
    overwrite: bool,
) -> list[Planned]:
    """Decide for each file what is to become of it.

    Parameters
    ----------
    sources : list of Source
        The files.
    folder, output : Path
        Where they are, and where results go.
    config : BatchConfig
        The settings.
    recipe : str
        See `recipe_of`.
    history : History
        What earlier runs did.
    overwrite : bool
        Do all of them anew, and replace whatever has the names of their results.

    Returns
    -------
    list of Planned
        One for each source, in their order.
    """
    images = [source for source in sources if source.is_image and not source.problem]
    kept = {name: line.output for name, line in history.lines.items() if line.output is not None}
    targets = target_names([source.name for source in images], config.format, kept)

    def decide(source: Source) -> Planned:
        if source.problem:
            state: FileState = "failed" if source.is_image else "skipped"
            return Planned(source, "", state, f"{folder / source.name}: {source.problem}.")
        if not source.is_image:
            return Planned(source, "", "skipped", "it is no image, by its name")
        target = targets[source.name]
        if overwrite:
            return Planned(source, target, "waiting", replaces=True)
        line = history.lines.get(source.name)
        if line is not None and line.output != target:
            line = None
        is_other = history.folders.get(source.name) != str(folder)
        return _without_overwriting(source, target, output / target, recipe, line, is_other)

    return [decide(source) for source in sources]


def _without_overwriting(
    source: Source, name: str, target: Path, recipe: str, line: FileLine | None, is_other: bool
) -> Planned:
    """Decide by what stands at the target, and what the report tells of it."""
    there = state_of(target) if target.exists() or target.is_symlink() else None
    if there is None:
        return Planned(source, name, "waiting")
    if line is not None and line.outcome == "started" and there[0] == 0:
        # Where there are no hard links, a name is taken by an empty file just before the end.
        return Planned(source, name, "waiting", replaces=True)
    taken = f"{target} already exists"
    advice = "move it, choose another folder, or pass --overwrite"
    if line is None or line.outcome == "failed":
        return Planned(source, name, "failed", f"{taken}, and no batch has made it here; {advice}.")
    before = line.output_size, line.output_modified_ns
    # What was there at the start, or at the end, is there still.
    is_unchanged = there == before
    is_whole = is_unchanged if line.outcome == "done" else not is_unchanged
    same_source = (line.size, line.modified_ns) == source.state
    if is_whole and same_source and line.recipe == recipe:
        return Planned(source, name, "current")
    if is_other and not same_source:
        return Planned(source, name, "failed", f"{taken}, of a file in another folder; {advice}.")
    if line.outcome == "done" and not is_unchanged:
        return Planned(
            source, name, "failed", f"{taken}, and was changed after its batch; {advice}."
        )
    return Planned(source, name, "waiting", replaces=True)
