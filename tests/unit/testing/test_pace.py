"""Deadlines that grow with the load of the machine, and ports that are nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ingresskit.testing import pace
from ingresskit.testing.ports import free_port


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pace, "_slowness", lambda: 0.5)
    monkeypatch.setattr(pace, "_running", lambda: 1)
    return len(os.sched_getaffinity(0))


def test_a_deadline_on_a_quiet_machine_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1 * cores, 0.0, 0.0))

    assert pace.within(7) == 7


def test_a_deadline_grows_with_the_processes_that_want_each_core(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (4.0 * cores, 0.0, 0.0))

    assert pace.within(7) == 28


def test_a_load_of_this_moment_counts_before_the_average_shows_it(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(pace, "_running", lambda: 3 * cores)

    assert pace.within(7) == 21


def test_a_slow_core_counts_beside_the_load(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0 * cores, 0.0, 0.0))
    monkeypatch.setattr(pace, "_slowness", lambda: 3.0)

    assert pace.within(7) == 42


def test_no_load_makes_a_test_wait_for_ever(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0 * cores, 0.0, 0.0))

    assert pace.within(1) == 20


def test_a_port_is_given_once() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50


@pytest.mark.skipif(sys.platform != "linux", reason="reservations are Linux's")
def test_a_port_is_given_to_one_process_only() -> None:
    program = "import sys; from ingresskit.testing import ports; print(ports._reserve(int(sys.argv[1])))"

    run = subprocess.run(
        [sys.executable, "-c", program, str(free_port())], capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == "False"


def test_reservations_of_ports_take_a_bounded_number_of_files() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder of this process

    for _ in range(200):
        free_port()
    before = open_files()
    for _ in range(200):
        free_port()

    assert open_files() <= before + 2
