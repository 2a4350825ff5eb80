#!/usr/bin/env python3
"""Makes the environment `.venv` from the lock file, on a machine that has little more than Python.

    python3 scripts/bootstrap.py             what `make run` needs
    python3 scripts/bootstrap.py --tests     what `make test` needs as well

uv does the work, and has the package's build make the page as well (`hatch_build.py`). Where there is none, the one that uv.lock pins is fetched into `.uv`, by the package
clients that the machine has: pip, or, on a Debian without it, apt, which brings a pip to be used from
here. The machine itself is not changed, and the file's hash is checked against the lock.

Every step can be cut off and repeated. When nothing has changed since the last time, this returns
at once and asks nobody. It needs the standard library alone, and Python 3.11.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import build_page

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".bootstrapped"
UV_FOLDER = ROOT / ".uv"
OLDEST_UV = (0, 9)
OLDEST_PYTHON = (3, 11)
DEBIAN_PIP = "python3-pip-whl"
"""Debian's package of pip as a wheel, which runs where it lies."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment .venv from the lock file.")
    parser.add_argument("--tests", action="store_true", help="with what the tests and the linters need")
    wanted = "tests" if parser.parse_args().tests else "run"
    if sys.version_info < OLDEST_PYTHON:
        fail(
            f"Python {dotted(OLDEST_PYTHON)} or newer is needed, this is {dotted(sys.version_info[:2])}",
            hint="name another, like: make PYTHON=python3.12 run",
        )
    state = fingerprint()
    if not is_ready(state, wanted):
        with one_at_a_time():
            STAMP.unlink(missing_ok=True)
            synchronise(find_uv() or fetch_uv(), wanted)
            STAMP.write_text(f"{state} {wanted}\n")


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    """Wait for another run of this script; the lock goes with its process, however that ends."""
    UV_FOLDER.mkdir(exist_ok=True)
    with (UV_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint() -> str:
    """Everything that the environment depends on, as one word."""
    digest = hashlib.sha256()
    for part in (str(ROOT).encode(), dotted(sys.version_info[:2]).encode()):
        digest.update(part + b"\0")
    for name in ("pyproject.toml", "uv.lock", "hatch_build.py", "scripts/build_page.py"):
        digest.update((ROOT / name).read_bytes())
    digest.update(build_page.fingerprint().encode())
    return digest.hexdigest()


def is_ready(state: str, wanted: str) -> bool:
    try:
        last_state, last_wanted = STAMP.read_text().split()
    except (FileNotFoundError, ValueError):
        return False
    # The link to the interpreter dangles when the system's Python has gone.
    is_whole = (VENV / "bin" / "python").exists() and build_page.is_built()
    return is_whole and last_state == state and last_wanted in (wanted, "tests")


def synchronise(uv: Path, wanted: str) -> None:
    """Install what the lock file says; `wanted` is `run` or `tests`."""
    page = "" if build_page.is_built() else ", and building the page"
    say(f"installing into {VENV.relative_to(ROOT)} what uv.lock says{page}")
    # `run` leaves the tools of a developer where they are.
    groups = ["--all-groups", "--all-extras"] if wanted == "tests" else ["--no-default-groups", "--inexact"]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(VENV)}
    environment.pop("VIRTUAL_ENV", None)
    if wanted == "tests" and page:
        # With a page that is built there is no Node in the package's build; `make install` fetches them afterwards.
        environment[build_page.TESTS_VARIABLE] = "1"
    # Compiled now, and not at the first start; some environments forbid that it be done later.
    command = [uv, "sync", "--frozen", "--compile-bytecode", "--python", sys.executable, *groups]
    if page:
        # uv may hold that nothing has changed: it looks at the sources, not at what was made of them.
        command += ["--reinstall-package", "candide"]
    if call(command, env=environment) != 0:
        fail("the environment could not be made", hint="see above; once that is mended, run it again")
    call([VENV / "bin" / "python", "-m", "compileall", "-q", ROOT / "src"], env=environment)


def find_uv() -> Path | None:
    """A uv that is here already: the user's, or the one that was fetched before."""
    for candidate in (shutil.which("uv"), UV_FOLDER / "bin" / "uv"):
        if candidate and uv_version(Path(candidate)) >= OLDEST_UV:
            return Path(candidate)
    return None


