"""The process in which llama.cpp runs: `python -m candide.engine.worker`.

It reads one line of JSON on its standard input, the fields of `WorkerConfig`, loads the model,
serves the OpenAI protocol on a loopback port of the kernel's choice behind a key that only its
parent knows, and writes one line of JSON on its standard output: `{"port": 12345}`, or
`{"error": "..."}` when the model cannot be loaded. Everything that llama.cpp logs goes to standard
error.

It never outlives its parent: the standard input stays open for as long as the parent lives, and
its end, however it comes, ends the worker, while the model is being loaded too. SIGTERM ends it at
once. It imports nothing of the server, so that it holds little more than the model.

With `llama_server` set it runs that program with the same options, under the same rules.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Container, MutableMapping

KEY_VARIABLE = "LLAMA_API_KEY"  # in the environment, since every user of the machine can read arguments


@dataclass(frozen=True)
class WorkerConfig:
    """What one worker runs. Sizes are in tokens unless the name says otherwise."""

    model: str
    """The GGUF file."""
    name: str
    """What the model is called in replies."""
    api_key: str
    threads: int
    """For writing one answer."""
    batch_threads: int
    """For reading prompts, and for writing several answers at once."""
    slots: int
    context: int
    """The longest conversation."""
    pool: int
    """Room in the KV cache for all slots together; at least `context`."""
    kv_cache: str = "f16"
    prompt_cache_mb: int = 0
    """Memory for conversations that lost their slot, so that they come back without being read again."""
    batch: int = 128
    """Prompt tokens in one step. Between two steps others' tokens are written and cancellations are seen."""
    pooling: str = ""
    """How `/embeddings` makes one vector of many; empty leaves it to the model."""
    adapter: str = ""
    """A LoRA's GGUF file that single requests may ask for; the others are answered as if it were not there."""
    repack: bool = True
    """Whether the library lays the weights out anew in memory for the processor; a `llama_server` does as it does by default."""
    llama_server: str = ""


def tune_threads(environ: MutableMapping[str, str], threads: int) -> None:
    """Set up the OpenMP run time that llama.cpp's threads wait in; it reads this once, when it is loaded."""
    # Threads meet hundreds of times for each token. By default the early ones spin until the last one
    # comes, and when that one was preempted they burn the very time slice that it needs: with one other
    # program at work, writing falls to a fiftieth. Those that sleep at once lose a third when all is
    # quiet. 1000 turns keep nine tenths of the quiet speed of a 1.5 B model and six tenths of that with a
    # core taken away; 10,000 turns are almost as bad as the default (bench/contention.py).
    environ.setdefault("OMP_WAIT_POLICY", "passive")
    environ.setdefault("GOMP_SPINCOUNT", "1000")
    environ.setdefault("OMP_NUM_THREADS", str(threads))


