import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import (
    atomic_write,
    check_writable,
    hidden_name,
    preallocate,
    remove_stale_temp_files,
)


@contextmanager
def disk_that_holds(limit: int) -> Iterator[None]:
    """Let no file grow beyond ``limit`` bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up the rights of root, which ignores the permissions of files."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


NO_PROCESS = 2**31 - 1


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "result.ome.tif"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".ome.tif")
        temporary.write_bytes(b"half")
        assert not target.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    for target in (tmp_path / "there", tmp_path / "new" / "folder" / "result"):
        check_writable(target)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_check_writable_finds_obstacles(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(0o555)
    tmp_path.chmod(0o755)
    with pytest.raises(OutputError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="not a file"):
        check_writable(tmp_path / "file" / "result")
    with ordinary_user(), pytest.raises(OutputError, match="that you may write to"):
        check_writable(tmp_path / "closed" / "result")


def test_a_relative_path_may_be_a_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_write("result.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "result.txt").read_text() == "whole"


def test_a_file_has_the_default_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "result"):
        pass
    assert (tmp_path / "result").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_file_leaves_nothing(
    tmp_path: Path, interruption: type[BaseException], overwrite: bool
) -> None:
    target = tmp_path / "result"
    if overwrite:
        target.write_text("before")
    with pytest.raises(interruption), atomic_write(target, overwrite) as temporary:
        temporary.write_text("half")
        raise interruption
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"] * overwrite


def test_a_file_is_not_overwritten_by_default(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.write_text("before")
    message = r"result already exists; .* --overwrite"
    with pytest.raises(OutputError, match=message), atomic_write(target):
        pytest.fail("The body was run.")
    assert target.read_text() == "before"


def test_a_broken_link_is_not_overwritten_by_default(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="already exists"), atomic_write(target):
        pytest.fail("The body was run.")
    assert target.is_symlink()


def test_a_file_is_overwritten_on_request(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.write_text("before")
    with atomic_write(target, overwrite=True) as temporary:
        temporary.write_text("after")
        assert target.read_text() == "before"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["after"]


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_created_in_the_meantime_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse_link)
    target = tmp_path / "result"
    with pytest.raises(OutputError, match="already exists"), atomic_write(target) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_a_disk_without_hard_links_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_link)
    with atomic_write(tmp_path / "result") as temporary:
        temporary.write_text("whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def refuse_link(source: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source))


def test_a_full_disk_is_a_one_line_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with (
        disk_that_holds(1000),
        pytest.raises(OutputError) as caught,
        atomic_write(target) as temporary,
    ):
        temporary.write_bytes(bytes(2000))
    assert str(target) in str(caught.value)
    assert "disk" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_a_one_line_error(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    message = "permission denied; choose a folder"
    with (
        ordinary_user(),
        pytest.raises(OutputError, match=message),
        atomic_write(folder / "result"),
    ):
        pytest.fail("The body was run.")
    assert list(folder.iterdir()) == []


def test_a_folder_is_not_a_valid_target_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), atomic_write(tmp_path, overwrite=True):
        pytest.fail("The body was run.")


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for write in (check_writable, lambda path: atomic_write(path, overwrite=True).__enter__()):
        with pytest.raises(OutputError, match="it is a pipe"):
            write(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.ome.zarr"
    with atomic_write(target, folder=True) as temporary:
        assert (temporary.parent, temporary.suffix) == (target.parent, ".zarr")
        (temporary / "deeper").mkdir()
        (temporary / "deeper" / "part").write_text("whole")
        assert not target.exists()
    assert (target / "deeper" / "part").read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_folder_leaves_nothing(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "result"
    if overwrite:
        folder_with(target, "before")
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_write(target, overwrite, folder=True) as temporary,
    ):
        (temporary / "part").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [target] * overwrite
    assert not overwrite or (target / "part").read_text() == "before"


def test_a_folder_is_overwritten_only_on_request(tmp_path: Path) -> None:
    target = folder_with(tmp_path / "result", "before")
    with pytest.raises(OutputError, match="already exists"), atomic_write(target, folder=True):
        pytest.fail("The body was run.")
    with atomic_write(target, overwrite=True, folder=True) as temporary:
        (temporary / "other").write_text("after")
        assert (target / "part").read_text() == "before"
    assert [path.name for path in target.iterdir()] == ["other"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_created_in_the_meantime_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "result"
    for theirs in (folder_with, lambda path, text: path.write_text(text)):
        with pytest.raises(OutputError, match="already exists"), atomic_write(target, folder=True):
            theirs(target, "theirs")
        assert list(tmp_path.iterdir()) == [target]
        shutil.rmtree(target, ignore_errors=True)


def test_a_file_is_never_overwritten_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("before")
    with (
        pytest.raises(OutputError, match="it is a file"),
        atomic_write(tmp_path / "result", overwrite=True, folder=True),
    ):
        pytest.fail("The body was run.")
    assert (tmp_path / "result").read_text() == "before"


def test_a_folder_that_is_replaced_exists_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder_with(tmp_path / "result", "before")
    rename = Path.rename

    def killed(path: Path, name: Path) -> Path:
        """Exit after the old folder was renamed, before the new one is."""
        if name == target:
            os._exit(9)
        return rename(path, name)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "rename", killed)
        with atomic_write(target, overwrite=True, folder=True) as temporary:
            (temporary / "part").write_text("after")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not target.exists()
    assert len(remove_stale_temp_files([tmp_path])) == 1
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "part").read_text() == "before"


def test_stale_temporary_files_and_folders_are_removed(tmp_path: Path) -> None:
    stale = [
        folder_with(tmp_path / "deeper" / hidden_name("0123abcd", "a.zarr", NO_PROCESS), "half"),
        folder_with(tmp_path / hidden_name("old", "b", NO_PROCESS), "old"),
    ]
    folder_with(tmp_path / "b", "new")
    elsewhere = f".napari-coordgate-00000000-{NO_PROCESS}-0123abcd-a.tif"
    others = {elsewhere, ".napari-coordgate-notes"}
    for name in others:
        (tmp_path / name).touch()
    assert remove_stale_temp_files([tmp_path / "deeper", tmp_path / "gone"]) == stale[:1]
    assert remove_stale_temp_files([tmp_path]) == stale[1:]
    with atomic_write(tmp_path / "c"):
        assert remove_stale_temp_files([tmp_path]) == []  # it is of a living process
    (tmp_path / "c").unlink()
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {"deeper", "b", "part", *others}


def test_what_killed_processes_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with atomic_write(tmp_path / "a.tif"):
            os._exit(9)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(tmp_path / "b.tif"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "b.tif"]


def test_a_file_keeps_the_mode_of_the_one_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.touch(0o640)
    with atomic_write(target, overwrite=True):
        pass
    assert target.stat().st_mode & 0o777 == 0o640


def folder_with(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "part").write_text(text)
    return path


def test_without_hard_links_a_reserved_name_is_released_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError), atomic_write(tmp_path / "b") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_is_not_a_valid_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "result", tmp_path / "file" / "deeper" / "result"):
        with pytest.raises(OutputError, match="choose a folder"), atomic_write(target):
            pytest.fail("The body was run.")


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    with atomic_write(tmp_path / ("n" * 251 + ".tif")) as temporary:
        assert temporary.suffix == ".tif"
    with pytest.raises(OutputError, match="shorter name"), atomic_write(tmp_path / ("n" * 300)):
        pytest.fail("The body was run.")


def test_errors_of_other_files_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "result"):
        (tmp_path / "input").read_bytes()


def test_preallocation_keeps_contents_and_fills_holes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"start")
        file.truncate(1 << 20)
    preallocate(path)
    assert path.read_bytes() == b"start".ljust(1 << 20, b"\0")
    assert path.stat().st_blocks * 512 >= 1 << 20


def test_preallocation_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(shutil.disk_usage(tmp_path).free + (1 << 30))
    with pytest.raises(OSError, match="No space left"):
        preallocate(path)