def uv_version(uv: Path) -> tuple[int, ...]:
    """Its version; () where it does not run."""
    try:
        shown = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"\d+(?:\.\d+)+", shown)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def fetch_uv() -> Path:
    """Fetch the uv that the lock file pins."""
    version, hashes = locked_uv()
    say(f"there is no uv {dotted(OLDEST_UV)} or newer here: fetching uv {version}")
    target = UV_FOLDER / "bin" / "uv"
    for leftover in UV_FOLDER.glob("fetch-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=UV_FOLDER) as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"uv=={version} " + " ".join(f"--hash={value}" for value in hashes) + "\n")
        # The wheel's tags are pip's to choose among: it knows the platform and its C library.
        command = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        command += ["--requirement", str(requirements), "--dest", name, "--progress-bar", "on"]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
        for pip in find_pips(folder):
            if call([*pip, *command], env=environment) == 0:
                break
        else:
            fail(
                f"uv {version} could not be fetched",
                hint="is there a network, and does it need a proxy (HTTPS_PROXY) or a certificate "
                "(SSL_CERT_FILE)? Otherwise install uv or pip, and run it again",
            )
        unpack_uv(next(folder.glob("uv-*.whl")), target)
    return target


def locked_uv() -> tuple[str, list[str]]:
    """The version of uv that uv.lock pins, and the hashes of its wheels."""
    import tomllib  # after Python's version was looked at

    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    package = next(package for package in lock["package"] if package["name"] == "uv")
    return package["version"], [wheel["hash"] for wheel in package["wheels"]]


def unpack_uv(wheel: Path, target: Path) -> None:
    """Take the program out of its wheel; `target` is whole or not there."""
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        partial = wheel.with_name("uv.part")
        with archive.open(member) as source, partial.open("wb") as destination:
            shutil.copyfileobj(source, destination)
    partial.chmod(0o755)
    partial.replace(target)


def find_pips(folder: Path) -> Iterator[list[str]]:
    """Commands that run a pip, best first; the last is fetched into `folder`, when it comes to that."""
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
    for pattern in ("ensurepip/_bundled/pip-*.whl", "pip-*.whl"):
        base = Path(os.__file__).parent if "/" in pattern else Path("/usr/share/python-wheels")
        for wheel in sorted(base.glob(pattern)):
            yield [sys.executable, f"{wheel}/pip"]
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        wheel = fetch_debian_pip(folder)
        if wheel:
            yield [sys.executable, f"{wheel}/pip"]


def fetch_debian_pip(folder: Path) -> Path | None:
    """Fetch Debian's pip with apt and unpack it in `folder`; needs no rights, and installs nothing."""
    say(f"there is no pip here: fetching Debian's {DEBIAN_PIP} to use it from {UV_FOLDER.relative_to(ROOT)}")
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    own: dict[str, str] = {}
    if os.geteuid() == 0:
        own["APT::Sandbox::User"] = "root"  # apt's own user cannot write here
    # Where the machine has no package lists, as in a container, they are fetched for this once.
    fresh = {
        **own,
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
        "Dir::Cache": f"{folder}/",
        "Dir::State::lists": f"{lists}/",
    }
    if apt(own, "download", DEBIAN_PIP, folder=folder, quiet=True) != 0 and (
        apt(fresh, "update", folder=folder) != 0 or apt(fresh, "download", DEBIAN_PIP, folder=folder) != 0
    ):
        return None
    package = next(folder.glob(f"{DEBIAN_PIP}_*.deb"), None)
    if package is None or call(["dpkg-deb", "-x", str(package), str(folder / "pip")]) != 0:
        return None
    return next((folder / "pip").glob("usr/share/python-wheels/pip-*.whl"), None)


def apt(options: Mapping[str, str], *arguments: str, folder: Path, quiet: bool = False) -> int:
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return call(["apt-get", "-q", *flags, *arguments], cwd=folder, quiet=quiet)


def call(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> int:
    """Run a command to its end, its output going where ours goes; returns its exit status."""
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(
            command, cwd=cwd, env=env, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ).returncode
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return 127


def dotted(version: Sequence[object]) -> str:
    return ".".join(str(part) for part in version)


def say(text: str) -> None:
    print(f"candide: {text}", file=sys.stderr, flush=True)


def fail(text: str, *, hint: str) -> NoReturn:
    say(f"{text}\nhint: {hint}")
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted; run it again to go on")
        sys.exit(130)
    except OSError as error:
        fail(f"{error.filename or ROOT}: {error.strerror}", hint="once that is mended, run it again")
