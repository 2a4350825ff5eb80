"""Libraries that are made as users make them: over HTTP, read by the server's own jobs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2

SEINE = (
    "# La Seine\n\nLa Seine est un fleuve français, long de 777 kilomètres, qui arrose notamment Troyes, Paris et Rouen.\n\n"
    "Sa source se situe à Source-Seine, en Côte-d'Or, sur le plateau de Langres.\n"
)
HARBOR = (
    "On Tuesday the harbor cranes of Port Amber lifted 42 containers before noon. "
    "The port master Helga Brandt said the record was due to calm weather."
)
HARBOR_URL = "https://news.example.org/harbor-record"
QUESTION = "Quelle est la longueur de la Seine ?"
HARBOR_QUESTION = "How many containers did the harbor cranes of Port Amber lift?"
PATIENCE_S = 60


def make_library(base: str, folder: Path, name: str = "mixed") -> str:
    """A library of a file about a river and a page about a harbor; its id, once it can be searched."""
    (folder / "seine.md").write_text(SEINE, encoding="utf-8")
    page = {
        "id": "h-1",
        "title": "Harbor record",
        "text": HARBOR,
        "url": HARBOR_URL,
        "published": "2024-05-14",
    }
    (folder / "pages.jsonl").write_text(json.dumps(page) + "\n", encoding="utf-8")
    with httpx2.Client(base_url=base, timeout=30) as client:
        library: str = client.post("/api/libraries", json={"name": name}).json()["id"]
        targets = [{"uri": str(folder / "seine.md")}, {"uri": str(folder / "pages.jsonl"), "kind": "jsonl"}]
        job = client.post(f"/api/libraries/{library}/targets", json={"targets": targets}).json()
        wait_for(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "finished")
        wait_for(lambda: find(client, QUESTION, library) and find(client, HARBOR_QUESTION, library))
    return library


def find(client: httpx2.Client, query: str, library: str) -> list[Any]:
    found: list[Any] = client.get("/api/passages", params={"query": query, "library": library}).json()[
        "results"
    ]
    return found


def wait_for(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "the library is not read"
        time.sleep(0.1)
