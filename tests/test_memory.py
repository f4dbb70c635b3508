"""Laws of what a process may still take, and of the most it has taken."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_coordgate import memory
from napari_coordgate.memory import free_host_memory, peak_resident_bytes

LIMITED = """
import resource, sys
from napari_coordgate.memory import free_host_memory
limit = getattr(resource, sys.argv[1])
resource.setrlimit(limit, (2**31, 2**31))
print(free_host_memory())
"""


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that stands in for the system's control groups; the process is in none."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_resource_limits_of_the_process_are_respected(limit: str) -> None:
    command = [sys.executable, "-c", LIMITED, limit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert 0 < int(done.stdout) < 2**31


def test_without_control_groups_the_available_memory_counts(groups: Path) -> None:
    assert 2**20 < free_host_memory() < 2**50


@pytest.mark.parametrize(
    ("limit", "free"), [("1000000", 700_000), ("max", None), ("200000", 0)], ids=str
)
def test_a_control_group_of_version_2_limits_free_memory(
    groups: Path, limit: str, free: int | None
) -> None:
    (groups / "own").write_text("0::/jobs/one\n")
    write(groups / "cgroup/jobs/one", memory__max="max", memory__current="1")
    statistics = "anon 7\ninactive_file 100000\nfile 5"
    write(
        groups / "cgroup/jobs",
        memory__max=limit,
        memory__current="400000",
        memory__stat=statistics,
    )
    found = free_host_memory()
    assert found == free if free is not None else found > 2**20


def test_a_control_group_of_version_1_limits_free_memory_in_a_container(
    groups: Path,
) -> None:
    (groups / "own").write_text("5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n")
    write(
        groups / "cgroup/memory",
        memory__limit_in_bytes="1000000",
        memory__usage_in_bytes="400000",
        memory__stat="total_inactive_file 100000",
    )
    assert free_host_memory() == 700_000


def test_the_peak_is_that_of_this_process_and_grows() -> None:
    program = (
        "import numpy as np; from napari_coordgate.memory import peak_resident_bytes as peak; "
        "before = peak(); np.ones(10**7); print(before, peak())"
    )
    large = np.ones(3 * 10**7)  # this process is larger than the one it starts
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    before, after = map(int, done.stdout.split())
    assert 7e7 < after - before < 2e8
    own = peak_resident_bytes()
    assert own is not None
    assert own > large.nbytes > before
