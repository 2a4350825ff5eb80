"""`candide doctor`: what Candide needs, looked at piece by piece, each with what to do about it.

It changes nothing but a file that it writes in the home and takes away again, and starts nothing but
a look at the engine's library.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import platform
import shlex
import shutil
import socket
import sqlite3
import stat
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from candide import __version__
from candide.cli.connection import find_running
from candide.cli.output import plain_text, print_json
from candide.domain.addresses import complete_base_url
from candide.errors import CandideError, EngineUnavailable
from candide.server.address import Address

if TYPE_CHECKING:
    from candide.models.machine import Machine
    from candide.models.weights import WeightsFolder
    from candide.settings import Settings

Status = Literal["ok", "warn", "fail"]

LOW_SPACE = 1 << 30
NO_SPACE = 64 << 20
LIBRARY_TIMEOUT_S = 60


class Check(msgspec.Struct, kw_only=True, frozen=True):
    name: str
    status: Status
    message: str
    hint: str | None = None


async def examine(settings: Settings, *, as_json: bool) -> int:
    """Look at everything, print it, and return the exit code: 1 when something failed."""
    from candide.compose import uses_embedded

    running = await find_running(settings.run_dir)
    # What the running server was told on its command line counts, and not what is set here.
    embedded = running.embedded if running is not None else uses_embedded(settings)
    model = running.model if running is not None else settings.model
    checks = [
        *_check_machine(embedded),
        _check_home(settings.home),
        _check_space(settings.home),
        _check_weights(settings, model) if embedded else _ok("weights", "not needed: no embedded engine"),
        *[check async for check in _check_engines(settings, running, embedded)],
        *[check async for check in _check_embeddings(settings)],
        await _check_database(settings),
        *[check async for check in _check_server(settings, running)],
    ]
    if as_json:
        print_json(checks)
    else:
        _print(checks)
    return 1 if any(check.status == "fail" for check in checks) else 0


def _ok(name: str, message: str) -> Check:
    return Check(name=name, status="ok", message=message)


def _warn(name: str, message: str, hint: str | None) -> Check:
    return Check(name=name, status="warn", message=message, hint=hint)


def _fail(name: str, message: str, hint: str | None) -> Check:
    return Check(name=name, status="fail", message=message, hint=hint)


def _check_machine(embedded: bool) -> Iterator[Check]:
    from candide.models.choice import format_gigabytes
    from candide.models.machine import read_machine

    yield _ok(
        "candide", f"{__version__} on Python {platform.python_version()}, {platform.platform(terse=True)}"
    )
    machine = read_machine()
    limit = ", as its container allows" if machine.limited_by == "cgroup" else ""
    described = (
        f"{machine.cores} cores, {format_gigabytes(machine.memory_bytes)} of memory{limit}, "
        f"{format_gigabytes(machine.available_bytes)} free"
    )
    if embedded and machine.architecture == "x86_64" and not _has_avx2(machine):
        yield _fail(
            "machine",
            f"{described}; the processor lacks AVX2, which the embedded engine needs",
            "attach another engine with --engine-url, or name a llama-server built here in llama_server",
        )
    else:
        yield _ok("machine", described)


def _has_avx2(machine: Machine) -> bool:
    return not machine.flags or "avx2" in machine.flags


def _check_home(home: Path) -> Check:
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=home):
            pass
    except OSError as error:
        return _fail(
            "home", f"'{home}' cannot be written: {error.strerror}", "choose another with CANDIDE_HOME"
        )
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        return _warn(
            "home", f"others on this machine can look into '{home}'", f"chmod 700 {shlex.quote(str(home))}"
        )
    return _ok("home", str(home))


def _check_space(home: Path) -> Check:
    from candide.models.choice import format_gigabytes

    place = next((folder for folder in (home, *home.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    message = f"{format_gigabytes(free)} free"
    if free < NO_SPACE:
        return _fail("disk", message, f"make room on the disk of '{home}', or choose another home")
    if free < LOW_SPACE:
        return _warn("disk", message, "most models need more")
    return _ok("disk", message)


def _check_weights(settings: Settings, model: str) -> Check:
    from candide.models.choice import choose_model, estimate_model, format_gigabytes
    from candide.models.gguf import read_header
    from candide.models.machine import read_machine
    from candide.models.weights import WeightsFolder

    folder = WeightsFolder(settings.weights_dir)
    machine = read_machine()
    try:
        weights = folder.find(model) if model else folder.default()
        if weights is None:
            choice = choose_model(folder.catalog, folder.installed(), machine)
            if choice.installed is None:
                return _warn(
                    "weights",
                    f"no useful model is installed; the next start fetches {choice.explanation}",
                    f"candide models pull {choice.name} fetches it now",
                )
            weights = choice.installed
        read_header(weights.path)
    except CandideError as error:
        return _fail("weights", error.message, error.hint)
    estimate = estimate_model(weights, machine)
    if estimate is None:
        return _ok("weights", f"{weights.name} ({weights.path})")
    memory, speed = estimate
    message = f"{weights.name}, {format_gigabytes(memory)} in memory, about {speed:.0f} tokens/s"
    if memory > machine.memory_bytes:
        return _fail("weights", f"{message}: more than this machine has", _smaller(folder, machine))
    return _ok("weights", message)


def _smaller(folder: WeightsFolder, machine: Machine) -> str:
    from candide.models.choice import choose_model

    try:
        return f"candide models pull {choose_model(folder.catalog, [], machine).name}"
    except CandideError as error:
        return error.hint or "attach another engine with --engine-url"


async def _check_engines(
    settings: Settings, running: Address | None, embedded: bool
) -> AsyncGenerator[Check]:
    if embedded:
        yield await asyncio.to_thread(_check_library)
    here = settings.engine_urls
    keys = dict(itertools.zip_longest(here, settings.engine_keys[: len(here)], fillvalue=""))
    theirs = running.engine_urls if running is not None else ()
    for url in dict.fromkeys((*theirs, *settings.engine_urls)):
        # The server keeps the keys that it was given to itself.
        yield await _check_engine(url, keys.get(url, ""), knows_key=url in keys)


async def _check_engine(url: str, key: str, *, knows_key: bool) -> Check:
    from candide.engine.client import EngineClient

    name = f"engine {url}"
    client = EngineClient(url, complete_base_url(url), key, 10.0)
    try:
        models = await client.models()
    except EngineUnavailable as error:
        return _fail(name, error.message, "start it, or take it out of engine_urls")
    except CandideError as error:
        if not knows_key:
            return _ok(name, "answers; its key is known to the running server only")
        return _fail(name, error.message, error.hint or "is its key in engine_keys right?")
    finally:
        await client.close()
    shown = ", ".join(models[:5]) + (", …" if len(models) > 5 else "")
    return (
        _ok(name, f"serves {shown}")
        if models
        else _warn(name, "answers, but lists no model", "load one there")
    )


async def _check_embeddings(settings: Settings) -> AsyncGenerator[Check]:
    from candide.compose import embedding_server
    from candide.ingestion.embedding import choose_embedder

    server = embedding_server(settings)
    if server is None or not settings.embeddings:
        return
    name = f"embeddings {server.url}"
    embedder = choose_embedder(server)
    try:
        await embedder.embed_query("Candide")
    except EngineUnavailable as error:
        yield _fail(name, error.message, "start it, or take embedding_url out of the settings")
    except CandideError as error:
        yield _fail(name, error.message, error.hint or "is embedding_model a name that it has?")
    else:
        yield _ok(name, f"'{server.model}' makes vectors of {server.dimensions} elements")
    finally:
        await embedder.close()


def _check_library() -> Check:
    """Load llama.cpp in a process of its own: a library that does not fit the machine ends its process."""
    import subprocess

    code = "import importlib.metadata as m, xllamacpp; print(m.version('xllamacpp'))"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, our own words
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=LIBRARY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _warn("engine", "llama.cpp takes long to load", "is the machine busy? try again")
    if done.returncode < 0:
        return _fail(
            "engine",
            f"llama.cpp ends with signal {-done.returncode}: its code does not fit this processor",
            "name a llama-server built here in the setting llama_server, or attach an engine",
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return _fail("engine", f"llama.cpp cannot be loaded: {last}", "install candide again")
    return _ok("engine", f"llama.cpp (xllamacpp {done.stdout.strip()}) loads")


async def _check_database(settings: Settings) -> Check:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    try:
        url = sa.make_url(settings.database)
    except ArgumentError:
        return _fail("database", "database_url is not a database's URL", "candide settings shows it")
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database:
        return await asyncio.to_thread(_check_sqlite, Path(url.database), settings.backups_dir)
    from candide.store.database import Database

    database = Database(settings.database, settings.backups_dir)
    try:
        async with database.read() as connection:
            await connection.execute(sa.text("SELECT 1"))
    except CandideError as error:
        return _fail("database", error.message, error.hint)
    finally:
        await database.close()
    return _ok("database", f"{shown} answers")


def _check_sqlite(path: Path, backups_dir: Path) -> Check:
    if not path.exists():
        return _ok("database", f"{path} is made at the first start")
    backups = sorted(backups_dir.glob("candide-*.db")) if backups_dir.is_dir() else []
    rescue = (
        f"stop Candide and put the backup '{backups[-1]}' in its place"
        if backups
        else "there is no backup; sqlite3's .recover may save what is left"
    )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            found: str = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return _fail("database", f"'{path}' is damaged: {found}", rescue)
            try:
                count: int = database.execute(
                    "SELECT count(*) FROM conversations WHERE deleted_at IS NULL"
                ).fetchone()[0]
            except sqlite3.OperationalError:
                return _ok("database", f"{path}, empty")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            return _warn("database", f"'{path}' is locked by another program", "close it and try again")
        return _fail("database", f"'{path}' cannot be read: {error}", rescue)
    return _ok("database", f"{path}, sound, {count} conversation{'' if count == 1 else 's'}")


async def _check_server(settings: Settings, running: Address | None) -> AsyncGenerator[Check]:
    if running is None:
        yield _ok("server", "none runs on this home; the commands serve themselves")
    else:
        yield await _check_running(running)
    if running is None or not running.url.endswith(f":{settings.port}"):
        yield _check_port(settings.host, settings.port)


async def _check_running(address: Address) -> Check:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.get(f"{address.url}/health") as response:
                health = msgspec.json.decode(await response.read(), type=dict[str, str])
            async with session.get(f"{address.url}/ready") as response:
                ready = response.status == 200
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            return _fail("server", f"{address.url} answers badly: {error}", "start it again: candide serve")
    version = health.get("version", "unknown")
    message = f"{address.url}, process {address.pid}"
    if not ready and not address.embedded:
        return _fail("server", f"{message}: no engine of it answers", "see the engines above")
    message += ", ready" if ready else ", loading its model"
    if version != __version__:
        return _warn("server", f"{message}, of version {version}", "start it again after the update")
    return _ok("server", message)


def _check_port(host: str, port: int) -> Check:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return _warn(
                "port",
                f"{host}:{port} cannot be listened on: {error.strerror}",
                "candide serve --port takes another one",
            )
    return _ok("port", f"{host}:{port} is free")


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    width = max(len(check.name) for check in checks)
    for check in checks:
        console.print(
            Text.assemble(
                (f"{check.status:4}", styles[check.status]),
                f"  {plain_text(check.name):{width}}  {plain_text(check.message)}",
            )
        )
        if check.hint:
            console.print(f"{'':{width + 6}}  hint: {plain_text(check.hint)}", markup=False)
