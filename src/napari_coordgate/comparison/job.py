"""Compare methods: train and test what is missing, and keep what is done."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import torch

from napari_coordgate.comparison import comparison as files
from napari_coordgate.comparison.comparison import (
    SHARP,
    Comparison,
    Row,
    check_same,
    read_record,
    write_record,
)
from napari_coordgate.comparison.context import (
    ComparisonContext,
    Plan,
    RunSpec,
    list_runs,
    make_plan,
    pairs_config,
)
from napari_coordgate.comparison.data_split import split_images
from napari_coordgate.comparison.evaluation import TestSet, evaluate, inference_seconds
from napari_coordgate.comparison.figures import draw_figures
from napari_coordgate.comparison.methods import build_method, check_methods, unchanged
from napari_coordgate.comparison.table import as_table
from napari_coordgate.config import (
    ComparisonConfig,
    Device,
    Method,
    ModelMethod,
    RuntimeConfig,
    UniversalConfig,
    UniversalMethod,
    UnrolledMethod,
    as_settings,
)
from napari_coordgate.data import Images, SimulatedPairs, prepare_pairs
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, Progress, Stopwatch, pluralize, run
from napari_coordgate.io.files import atomic_write, check_not_exists, last_checkpoint_path
from napari_coordgate.io.locks import lock_folder
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField, as_psf_field
from napari_coordgate.training import adapt_events, train_events

DEFAULTS, DEFAULT_RUNTIME = ComparisonConfig(), RuntimeConfig()


def compare(
    methods: Sequence[Method],
    images: Images,
    psf_field: PSFField | str | Path,
    *,
    config: ComparisonConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    test: Images | None = None,
    output: str | Path,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Comparison:
    """Compare methods on the same images, split, noise, seeds and budget.

    Networks are trained once for each seed; then every method restores the same blurred
    test images, which no training has seen. Each row is written as soon as it is done.
    Started again with the same folder, the comparison does what is missing: an
    interrupted training is resumed, and methods or seeds may be added. Rows that were
    made with other settings are an error.

    Parameters
    ----------
    methods : sequence of Method
        Methods in the order of the table.
    images : path, array of shape (..., H, W), or sequence of either
        Sharp images to train and validate on or folders.
    psf_field : PSFField, str or Path
        Blur of the lens, or the file of it.
    config : ComparisonConfig
        Training, seeds and budget.
    runtime : RuntimeConfig
        Device, processes and checkpoints; the rows do not depend on it.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Shorthand for the device of ``runtime``.
    test : like ``images``, optional
        Sharp images for the test; if None, a part of ``images`` is used, the same for
        all seeds.
    output : str or Path
        Folder to write to: new, empty, or that of a comparison to resume.
    callback : callable, optional
        Called with each event: `Progress` of the rows (stage ``comparing``) and of each
        part, `Preview` of the trainings.
    cancel : threading.Event, optional
        Once set, the comparison saves its progress and ends, to be resumed later.

    Returns
    -------
    Comparison
        All rows. Table, figures and trained models are in the folder.

    Raises
    ------
    SettingsError
        If two methods have the same name, or the time is too short for a training.
    ImageError
        If an image cannot be used, or is a training and a test image at once.
    ModelError, FrameMismatchError
        If a method's model cannot be loaded or was trained for another frame.
    OutputError
        If the folder contains something else, or rows that were made with other settings.
    CanceledError
        If canceled.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, WienerConfig, WienerMethod, compare
    >>> images = np.random.default_rng(0).random((4, 32, 32))
    >>> psf_field = PSFField.from_lens(GaussianLens(), (32, 32))
    >>> wiener = WienerMethod(name="Wiener", wiener=WienerConfig())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     comparison = compare([wiener], images, psf_field, output=folder)
    >>> comparison.names
    ('blurred', 'Wiener')
    """
    events = compare_events(
        methods,
        images,
        psf_field,
        config=config,
        runtime=runtime,
        device=device,
        test=test,
        output=output,
        cancel=cancel,
    )
    return run(events, callback)


def compare_events(
    methods: Sequence[Method],
    images: Images,
    psf_field: PSFField | str | Path,
    *,
    config: ComparisonConfig = DEFAULTS,
    runtime: RuntimeConfig = DEFAULT_RUNTIME,
    device: Device | None = None,
    test: Images | None = None,
    output: str | Path,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Comparison]:
    """Compare methods as a generator of events that returns the comparison.

    Parameters
    ----------
    methods, images, psf_field, config, runtime, device, test, output, cancel
        See `compare`.

    Yields
    ------
    Progress
        Of the rows (stage ``comparing``), and of each part.
    Preview
        Of the trainings.

    Returns
    -------
    Comparison
        All rows.

    Raises
    ------
    CoordGateError
        See `compare`.
    """
    config = as_settings(config, ComparisonConfig, "config")
    runtime = as_settings(runtime, RuntimeConfig, "runtime").on(device)
    psf_field = as_psf_field(psf_field)
    check_methods(methods)
    resolve_device(runtime.device)
    output = Path(output)
    files.check_folder(output)
    taken = f"Another comparison writes to {output}; wait until it ends, or choose another folder."
    with lock_folder(output, taken):
        split = yield from split_images(images, test, config, cancel)
        _, pairs = yield from prepare_pairs(
            pairs_config(config), split.training, psf_field, None, split.test, cancel
        )
        assert isinstance(pairs, SimulatedPairs)
        tests = TestSet(pairs, config.test_images)
        context = ComparisonContext(config, runtime, psf_field, split, tests, output, cancel)
        return (yield from _Job(methods, context).events())


class _Job:
    """A running comparison; see `compare`."""

    def __init__(self, methods: Sequence[Method], context: ComparisonContext) -> None:
        self.methods = tuple(methods)
        self.context = context
        self.config, self.folder = context.config, context.folder
        self.runs = list_runs(methods, context.config, context.psf_field, context.split)
        self.rows: dict[str, Row] = {}
        self.plans: dict[str, Plan] = {}

    def events(self) -> Generator[Event, None, Comparison]:
        """Do what is missing."""
        self._read_earlier_results()
        self._save()
        missing = [spec for spec in self.runs if spec.stem not in self.rows]
        try:
            yield from self._plan(missing)
            stopwatch = Stopwatch("comparing", len(missing))
            for number, spec in enumerate(missing):
                yield stopwatch.progress(number)
                yield from self._run(spec)
                self._save()
                yield stopwatch.progress(number + 1)
        except CanceledError:
            done = f"{len(self.rows)} of {pluralize(len(self.runs), 'row')}"
            raise CanceledError(
                f"Canceled with {done} done; start it again with the same folder to resume."
            ) from None
        comparison = self._save()
        for name, figure in draw_figures(comparison).items():
            with atomic_write(self.folder / name, overwrite=True) as temporary:
                figure.savefig(temporary, dpi=150)
        return comparison

    def _read_earlier_results(self) -> None:
        """Read rows and plans of earlier starts, and check that their recipes are the same."""
        for spec in self.runs:
            path = files.row_file(self.folder, spec.stem)
            if (row := read_record(path, Row)) is not None:
                check_same(path, row, spec.fingerprint)
                self.rows[spec.stem] = row.model_copy(update={"method": spec.name})
            path = files.row_file(self.folder, spec.slug, files.PLAN)
            if spec.kind == "network" and (plan := read_record(path, Plan)) is not None:
                check_same(path, plan, spec.recipe)
                self.plans[spec.slug] = plan

    def _save(self) -> Comparison:
        """Write the summary and the table of all rows so far."""
        comparison = Comparison(
            folder=self.folder,
            methods=self.methods,
            config=self.config,
            command=files.command_line(),
            machine=files.describe_machine(),
            rows=tuple(self.rows[spec.stem] for spec in self.runs if spec.stem in self.rows),
        )
        files.save_comparison(comparison)
        with atomic_write(self.folder / files.TABLE, overwrite=True) as temporary:
            temporary.write_text(as_table(comparison.rows), encoding="utf-8")
        return comparison

    def _plan(self, missing: Sequence[RunSpec]) -> Generator[Event]:
        """Plan all trainings before the first one, so that paces are measured alike."""
        for spec in missing:
            if spec.kind == "network" and spec.slug not in self.plans:
                plan = yield from make_plan(spec, self.context)
                write_record(files.row_file(self.folder, spec.slug, files.PLAN), plan)
                self.plans[spec.slug] = plan

    def _run(self, spec: RunSpec) -> Generator[Event]:
        """Make a row, after the training that it needs."""
        method = spec.method
        steps: int | None = None
        seconds: float | None = None
        if isinstance(method, UnrolledMethod) and spec.seed is not None:
            model = self.folder / f"{spec.stem}.safetensors"
            seconds = yield from self._train_unrolled(method, spec.seed, model)
            steps = method.unrolled.steps
            settings = UniversalConfig(weights=model)
            method = UniversalMethod(name=method.name, universal=settings)
        elif method is not None and spec.seed is not None:
            model = self.folder / f"{spec.stem}.safetensors"
            yield from self._train(spec, spec.seed, model)
            steps = Model.load(last_checkpoint_path(model)).step
            seconds = self.plans[spec.slug].seconds(spec.seed, steps)
            method = ModelMethod(name=method.name, model=model)
        row = yield from self._test(spec, method)
        row = row.model_copy(update={"steps": steps, "training_seconds": seconds})
        write_record(files.row_file(self.folder, spec.stem), row)
        self.rows[spec.stem] = row

    def _train(self, spec: RunSpec, seed: int, output: Path) -> Generator[Event]:
        """Train a network, or resume its training."""
        resume = last_checkpoint_path(output).exists()
        if not resume:
            check_not_exists([output], False, "move it away to train the network again")
        plan, latest = self.plans[spec.slug], None
        events = train_events(
            self.context.split.training,
            self.context.psf_field,
            config=plan.config(spec, self.config),
            runtime=self.context.runtime,
            output=output,
            resume=resume,
            cancel=self.context.cancel,
        )
        try:
            for event in events:
                if isinstance(event, Progress) and event.stage == "training":
                    latest = event
                yield event
        finally:  # also where the generator is closed before its end
            if latest is not None and latest.done:
                plan = plan.add(seed, latest.done, latest.seconds)
                write_record(
                    files.row_file(self.folder, spec.slug, files.PLAN), plan, overwrite=True
                )
                self.plans[spec.slug] = plan

    def _train_unrolled(
        self, method: UnrolledMethod, seed: int, output: Path
    ) -> Generator[Event, None, float]:
        """Train an unrolled network; returns the seconds. An interrupted one starts again."""
        context, started = self.context, time.monotonic()
        check_not_exists([output], False, "move it away to train the network again")
        yield from adapt_events(
            context.split.training,
            context.psf_field,
            model=method.architecture,
            camera=self.config.training.camera,
            config=method.unrolled.replace(seed=seed),
            output=output,
            cancel=context.cancel,
        )
        return time.monotonic() - started

    def _test(self, spec: RunSpec, method: Method | None) -> Generator[Event, None, Row]:
        """Test a method, and write its error map and its example."""
        context = self.context
        ready = unchanged()
        if method is not None:
            ready = build_method(
                method,
                context.psf_field,
                camera=context.tests.camera,
                device=context.runtime.device,
                cancel=context.cancel,
            )
        tests, cancel = context.tests, context.cancel
        tested = yield from evaluate(ready, tests, tests.frame_shape, cancel=cancel)
        images = {
            files.row_file(self.folder, spec.stem, files.ERROR_MAP): tested.metrics.error_map(),
            files.row_file(self.folder, spec.stem, files.EXAMPLE): tested.restored[0],
        }
        if method is None:
            images[files.row_file(self.folder, SHARP, files.EXAMPLE)] = tests[0].sharp
        for path, pixels in images.items():
            files.write_pixels(path, pixels, context.psf_field.pixel_size_um)
        details = {
            "kind": spec.kind,
            "seed": spec.seed,
            "inference_seconds": method and inference_seconds(ready, tests[0], cancel),
            "device": _device_name(context.runtime.device),
            "stem": spec.stem,
            "fingerprint": spec.fingerprint,
        }
        return tested.row(ready).model_copy(update=details)


def _device_name(device: Device) -> str:
    kind = resolve_device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads" if kind == "cpu" else kind
