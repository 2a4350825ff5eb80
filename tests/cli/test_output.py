"""Standard output that is full, closed, or read by someone who leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CANDIDE = f'"{sys.executable}" -m candide'


def sh(candide: Any, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", line],
        capture_output=True,
        text=True,
        env=candide.environment(),
        timeout=90,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["models list", "ask hi", "ask --json hi", "--version", "--help"])
def test_full_disk_under_standard_output_is_said_so(candide: Any, command: str) -> None:
    done = sh(candide, f"{CANDIDE} {command} > /dev/full < /dev/null")
    assert done.stderr == "error: standard output cannot be written: no space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", ["models list", "ask hi", "--version"])
def test_closed_standard_output_is_said_so(candide: Any, command: str) -> None:
    done = sh(candide, f"{CANDIDE} {command} >&- < /dev/null")
    assert done.stderr == "error: standard output cannot be written: it is closed\n"
    assert done.returncode == 1


def test_command_without_output_needs_none(candide: Any) -> None:
    sh(candide, f"{CANDIDE} ask hi")
    done = sh(candide, f"{CANDIDE} conversations rename last Title >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_input_is_empty_and_a_closed_standard_error_silent(candide: Any) -> None:
    done = sh(candide, f"{CANDIDE} ask hi <&- 2>&-")
    assert (done.returncode, done.stdout) == (0, "You said: hi\n")


def test_reader_that_goes_away_is_no_failure(candide: Any) -> None:
    done = sh(candide, f"set -o pipefail; {{ sleep 1; {CANDIDE} models list; }} | true")
    assert (done.returncode, done.stderr) == (0, "")
