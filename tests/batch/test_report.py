"""The report survives any end of a run, and reports of older versions are read."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from napari_coordgate.batch.report import Report, TaskResult, read_report
from napari_coordgate.errors import OutputError
from napari_coordgate.events import FileStatus

PLATES, OTHERS = Path("/plates"), Path("/others")


def result(name: str, status: FileStatus, output: Path | None = None, **values: Any) -> TaskResult:
    return TaskResult(PLATES / name, status, output, **values)


def write(path: Path, *results: TaskResult, folder: Path = PLATES) -> None:
    report = Report(path)
    report.append_run(folder, {"model": "/m.safetensors"}, {"tile": 64}, "0.1.0")
    for one in results:
        report.append(folder, one)
    report.close()


def test_the_last_line_of_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    running = result("a.tif", "running", tmp_path / "a.ome.tif", size=3)
    done = result("a.tif", "done", tmp_path / "a.ome.tif", size=3, output_size=9)
    write(path, running, done, result("n.txt", "skipped"))
    failed = TaskResult(OTHERS / "b.tif", "failed", message="it is empty", seconds=1.5)
    write(path, failed, folder=OTHERS)
    assert read_report(path) == {"a.tif": done, "b.tif": failed}


def test_a_failure_does_not_hide_an_earlier_result(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    done = result("a.tif", "done", tmp_path / "a.ome.tif")
    write(path, done, result("a.tif", "failed"))
    assert read_report(path)["a.tif"] == done


def test_a_failure_hides_an_interrupted_run_that_replaced_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    failed = result("a.tif", "failed")
    write(path, result("a.tif", "running", tmp_path / "a.ome.tif"), failed)
    assert read_report(path)["a.tif"] == failed
    replacing = result(
        "a.tif", "running", tmp_path / "a.ome.tif", output_size=3, output_modified_ns=4
    )
    write(path, replacing, failed)
    assert read_report(path)["a.tif"] == failed  # it was to replace a file that is not ours
    write(path, replace(replacing, status="done"), replacing, failed)
    assert read_report(path)["a.tif"] == replacing


def test_lines_that_are_not_of_a_report_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    write(path, result("run", "done"))
    line = path.read_bytes().splitlines()[-1]
    with path.open("ab") as file:
        file.write(line[:95] + b"\n" + bytes(40) + b'{"other": 1}\n')
        file.write(b'{"file": "a.tif", "status": "done", "output": "/etc/passwd"}\n')
    write(path, result("µ.tif", "done"))
    assert set(read_report(path)) == {"run", "µ.tif"}


@pytest.mark.parametrize(
    "output", ["/etc/a.ome.tif", "../a.ome.tif", "b/../a.tif", "link/a.tif", ".", "a\0.tif"]
)
def test_a_line_of_a_result_outside_the_folder_is_ignored(output: str, tmp_path: Path) -> None:
    """Results are replaced and removed, so a tampered report must not name other files."""
    (tmp_path / "link").symlink_to(tmp_path.parent)
    line = {"file": "a.tif", "status": "done", "output": output, "output_size": 3}
    path = tmp_path / "report.jsonl"
    write(path, result("b.tif", "done"))
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert set(read_report(path)) == {"b.tif"}


def test_a_linked_report_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "report.jsonl", tmp_path / "other.jsonl"
    write(other, result("b.tif", "done"))
    for link in (path.symlink_to, path.hardlink_to):
        link(other)
        for use in (read_report, Report):
            with pytest.raises(OutputError, match="is a link"):
                use(path)
        path.unlink()


def test_a_report_in_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    os.mkfifo(path)
    for use in (read_report, Report):
        with pytest.raises(OutputError, match="pipe"):
            use(path)


def test_a_missing_report_is_an_empty_history(tmp_path: Path) -> None:
    assert not read_report(tmp_path / "missing.jsonl")


def test_a_report_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    common = {"time": "2026-03-02T21:14:07Z", "seconds": 0.4, "why": "", "recipe": "0f", "size": 3}
    common |= {"modified_ns": 4, "output": "p/a.ome.tif", "output_modified_ns": 6}
    lines = [
        {"time": "2026-03-02T21:14:07Z", "run": "/plates", "model": "m", "settings": {}},
        common | {"file": "p/a.tif", "outcome": "started", "output_size": None},
        common | {"file": "p/a.tif", "outcome": "done", "output_size": 5},
        common | {"file": "b.tif", "outcome": "started", "output_size": 5},
        common | {"file": "c.txt", "outcome": "skipped", "output_size": None},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "p" / "a.ome.tif"
    first, second = read_report(path).values()
    assert first == TaskResult(PLATES / "p/a.tif", "done", output, 0.4, "", None, "0f", 3, 4, 5, 6)
    assert (second.source, second.status) == (PLATES / "b.tif", "running")


@given(st.data())
def test_a_truncated_report_keeps_its_complete_lines(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("reports") / "report.jsonl"
    names = [f"{number} µ.tif" for number in range(3)]
    write(path, *(result(name, "done") for name in names))
    content = path.read_bytes()
    lines = dict(zip(names, content.splitlines()[1:], strict=True))
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    write(path, result("later.tif", "done"))
    known = read_report(path)
    assert known["later.tif"] == result("later.tif", "done")
    for name, line in lines.items():
        assert (name in known) == (line in content[:cut])


@pytest.mark.parametrize(
    "content",
    [
        b"name,seconds\na.tif,3\n",
        b"\xff\xfe\x00binary",
        b"[]\n",
        b'{"file": "a.tif", "outcome": "gone"}\n',
        b'{"file": "a.tif", "status": "done", "size": "many"}\n',
        b'{"other": 1}\n',
        b"[" * 100_000,
    ],
)
def test_another_file_with_the_name_of_the_report_is_refused_and_kept(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="report"):
        read_report(path)
    assert path.read_bytes() == content


def test_a_report_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        Report(tmp_path)
