from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest
from tests.cli.conftest import Terminal

WITHIN = "from candide.cli.keyboard import typed_ahead\nwith typed_ahead(): print('went', 'through')"
CTRL_Z = "\x1a"


def test_a_command_in_the_background_is_not_stopped_for_touching_the_terminal() -> None:
    shell = pexpect.spawn("/bin/bash", ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=30)
    try:
        shell.sendline(f'"{sys.executable}" -c "{WITHIN}" & wait')
        assert shell.expect_exact(["went through", "Stopped"]) == 0
    finally:
        shell.close(force=True)


@pytest.fixture
def shell(candide: Any) -> Iterator[Terminal]:
    """A shell with job control."""
    environment = candide.environment(PS1="shell: ", BASH_SILENCE_DEPRECATION_WARNING="1")
    shell = Terminal(["/bin/bash", "--norc", "--noprofile", "-i"], environment, columns=120)
    shell.wait_for("shell:")
    yield shell
    shell.close()


def test_ctrl_z_suspends_the_prompt_which_comes_back_with_what_was_typed(shell: Any) -> None:
    shell.send(f"{sys.executable} -m candide")
    shell.wait_for_prompt()
    shell.type("half a")
    shell.wait_for(r"^> half a\Z")
    shell.type(CTRL_Z)
    shell.wait_for("Stopped")
    shell.send("echo still $((40 + 2))")
    shell.wait_for(r"^still 42$")
    shell.send("fg")
    shell.wait_for(r"^> half a\Z")
    shell.send(" thought")
    shell.wait_for(r"^You said: half a thought$")


def test_ctrl_z_suspends_an_answer_which_comes_back_whole(shell: Any) -> None:
    shell.send(f"{sys.executable} -m candide")
    shell.wait_for_prompt()
    shell.send("slow")
    shell.wait_for(r"w9 ")
    shell.type(CTRL_Z)
    shell.wait_for("Stopped")
    shell.send("echo still $((40 + 2))")
    shell.wait_for(r"^still 42$")
    shell.send("fg")
    shell.wait_for(r"w19 ")
    shell.type(CTRL_Z)
    shell.wait_for("Stopped", count=2)
    shell.send("fg")
    shell.type("typed ahead")
    text = shell.wait_for(r"^> typed ahead\Z")
    assert text.count("typed ahead") == 1
    assert re.findall(r"w(\d+)", text) == [str(n) for n in range(1, 61)]
