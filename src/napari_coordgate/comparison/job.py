"""The comparison as a job: what is missing is trained and tested, what is done is kept."""

import threading
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from napari_coordgate.comparison import comparison as files
from napari_coordgate.comparison.comparison import Comparison
from napari_coordgate.comparison.figures import FIGURES
from napari_coordgate.comparison.footing import Entry, Footing, entries
from napari_coordgate.comparison.measuring import HeldBack
from napari_coordgate.comparison.methods import check_methods
from napari_coordgate.comparison.plans import Plan, make_plan
from napari_coordgate.comparison.rows import BLURRED, Row, check_same, read_record, write_record
from napari_coordgate.comparison.splitting import split_images
from napari_coordgate.comparison.table import as_table, mean_psnr
from napari_coordgate.comparison.testing import make_row
from napari_coordgate.comparison.workload import Overall, testing_work, training_work
from napari_coordgate.config import ComparisonConfig, Method, RuntimeConfig
from napari_coordgate.data import Images, SimulatedPairs, prepare_pairs
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, Finished, Progress, pluralize, reporting_end
from napari_coordgate.io.files import atomic_write, check_not_exists, last_checkpoint_path
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train

__all__ = ["compare"]

DEFAULTS, DEFAULT_RUNTIME = ComparisonConfig(), RuntimeConfig()
TEST_SEED = 2**31 - 1
"""Seed of the test pairs' noise and windows, beyond those of the trainings."""


