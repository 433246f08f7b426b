"""How much memory a selection may plan for."""

from pathlib import Path

import pytest
import torch

from acs_fast._util import memory

CPU = torch.device("cpu")


@pytest.fixture
def system(monkeypatch):
    """Files of the system, by path; those not named are missing."""
    files: dict[str, str] = {}

    def read_text(path):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    return files


def test_what_the_caller_allows_is_taken_as_it_is():
    assert memory.workspace_bytes(CPU, 12345) == 12345
    with pytest.raises(ValueError, match="memory must be"):
        memory.workspace_bytes(CPU, -1)


def test_half_of_the_available_memory(system):
    system["/proc/meminfo"] = "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"
    assert memory.workspace_bytes(CPU) == 2000 * 1024


@pytest.mark.parametrize(
    ("limit", "used", "free"), [("3000000", "1000000", 2000000), ("1000", "4000", 0), ("max", "7", 4096000)]
)
def test_a_control_group_can_leave_less(system, limit, used, free):
    system["/proc/meminfo"] = "MemAvailable: 4000 kB\n"
    system |= {"/sys/fs/cgroup/memory.max": limit, "/sys/fs/cgroup/memory.current": used}
    assert memory.workspace_bytes(CPU) == free // 2


@pytest.mark.parametrize("text", [None, "", "MemAvailable: much kB\n"])
def test_where_the_system_does_not_say_there_is_a_default(system, text):
    if text is not None:
        system["/proc/meminfo"] = text
    assert memory.workspace_bytes(CPU) == memory.UNKNOWN_FREE_BYTES // 2


def test_the_peak_is_told_only_by_an_allocator_that_can():
    with memory.peak_memory(CPU) as found:
        torch.empty(1000)
    assert found == {}
