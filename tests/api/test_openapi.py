"""Our OpenAPI document, held to what the server really does by requests that schemathesis makes up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_document_tells_the_truth(shared: Any, tmp_path: Path) -> None:
    root = shared.url.removesuffix("/v1")
    program = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{root}/openapi.json"]
    flags = [
        *("--checks", CHECKS),
        *("--phases", "examples,fuzzing"),
        *("--max-examples", "15"),
        *("--seed", "1"),
        *("--request-timeout", "60"),
        "--generation-deterministic",
        # A stream of events ends when its turn does, or never, which a made-up request need not live to see.
        *("--exclude-path-regex", "(events|changes)$"),
        "--no-color",
    ]
    done = subprocess.run([*program, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