def main() -> NoReturn:
    """Run one worker until its parent goes away."""
    # What llama.cpp prints must not reach the pipe that carries the one line for the parent.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    line = sys.stdin.readline()
    if not line:
        sys.exit(2)
    config = WorkerConfig(**json.loads(line))
    tune_threads(os.environ, config.batch_threads)

    def report(message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            reply.write(json.dumps(message) + "\n")
            reply.flush()

    try:
        if config.llama_server:
            run_program(config, report)
        else:
            run_library(config, report)
    except Exception as error:  # noqa: BLE001 - the last word of this process goes to its parent
        report({"error": str(error) or type(error).__name__})
        # Not sys.exit: llama.cpp's own threads may still be running.
        os._exit(1)


def run_library(config: WorkerConfig, report: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Load the model into this process and serve it."""
    die_with_parent()
    # Imported by name: it comes without type stubs.
    library: Any = importlib.import_module("xllamacpp")
    server = library.Server(make_parameters(config, library))
    report({"port": int(server.listening_address.rsplit(":", 1)[1])})
    while True:  # llama.cpp serves from threads of its own
        time.sleep(3600)


def make_parameters(config: WorkerConfig, library: Any) -> Any:
    """Say `config` in llama.cpp's words; `make_arguments` says the same to its program."""
    p = library.CommonParams()
    p.model.path = config.model
    p.model_alias = {config.name}
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.api_keys = [config.api_key]
    p.cors_origins = ""
    p.ui = False
    p.n_parallel = config.slots
    # One pool for all slots, so that a long conversation may use the room that short ones leave.
    p.kv_unified = True
    p.kv_unified_per_slot = config.context
    p.n_ctx = config.pool
    # What it saves of idle slots does not say with which adapter it was read, and is thrown away when it comes back.
    p.cache_idle_slots = not config.adapter
    p.ctx_shift = False  # forgetting the start of a conversation without a word is no answer
    kv_type = getattr(library.ggml_type, f"GGML_TYPE_{config.kv_cache.upper()}")
    # Flash attention is left to llama.cpp, which uses it where it can. With this cache on a processor it was
    # found 5 to 10 % slower at 1000 to 2000 tokens, within the noise, but the other way needs scratch
    # memory of heads x pool x batch numbers, and a quantised cache needs flash attention.
    p.cache_type_k = kv_type
    p.cache_type_v = kv_type
    p.cache_ram_mib = config.prompt_cache_mb
    # Not n_cache_reuse: it would shift what was read after one conversation's words under another's.
    p.cpuparams.n_threads = config.threads
    p.cpuparams_batch.n_threads = config.batch_threads
    # The same process answers /embeddings; llama.cpp wants both sizes to be one for that.
    p.embedding = True
    p.n_batch = config.batch
    p.n_ubatch = config.batch
    p.no_extra_bufts = not config.repack
    if config.pooling:
        p.pooling_type = getattr(library.llama_pooling_type, f"LLAMA_POOLING_TYPE_{config.pooling.upper()}")
    # A thread of its HTTP server is taken for as long as an answer is written.
    p.n_threads_http = http_threads(config)
    p.use_jinja = True
    if config.adapter:
        p.lora_adapters = [library.CommonAdapterLoraInfo(config.adapter, 0.0)]
        p.lora_init_without_apply = True
    return p


def make_arguments(config: WorkerConfig, port: int, known: Container[str]) -> list[str]:
    """The same as arguments of `llama-server`, of those that this build of it knows."""
    shared = "--kv-unified" in known
    pairs = {
        "--model": config.model,
        "--alias": config.name,
        "--host": "127.0.0.1",
        "--port": port,
        "--parallel": config.slots,
        "--ctx-size": config.pool if shared else config.context * config.slots,
        "--kv-unified-per-slot": config.context,
        "--cache-type-k": config.kv_cache,
        "--cache-type-v": config.kv_cache,
        "--cache-ram": config.prompt_cache_mb,
        "--threads": config.threads,
        "--threads-batch": config.batch_threads,
        "--threads-http": http_threads(config),
        "--batch-size": config.batch,
        "--ubatch-size": config.batch,
        "--cors-origins": "",
    }
    if config.pooling:
        pairs["--pooling"] = config.pooling
    if config.adapter and "--lora-init-without-apply" in known:
        pairs["--lora"] = config.adapter
    arguments = [word for flag, value in pairs.items() if flag in known for word in (flag, str(value))]
    switches = ("--kv-unified", "--embeddings", "--slots", "--jinja", "--no-webui")
    if "--lora" in arguments:
        # What it saves of idle slots does not say with which adapter it was read.
        switches = (*switches, "--lora-init-without-apply", "--no-cache-idle-slots")
    return arguments + [flag for flag in switches if flag in known]


def read_flags(program: str) -> frozenset[str]:
    """The flags that a `llama-server` knows, from its help; none when it does not start."""
    try:
        said = subprocess.run(  # noqa: S603 - the program that the user named or has on the PATH
            [program, "--help"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return frozenset()
    return frozenset(re.findall(r"--[a-z][a-z0-9-]+", said.stdout))


def http_threads(config: WorkerConfig) -> int:
    return 2 * config.slots + 8


def run_program(config: WorkerConfig, report: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Run `llama-server` as a child that dies with this process, and watch over it."""
    port = find_free_port()
    child = subprocess.Popen(  # noqa: S603 - the program that the user named or has on the PATH
        [config.llama_server, *make_arguments(config, port, read_flags(config.llama_server))],
        stdin=subprocess.DEVNULL,
        env=os.environ | {KEY_VARIABLE: config.api_key},
        preexec_fn=_die_with_parent_thread if sys.platform == "linux" else None,
    )

    def end(_signal: int, _frame: object) -> None:
        _end(child)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_end_at_eof, args=(child,), daemon=True).start()
    while not answers_health(port):
        if child.poll() is not None:
            raise RuntimeError(f"{config.llama_server} ended with status {child.returncode}")
        time.sleep(0.05)
    report({"port": port})
    child.wait()
    os._exit(1)


def answers_health(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def find_free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """End this process when the other end of standard input closes."""
    if sys.platform == "linux":
        # llama.cpp holds Python's lock while it loads, so that no thread of Python could watch. The
        # kernel can: it sends SIGIO when the pipe closes, and an unhandled SIGIO ends a process.
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    # It closed before the line above, or this is not Linux.
    threading.Thread(target=_end_at_eof, args=(None,), daemon=True).start()


def _end_at_eof(child: subprocess.Popen[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _end(child)


def _end(child: subprocess.Popen[bytes] | None) -> NoReturn:
    if child is not None:
        child.kill()
    os._exit(0)


def _die_with_parent_thread() -> None:
    """Ask the kernel to kill this process with the thread that made it: here, the main thread of the worker."""
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
