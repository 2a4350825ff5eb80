from __future__ import annotations

import sys

import pexpect

WITHIN = "from candide.cli.keyboard import typed_ahead\nwith typed_ahead(): print('went', 'through')"


def test_a_command_in_the_background_is_not_stopped_for_touching_the_terminal() -> None:
    shell = pexpect.spawn("/bin/bash", ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=30)
    try:
        shell.sendline(f'"{sys.executable}" -c "{WITHIN}" & wait')
        assert shell.expect_exact(["went through", "Stopped"]) == 0
    finally:
        shell.close(force=True)
