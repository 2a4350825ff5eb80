"""The official Node package and the Vercel AI SDK; the tests themselves are tests/clients/node/clients.test.mjs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candide.engine.scripted import Fault, Reply, Script, ScriptedCall

FOLDER = Path(__file__).parent.parent / "clients" / "node"

SCRIPT = Script(
    replies=[
        Reply(
            match="weather",
            answer="",
            tool_calls=[ScriptedCall(name="get_weather", arguments={"city": "Paris"})],
        ),
        Reply(match="person", answer='{"name": "Candide", "age": 21}'),
        Reply(match="fragile", tokens=9, pace_ms=5, faults=[Fault(kind="cut", at=3)]),
        Reply(answer="Bonjour le monde"),
    ]
)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.timeout(300)
def test_node_clients_are_served(serve: Callable[..., Any]) -> None:
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(install, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install the clients: {done.stderr[-500:]}")
    done = subprocess.run(
        ["node", "--test", "clients.test.mjs"],
        cwd=FOLDER,
        env={**os.environ, "CANDIDE_URL": serve(SCRIPT).url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