def compare(
    methods: Sequence[Method],
    images: Images,
    field: PSFField,
    config: ComparisonConfig = DEFAULTS,
    *,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    test: Images | None = None,
    output: str | Path,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Compare methods on one footing: the same images, split, noise, seeds and budget for all.

    Networks are trained, once for each seed; then every method restores the same
    blurred test images, which no training has seen. Each row is written as soon as it
    is done. Started again with the same folder, the job does what is missing: an
    interrupted training goes on, and methods or seeds may be added. Rows that were made
    otherwise are an error.

    Parameters
    ----------
    methods : sequence of Method
        What to compare, in the order of the table.
    images : path, array of shape (..., H, W), or sequence of either
        Sharp images to train and validate on; a folder stands for all images in it.
    field : PSFField
        Blur of the lens.
    config : ComparisonConfig
        Training, seeds and budget.
    runtime : RuntimeConfig
        Device and processes.
    test : like ``images``, optional
        Sharp images for the test; when not given, a part of ``images`` is held back, the
        same for all seeds.
    output : str or Path
        Folder to write to: new, empty, or that of a comparison to go on with.
    cancel : threading.Event, optional
        Once set, the job saves what it has and ends, to go on later.

    Yields
    ------
    Progress
        Of the whole (stage ``comparing``), and of each part.
    Preview
        Of the trainings.
    Finished
        Once, at the end. If completed, its result is a `Comparison`.
    """
    outputs: list[Path] = []

    def events() -> Iterator[Event]:
        folder = Path(output)
        check_methods(methods)
        resolve_device(runtime.device)
        files.claim(folder)
        material = yield from split_images(images, test, config, cancel)
        settings = config.training.model_copy(update={"seed": TEST_SEED})
        _, pairs = yield from prepare_pairs(
            settings, material.training, field, None, material.test, cancel
        )
        assert isinstance(pairs, SimulatedPairs)
        held_back = HeldBack(pairs, config.test_images)
        footing = Footing(config, runtime, field, material, held_back, folder, cancel)
        yield from _Job(methods, footing, outputs).events()

    return reporting_end(events(), outputs)


class _Job:
    """A comparison on its way; see `compare`."""

    def __init__(self, methods: Sequence[Method], footing: Footing, outputs: list[Path]) -> None:
        self.methods = tuple(methods)
        self.footing = footing
        self.config = footing.config
        self.folder = footing.folder
        self.outputs = outputs
        self.entries = entries(methods, footing.config, footing.field, footing.material)
        self.rows: dict[str, Row] = {}
        self.plans: dict[str, Plan] = {}
        self.overall = Overall({})

    def events(self) -> Iterator[Event]:
        """Do what is missing."""
        self._look_for_what_is_done()
        self._save()
        missing = [entry for entry in self.entries if entry.stem not in self.rows]
        try:
            yield from self._plan(missing)
            self.overall = Overall(self._works(missing))
            for entry in missing:
                yield from self._make(entry)
                self._save()
        except CanceledError:
            done = f"{len(self.rows)} of {pluralize(len(self.entries), 'row')}"
            raise CanceledError(
                f"Stopped with {done} done; start it again with the same folder to go on."
            ) from None
        comparison = self._save()
        for name, draw in FIGURES.items():
            with atomic_write(self.folder / name, overwrite=True) as temporary:
                draw(comparison).savefig(temporary, dpi=150)
            self._wrote(self.folder / name)
        message = f"{_told(comparison)}; table and figures are in {self.folder}."
        yield Finished("completed", message, outputs=tuple(self.outputs), result=comparison)

    def _look_for_what_is_done(self) -> None:
        """Rows and plans of earlier starts, known to be made as they would be now."""
        for entry in self.entries:
            path = files.row_path(self.folder, entry.stem)
            if (row := read_record(path, Row)) is not None:
                check_same(path, row, entry.fingerprint)
                self.rows[entry.stem] = row.model_copy(update={"method": entry.name})
                self._wrote(path)
            path = files.plan_path(self.folder, entry.slug)
            if entry.kind == "network" and (plan := read_record(path, Plan)) is not None:
                check_same(path, plan, entry.basis)
                self.plans[entry.slug] = plan

    def _save(self) -> Comparison:
        """Write all rows so far, and the table of them."""
        comparison = Comparison(
            folder=self.folder,
            methods=self.methods,
            settings=self.config,
            command=files.called_as(),
            machine=files.describe_machine(),
            rows=tuple(self.rows[e.stem] for e in self.entries if e.stem in self.rows),
        )
        files.save_comparison(comparison)
        with atomic_write(self.folder / files.TABLE, overwrite=True) as temporary:
            temporary.write_text(as_table(comparison), encoding="utf-8")
        self._wrote(self.folder / files.SUMMARY, self.folder / files.TABLE)
        return comparison

    def _wrote(self, *paths: Path) -> None:
        self.outputs += [path for path in paths if path not in self.outputs]

    def _plan(self, missing: Sequence[Entry]) -> Iterator[Event]:
        """Plan all trainings before the first one: paces are measured side by side."""
        for entry in missing:
            if entry.kind == "network" and entry.slug not in self.plans:
                plan = yield from make_plan(entry, self.footing)
                write_record(files.plan_path(self.folder, entry.slug), plan)
                self.plans[entry.slug] = plan

    def _works(self, missing: Sequence[Entry]) -> dict[str, float]:
        """Rough work of all that is to be done."""
        shape, tested = self.footing.field.frame_shape, len(self.footing.held_back)
        works = {f"test {e.stem}": testing_work(e.method, tested, shape) for e in missing}
        for entry in missing:
            if entry.kind == "network":
                config = self.plans[entry.slug].config(entry, self.config)
                images = len(self.footing.material.training)
                works[f"train {entry.stem}"] = training_work(config, images, shape)
        return works

    def _make(self, entry: Entry) -> Iterator[Event]:
        """Make a row, with the training that it needs."""
        came = partial(self.overall.came, f"test {entry.stem}")
        method = entry.method
        trained: tuple[int | None, float | None] = None, None
        if method is not None and entry.seed is not None:
            checkpoint = self.folder / f"{entry.stem}.safetensors"
            yield from self._train(entry, entry.seed, checkpoint)
            steps = Model.load(last_checkpoint_path(checkpoint)).step
            trained = steps, self.plans[entry.slug].seconds(entry.seed, steps)
            method = Method(name=method.name, checkpoint=checkpoint)
            self._wrote(checkpoint)
        self.rows[entry.stem] = yield from make_row(entry, method, self.footing, trained, came)
        self._wrote(files.row_path(self.folder, entry.stem))

    def _train(self, entry: Entry, seed: int, output: Path) -> Iterator[Event]:
        """Train a network, or go on with its training."""
        resume = last_checkpoint_path(output).exists()
        if not resume:
            check_not_exists([output], False, "move it away to have the network trained anew")
        plan, latest = self.plans[entry.slug], None
        events = train(
            plan.config(entry, self.config),
            self.footing.material.training,
            self.footing.field,
            runtime=self.footing.runtime,
            output=output,
            resume=resume,
            cancel=self.footing.cancel,
        )
        try:
            for event in events:
                if isinstance(event, Finished):
                    event.raise_unless_completed()
                    continue
                yield event
                if isinstance(event, Progress) and event.stage == "training":
                    latest = event
                    share = event.done / max(event.total, 1)
                    yield from self.overall.came(f"train {entry.stem}", share)
        finally:  # also where the job is left amid its events
            if latest is not None and latest.done:
                plan = plan.noting(seed, latest.done, latest.seconds)
                write_record(files.plan_path(self.folder, entry.slug), plan, overwrite=True)
                self.plans[entry.slug] = plan
        yield from self.overall.came(f"train {entry.stem}", 1.0)


def _told(comparison: Comparison) -> str:
    """What came of the comparison, in a few words."""
    best = max(comparison.names, key=lambda name: mean_psnr(comparison.of(name)))
    reached, before = (mean_psnr(comparison.of(name)) for name in (best, BLURRED))
    if best == BLURRED:
        return f"No method came nearer to the truth than the blurred images ({before:.2f} dB)"
    return f"{best} is nearest to the truth: {reached:.2f} dB, where the blur left {before:.2f}"
