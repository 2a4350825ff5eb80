"""What a process that reads untrusted files may not do, from the moment on that it says so.

It writes no file, opens no socket, starts no program, takes no more memory than it is given, and leaves no core behind.
Where a system knows one of these limits not, the others hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
# How the kernel calls the machine, and its numbers of socket, execve, execveat, io_uring_setup, ptrace.
_MACHINES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 59, 322, 425, 101)),
    "aarch64": (0xC00000B7, (198, 221, 281, 425, 117)),
}


def confine(memory_bytes: int) -> list[str]:
    """Give this process up to `memory_bytes` of address space and take all else away; names the limits that hold."""
    held: list[str] = []
    if sys.platform == "win32":
        return held
    import resource

    for name, limit, value in (
        ("core", resource.RLIMIT_CORE, 0),
        ("files", resource.RLIMIT_FSIZE, 0),
        ("memory", resource.RLIMIT_AS, memory_bytes),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
            held.append(name)
    with contextlib.suppress(OSError):
        os.nice(10)
    if sys.platform == "linux" and _refuse_calls():
        held.append("calls")
    return held


def give_seconds(seconds: float) -> None:
    """Let this process compute for so much longer; the kernel ends it then."""
    if sys.platform == "win32":
        return
    import resource
    import time

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, hard))


def _refuse_calls() -> bool:
    """Have the kernel refuse sockets and programs (seccomp, see seccomp(2)); False where it cannot."""
    machine, numbers = _MACHINES.get(platform.machine(), (0, ()))
    if not machine:
        return False
    # In order: is it this machine's table (at offset 4)? Is the number (at offset 0) one of those? 32-bit calls and
    # x32's, which have other numbers, are refused with them.
    count = len(numbers)
    program = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, 0),
        *((_IF_EQUAL, count - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    lines = ctypes.create_string_buffer(code, len(code))
    described = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(lines)))
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = libc.prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    prctl(_PR_SET_PDEATHSIG, 9, None, 0, 0)
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) != 0:
        return False
    return prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0) == 0
