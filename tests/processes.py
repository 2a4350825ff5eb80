"""Processes that tests watch while they end: what is looked at may be gone, or a zombie, a moment later."""

from __future__ import annotations

import psutil


def read_command(process: psutil.Process) -> str:
    """How it was started, in one line; empty for a process that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def list_children(module: str) -> list[psutil.Process]:
    """The processes with a module of Candide's that the tests' own process has itself started.

    Those of whole servers, which tests that run beside or before have, are a generation further down.
    """
    return [child for child in psutil.Process().children() if f"candide.{module}" in read_command(child)]


def has_ended(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not yet asked for."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
