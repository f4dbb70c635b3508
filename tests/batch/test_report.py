"""The report is the memory of a batch: it must survive whatever ends a run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_coordgate.batch.report import FileLine, Report, RunLine, read_report
from napari_coordgate.errors import OutputError


def written(path: Path, *lines: RunLine | FileLine) -> None:
    report = Report(path)
    for line in lines:
        report.append(line)
    report.close()


RUN = RunLine(run="/plates", model="/m.safetensors", settings={"tile": 64}, program="0.1.0")


def test_the_last_line_of_a_file_stands_for_it(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    started = FileLine(file="a.tif", outcome="started", output="a.ome.tif", recipe="r", size=3)
    done = started.model_copy(update={"outcome": "done", "seconds": 1.5, "output_size": 9})
    written(path, RUN, started, done, FileLine(file="n.txt", outcome="skipped"))
    other = RUN.model_copy(update={"run": "/others"})
    written(path, other, FileLine(file="b.tif", outcome="failed", why="it is empty"))
    history = read_report(path)
    assert history.lines["a.tif"] == done
    assert history.lines["b.tif"].why == "it is empty"
    assert history.folders == {"a.tif": "/plates", "b.tif": "/others"}


def test_a_failure_leaves_the_earlier_result_known(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    done = FileLine(file="a.tif", outcome="done", output="a.ome.tif")
    written(path, RUN, done, FileLine(file="a.tif", outcome="failed", why="damaged"))
    assert read_report(path).lines["a.tif"] == done


def test_a_failure_after_a_start_that_found_nothing_leaves_nothing_known(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    started = FileLine(file="a.tif", outcome="started", output="a.ome.tif")
    failed = FileLine(file="a.tif", outcome="failed", why="damaged")
    written(path, RUN, started, failed)
    assert read_report(path).lines["a.tif"] == failed
    over = started.model_copy(update={"output_size": 3, "output_modified_ns": 4})
    written(path, RUN, over, failed)
    assert read_report(path).lines["a.tif"] == over


def test_what_is_no_line_among_lines_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    run, done = FileLine(file="run", outcome="done"), FileLine(file="µ.tif", outcome="done")
    written(path, RUN, run)
    with path.open("ab") as file:
        file.write(done.model_dump_json().encode()[:95] + b"\n" + bytes(40) + b'{"other": 1}\n')
    written(path, done)
    assert set(read_report(path).lines) == {"run", "µ.tif"}


def test_no_report_is_no_history(tmp_path: Path) -> None:
    assert not read_report(tmp_path / "missing.jsonl").lines


@given(st.data())
def test_a_report_cut_anywhere_tells_what_was_whole_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("reports") / "report.jsonl"
    lines = [FileLine(file=f"{n} µ.tif", outcome="done") for n in range(3)]
    written(path, RUN, *lines)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    after = FileLine(file="later.tif", outcome="done")
    written(path, after)
    known = read_report(path).lines
    assert known["later.tif"] == after
    for line in lines:
        is_whole = line.model_dump_json().encode() in whole[:cut]
        assert (line.file in known) == is_whole


@pytest.mark.parametrize(
    "content",
    [
        b"name,seconds\na.tif,3\n",
        b"\xff\xfe\x00binary",
        b"[]\n",
        b'{"file": "a.tif", "outcome": "gone"}\n',
        b'{"file": "a.tif", "outcome": "done", "size": "many"}\n',
        b'{"other": 1}\n',
        b"[" * 100_000,
    ],
)
def test_a_foreign_file_of_that_name_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="report"):
        read_report(path)
    assert path.read_bytes() == content


def test_a_report_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        Report(tmp_path)
