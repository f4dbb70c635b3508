"""Whatever is wrong: one line that says what and where, an exit code, and no harm done."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_coordgate.io import Image, write_image
from napari_coordgate.io.model_header import FORMAT
from napari_coordgate.model import Model

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World

GOOD = np.random.default_rng(0).random((48, 48)).astype(np.float32)


def with_pixel(value: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        pixels = GOOD.copy()
        pixels[7, 9] = value
        np.save(path, pixels)

    return make


def truncated_tiff(path: Path) -> None:
    write_image(path, Image(GOOD, "YX"))
    path.write_bytes(path.read_bytes()[:-1000])


BAD_IMAGES: dict[str, Callable[[Path], object]] = {
    "nan.npy": with_pixel(np.nan),
    "infinite.npy": with_pixel(-np.inf),
    "constant.npy": lambda path: np.save(path, np.full((48, 48), 7, np.uint8)),
    "one_pixel.npy": lambda path: np.save(path, GOOD[:1, :1]),
    "no_pixels.npy": lambda path: np.save(path, GOOD[:0]),
    "no_bytes.tif": lambda path: path.write_bytes(b""),
    "truncated.tif": truncated_tiff,
    "text.tif": lambda path: path.write_text("This is no image.\n" * 50),
    "text.png": lambda path: path.write_text("This is no image.\n" * 50),
    "complex.npy": lambda path: np.save(path, GOOD + 1j),
    "objects.npy": lambda path: np.save(path, np.array([{}, None]), allow_pickle=True),
    "line.npy": lambda path: np.save(path, GOOD[0]),
    "five_axes.npy": lambda path: np.save(path, GOOD.reshape(2, 2, 3, 12, 16)),
}


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("always")  # an image of one pixel also is the frame at another size
@pytest.mark.parametrize("command", ["blur", "deblur", "train"])
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_named_and_nothing_is_written(
    run: Run, world: World, tmp_path: Path, name: str, command: str
) -> None:
    image, out = tmp_path / "in" / name, tmp_path / "out"
    image.parent.mkdir()
    BAD_IMAGES[name](image)
    arguments = {
        "blur": ("blur", image, "--psf", world.field, "-o", out),
        "deblur": ("deblur", image, "-m", world.model, "-o", out / "r.tif"),
        "train": ("train", image.parent, "--psf", world.field, "-o", out / "m.safetensors"),
    }
    finished = run(*arguments[command], *(("--steps", 1) if command == "train" else ()))
    assert finished.returncode == 1
    assert finished.stdout == ""
    *warnings, line = finished.stderr.splitlines()
    assert all(text.startswith("napari-coordgate: warning: ") for text in warnings)
    assert line.startswith("napari-coordgate: ")
    assert name in line
    assert set(files_in(tmp_path)) == {image}


@pytest.mark.parametrize("axes", ["XY", "YXQ", "Y", "YXX", "TCZYX", "ZYX"])
def test_wrong_axes_are_named(run: Run, world: World, tmp_path: Path, axes: str) -> None:
    flags = ("-m", world.model, "-o", tmp_path / "r.tif", "--axes", axes)
    finished = run("deblur", world.blurred, *flags)
    assert finished.returncode == 1
    assert f'"{axes}"' in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("origin", ["3", "a,b", "-1,2", "3,4,5"])
def test_an_origin_that_is_none_is_wrong_use(
    run: Run, world: World, tmp_path: Path, origin: str
) -> None:
    flags = ("-m", world.model, "-o", tmp_path / "r.tif", f"--origin={origin}")
    assert run("deblur", world.blurred, *flags).returncode == 2


def test_invalid_or_negative_numbers_are_an_error(run: Run, world: World, tmp_path: Path) -> None:
    frame = run("psf", world.lens, "--frame", "0x10", "-o", tmp_path / "f.tif")
    assert (frame.returncode, "has no pixels" in frame.stderr) == (2, True)
    flags = ("-m", world.model, "-o", tmp_path / "r.tif", "--origin=-5,0")
    origin = run("deblur", world.blurred, *flags)
    assert (origin.returncode, "must not be negative" in origin.stderr) == (2, True)


def test_a_claimed_frame_is_refused_before_memory_is_allocated(
    run: Run, world: World, tmp_path: Path
) -> None:
    for side in (99_999, 10**12):
        frame = run("psf", world.lens, "--frame", f"{10**20}x{side}", "-o", tmp_path / "f.tif")
        assert (frame.returncode, "larger than any camera" in frame.stderr) == (2, True)
        model, path = Model.load(world.model), tmp_path / f"{side}.safetensors"
        replace(model, frame_shape=(side, side), psf_field=None).save(path)
        for command in (("gates", path, "-o", tmp_path / "g.tif"), ("export", path, "g.onnx")):
            finished = run(*command)
            assert finished.returncode == 1
            assert finished.stderr.count("\n") == 1


def test_one_color_sample_is_named(run: Run, world: World, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD[..., None])
    flags = ("-m", world.model, "--axes", "YXS", "-o", tmp_path / "r.tif")
    finished = run("deblur", tmp_path / "a.npy", *flags)
    assert finished.returncode == 1
    assert "one color sample, so leave out S" in finished.stderr


def test_names_of_no_characters_are_names(run: Run, world: World, tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.npy", b"caf\xe9.ome.tif")]
    image, out = (tmp_path / name for name in names)
    np.save(image, GOOD)
    finished = run("deblur", image, "-m", world.model, "-o", out)
    assert finished.returncode == 0
    assert out.exists()
    assert "caf\\udce9" in finished.stdout
    (tmp_path / "lens.yaml").write_text('sigma_edge_px: "\\ud800"')
    refused = run("psf", tmp_path / "lens.yaml", "--frame", "48x48", "-o", tmp_path / "f.tif")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_tiff_is_no_checkpoint(run: Run, world: World, tmp_path: Path) -> None:
    finished = run("deblur", world.blurred, "-m", world.blurred, "-o", tmp_path / "r.tif")
    assert finished.returncode == 1
    assert "PSF field" in finished.stderr


def of_another_version(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()[FORMAT]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {FORMAT: json.dumps({**json.loads(header), "version": 99})})


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BAD_MODELS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-500]),
    "header cut": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "empty": lambda path: path.write_bytes(b""),
    "unknown version": of_another_version,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"weights": [1, 2, 3]})),
    "torch pickle": lambda path: torch.save({"weights": torch.ones(3)}, path),
    "foreign tensors": lambda path: save_file({"weights": torch.ones(3)}, path),
    "missing": lambda path: path.unlink(),
    "folder": folder,
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_bad_checkpoint_is_named_and_nothing_is_written(
    run: Run, world: World, tmp_path: Path, kind: str
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(world.model.read_bytes())
    BAD_MODELS[kind](model)
    before = files_in(tmp_path)
    init = ("train", world.sharp, "--init", model, "--steps", 1)
    for command in (
        ("deblur", world.blurred, "-m", model, "-o", tmp_path / "r.tif"),
        ("gates", model, "-o", tmp_path / "g.tif"),
        (*init, "-o", tmp_path / "new.safetensors"),
    ):
        finished = run(*command)
        assert finished.returncode == 1
        assert finished.stderr.startswith("napari-coordgate: ")
        assert str(model) in finished.stderr
        assert finished.stderr.count("\n") == 1
        assert files_in(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"no field", b"II*\0\x08\0\0\0"])
def test_a_bad_psf_field_is_named(run: Run, world: World, tmp_path: Path, content: bytes) -> None:
    field = tmp_path / "field.tif"
    field.write_bytes(content)
    for command in (
        ("blur", world.blurred, "--psf", field, "-o", tmp_path / "out"),
        ("train", world.sharp, "--psf", field, "-o", tmp_path / "m.safetensors", "--steps", 1),
    ):
        finished = run(*command)
        assert finished.returncode == 1
        assert str(field) in finished.stderr
        assert finished.stderr.count("\n") == 1
    assert files_in(tmp_path) == {field: content}


def commands_into(folder: Path, world: World) -> dict[str, tuple[object, ...]]:
    """Each command that writes, writing into a folder."""
    training = ("train", world.sharp, "--psf", world.field, "--base-channels", 4, "--steps", 1)
    return {
        "psf": ("psf", world.lens, "--frame", "48x48", "-o", folder / "f.tif"),
        "blur": ("blur", world.blurred, "--psf", world.field, "-o", folder),
        "train": (*training, "-o", folder / "m.safetensors"),
        "deblur": ("deblur", world.blurred, "-m", world.model, "-o", folder / "r.tif"),
        "deblur to png": (
            *("deblur", world.blurred, "-m", world.model, "--keep-dtype"),
            *("-o", folder / "r.png"),
        ),
        "gates": ("gates", world.model, "-o", folder / "g.tif"),
    }


WRITING = ("psf", "blur", "train", "deblur", "deblur to png", "gates")


@pytest.mark.parametrize(
    "command",
    [
        *(*WRITING, "wiener", "richardson-lucy", "export", "batch", "compare"),
        *("noise", "flat-field", "beads", "images", "focus", "shifted", "validate-shifted"),
    ],
)
def test_a_disk_that_is_read_only_is_noticed_before_the_work(
    run: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("napari_coordgate.io.files.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("napari_coordgate.cli.job.run", pytest.fail)
    out = tmp_path / "out"
    methods = tmp_path / "methods.yaml"
    wiener = "methods: [{name: Wiener, wiener: {num_iter: 3}}]"
    methods.write_text(f"images: {world.sharp}\npsf: {world.field}\n{wiener}\n")
    others = {
        "wiener": ("wiener", world.blurred, "--psf", world.field, "-o", out / "r.tif"),
        "richardson-lucy": (
            *("richardson-lucy", world.blurred, "--psf", world.field),
            *("-o", out / "r.tif"),
        ),
        "export": ("export", world.model, out / "m.onnx"),
        "batch": ("deblur", world.blurred.parent, out, "-m", world.model),
        "compare": ("compare", methods, "-o", out),
        "noise": ("calibrate", "noise", world.blurred, "-o", out / "c.yaml"),
        "flat-field": ("calibrate", "flat-field", world.blurred, "-o", out / "f.tif"),
        "beads": ("calibrate", "beads", world.blurred, "-o", out / "l.yaml"),
        "images": ("calibrate", "images", world.blurred, "-o", out / "l.yaml"),
        "focus": ("calibrate", "focus", world.blurred, "-o", out / "l.yaml"),
        "shifted": ("calibrate", "shifted", world.blurred, world.blurred, "-o", out / "l.yaml"),
        "validate-shifted": (
            *("validate-shifted", world.blurred, world.blurred),
            *("--psf", world.field, "-o", out),
        ),
    }
    if command in ("batch", "compare"):  # they ask as the first thing in their job
        monkeypatch.undo()
        monkeypatch.setattr("napari_coordgate.io.files.tempfile.TemporaryFile", refuse)
    finished = run(*(commands_into(out, world) | others)[command])
    assert finished.returncode == 1
    assert "read-only" in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert set(files_in(tmp_path)) == {methods}


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_cannot_be_written_to_is_named(
    run: Run, world: World, tmp_path: Path, command: str
) -> None:
    # Not even root makes a folder of a file.
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    finished = run(*commands_into(blocked, world)[command])
    assert finished.returncode == 1
    assert str(blocked) in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert files_in(tmp_path) == {blocked: b"no folder"}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond a few bytes; the settings fit, no result does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk_leaves_nothing_half_written(
    run: Run, world: World, tmp_path: Path, command: str
) -> None:
    finished = run(*commands_into(tmp_path, world)[command])
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith(f"napari-coordgate: Cannot write {tmp_path}")
    assert "disk" in finished.stderr
    assert not [path for path in files_in(tmp_path) if path.suffix != ".yaml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("trian",),
        ("train",),
        ("deblur", "--nonsense"),
        ("train", "x", "-o", "y", "--steps", "many"),
        ("train", "x", "-o", "y", "--schedule", "sine"),
        ("train", "x", "-o", "y", "--steps", "0"),
        ("train", "x", "-o", "y", "--read-noise", "2"),
        ("train", "x", "-o", "y", "--config", "missing.yaml"),
        ("info",),
    ],
)
def test_wrong_use_gets_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    finished = run(*arguments)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("napari-coordgate: ")
    assert finished.stderr.count("\n") == 1


def test_a_current_folder_that_was_removed_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    finished = run("deblur", "images", "results", "-m", "model.safetensors")
    assert (finished.returncode, "was removed" in finished.stderr) == (1, True)


def test_a_wrong_key_in_a_file_of_settings_is_named_with_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("stepz: 3")
    finished = run("train", "x", "-o", "y", "--config", tmp_path / "run.yaml")
    assert finished.returncode == 2
    assert "run.yaml: unknown setting 'stepz'; did you mean 'steps'?" in finished.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_at_any_time_cancels(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def interrupted(path: Path) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr("napari_coordgate.cli.info.file_info", interrupted)
    # Shells make background jobs ignore SIGINT; the tests may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        finished = run("info", world.model)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (finished.returncode, finished.stderr) == (130, "napari-coordgate: Canceled.\n")


def test_too_little_memory_is_said_in_one_line(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(path: Path) -> None:
        raise MemoryError("16 GB")

    monkeypatch.setattr("napari_coordgate.cli.info.file_info", large)
    finished = run("info", world.model)
    assert (finished.returncode, finished.stderr.count("\n")) == (1, 1)
    assert "(16 GB)" in finished.stderr


def test_a_defect_of_ours_keeps_its_traceback(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("napari_coordgate.cli.info.file_info", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        run("info", world.model)
