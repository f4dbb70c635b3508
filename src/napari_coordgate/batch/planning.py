"""Decide what a batch has to do, and whether the results fit on the disk."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_coordgate.batch.report import TaskResult
from napari_coordgate.batch.sources import Source, is_inside, size_and_mtime, target_names
from napari_coordgate.batch.trust import TrustFigures, wants_trust
from napari_coordgate.batch.worker import Batch, Task, behind_link, read_source
from napari_coordgate.errors import OutputError
from napari_coordgate.events import FileStatus
from napari_coordgate.inference import output_dtype
from napari_coordgate.trust.files import MAPS, map_path

SAMPLED_FILES = 16
"""Number of files from which the size of all results is estimated."""
MIN_COMPRESSED_SIZE = {"ome-tiff": 1.0, "ome-zarr": 0.5}
"""Size of a file relative to its pixels, by format; a lower bound."""


def plan_files(
    batch: Batch, sources: Sequence[Source], history: Mapping[str, TaskResult], overwrite: bool
) -> list[Task | TaskResult]:
    """For each source a task, or the reason why there is nothing to do.

    `history` is what `read_report` returned for earlier runs.
    """
    existing = {
        name: result.output.relative_to(batch.output).as_posix()
        for name, result in history.items()
        if result.output is not None
    }
    images = [source.key for source in sources if source.is_image and not source.problem]
    targets = target_names(images, batch.config.format, existing)
    known = {identity for source in sources if (identity := _identity(source.path))}

    def plan(source: Source) -> Task | TaskResult:
        if source.problem:
            message = source.problem
            if str(source.path) not in message:
                message = f"{source.path}: {message}."
            status: FileStatus = "failed" if source.is_image else "skipped"
            return batch.result(source, None, status, message=message)
        if not source.is_image:
            message = "The file name does not have the suffix of an image."
            return batch.result(source, None, "skipped", message=message)
        task = Task(batch, source, batch.output / targets[source.key], replace=overwrite)
        if not is_inside(task.target, batch.output):
            return batch.result(source, None, "failed", message=behind_link(task.target))
        task.target.exists()  # raises if it can never be
        if _identity(task.target) in known:  # behind a link or mount
            message = f"{task.target} is one of the images; choose another output folder."
            return task.result("failed", message=message)
        return task if overwrite else _plan_without_overwriting(task, history.get(source.key))

    def plan_or_fail(source: Source) -> Task | TaskResult:
        try:
            return plan(source)
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            message = f"{source.path}: {(error.strerror or str(error)).lower()}; rename or move it."
            return batch.result(source, None, "failed", message=message)

    return [plan_or_fail(source) for source in sources]


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what exists under a path."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_disk_space(tasks: Sequence[Task]) -> None:
    """Raise OutputError if the results will not fit on the disk, estimated from a few files."""
    batch, sources = tasks[0].batch, [task.source for task in tasks]
    step = max(1, len(sources) // SAMPLED_FILES)
    samples = [source for source in sources[::step] if source.size]
    sizes = [_result_bytes(source, batch) for source in samples]
    known = [(size, source.size) for size, source in zip(sizes, samples, strict=True) if size]
    if not known:
        return
    ratio = sum(size for size, _ in known) / sum(size for _, size in known)
    total = sum(source.size for source in sources)
    needed = ratio * MIN_COMPRESSED_SIZE[batch.config.format] * total
    replaced = sum(size_and_mtime(task.target)[0] for task in tasks if task.replace)
    free = shutil.disk_usage(batch.output).free + replaced
    if needed > free:
        is_kept = batch.config.keep_dtype
        smaller = "" if is_kept else ", or keep the pixel type (keep_dtype, --keep-dtype)"
        raise OutputError(
            f"The results need about {needed / 1e9:.1f} GB, but {batch.output} has "
            f"{free / 1e9:.1f} GB free; free some space, or choose another disk{smaller}."
        )


def _plan_without_overwriting(task: Task, earlier: TaskResult | None) -> Task | TaskResult:
    """Plan a file by comparing what exists at its target with the report."""
    source, target = task.source, task.target
    if not (target.exists() or target.is_symlink()):
        return task
    if earlier is not None and earlier.output != target:
        earlier = None
    size, modified_ns = size_and_mtime(target)
    if earlier is not None and earlier.status == "running" and size == 0:
        # Without hard links a name is reserved by an empty file just before the result is moved.
        return replace(task, replace=True)
    advice = "move it, choose another output folder, or overwrite results (overwrite, --overwrite)"
    is_unchanged = earlier is not None and (size, modified_ns) == (
        earlier.output_size,
        earlier.output_modified_ns,
    )
    if earlier is None or (earlier.status != "done" and not is_unchanged):
        message = f"{target} already exists and was not written by a batch; {advice}."
        return task.result("failed", message=message)
    is_complete = is_unchanged and earlier.status == "done"
    same_source = (earlier.size, earlier.modified_ns) == (source.size, source.modified_ns)
    is_same = is_complete and same_source and earlier.config_hash == task.batch.config_hash
    if is_same and _lacks_trust(task, earlier):
        return replace(task, replace=True)  # by the same result
    if is_same:
        trust = TrustFigures(earlier.verdict, earlier.contradicted, earlier.expected_error)
        return task.result("up_to_date", **trust._asdict())
    if is_complete and earlier.config_hash != task.batch.config_hash:
        message = f"{target} was made with another model or other settings; {advice}."
        return task.result("failed", message=message)
    if earlier.source != source.path and not same_source:
        message = f"{target} already exists, for a file of another folder; {advice}."
        return task.result("failed", message=message)
    if earlier.status == "done" and not is_unchanged:
        message = f"{target} already exists and was changed after the batch wrote it; {advice}."
        return task.result("failed", message=message)
    return replace(task, replace=True)


def _lacks_trust(task: Task, earlier: TaskResult) -> bool:
    """Whether a result was not judged, or its maps not written, as is asked for now."""
    config = task.batch.config
    has_figures = (earlier.contradicted, earlier.expected_error) != (None, None)
    # A method may judge without any map.
    can_have_maps = has_figures or not earlier.verdict
    lacks_maps = (
        config.trust_maps
        and can_have_maps
        and not any(map_path(task.target, name).exists() for name in MAPS.values())
    )
    return lacks_maps or (wants_trust(config) and not earlier.verdict)


def _result_bytes(source: Source, batch: Batch) -> int:
    """Size of the pixels of a result; 0 if its source cannot be read, as its task will report."""
    try:
        image = read_source(source, batch).select(batch.config.selection)
    except Exception:  # whatever a file does to its reader costs that file alone
        return 0
    return math.prod(image.data.shape) * output_dtype(image.data, batch.config).itemsize
