"""What is typed while no prompt reads the keyboard: it waits, unseen, for the next one.

Two keys do not wait: Ctrl-Z suspends at any time, and leaves the terminal to the shell as it was;
Ctrl-D during an answer leaves at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPress


@contextlib.contextmanager
def typed_ahead() -> Generator[None]:
    """Keep what is typed out of what is being printed, each key as the prompt knows it."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty() or _in_background():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[0] &= ~termios.ICRNL
    # Key by key: where the terminal gathers lines, Ctrl-D is no key but the end of one, and gets lost.
    quiet[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    quiet = termios.tcgetattr(sys.stdin)
    to_be_quiet = False

    def suspend(number: int, frame: FrameType | None) -> None:
        nonlocal to_be_quiet
        # At a prompt, or in an editor, the terminal is theirs, and they put it in order.
        to_be_quiet = termios.tcgetattr(sys.stdin) == quiet
        if to_be_quiet:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        resume(number, frame)

    def resume(number: int, frame: FrameType | None) -> None:
        nonlocal to_be_quiet
        if to_be_quiet and not _in_background():
            to_be_quiet = False
            termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)

    suspendable = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
    if suspendable:
        signal.signal(signal.SIGTSTP, suspend)
        # After `bg` and then `fg` it is only this signal that tells.
        signal.signal(signal.SIGCONT, resume)
    try:
        yield
    finally:
        if suspendable:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            signal.signal(signal.SIGCONT, signal.SIG_DFL)
        if not _in_background():
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextlib.contextmanager
def suspensions(prepare: Callable[[], None]) -> Generator[None]:
    """Call `prepare` before Ctrl-Z suspends, between two steps of the event loop; within `typed_ahead`."""
    suspend = signal.getsignal(signal.SIGTSTP) if hasattr(signal, "SIGTSTP") else None
    if not callable(suspend):
        yield
        return

    def prepare_and_suspend() -> None:
        prepare()
        suspend(signal.SIGTSTP, None)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTSTP, prepare_and_suspend)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, suspend)


class Keyboard:
    """The keys of a prompt while it does not read them itself."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self.left = False
        """Whether Ctrl-D was pressed while watched."""

    @contextlib.contextmanager
    def watched(self, leave: Callable[[], object]) -> Generator[None]:
        """Call `leave` once Ctrl-D is pressed; every other key is for the next prompt."""
        if sys.platform == "win32":  # its console delivers events, to the prompt alone
            yield
            return
        from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
        from prompt_toolkit.keys import Keys

        kept: list[KeyPress] = []

        def take(keys: list[KeyPress]) -> None:
            for key in keys:
                if key.key == Keys.ControlD and not self.left:
                    self.left = True
                    leave()
                else:
                    kept.append(key)

        def read() -> None:
            # What comes after Ctrl-D is for the shell.
            if not self.left:
                take(self._source.read_keys())

        take(get_typeahead(self._source))
        try:
            with self._source.attach(read):
                yield
        finally:
            store_typeahead(self._source, kept + self._source.flush_keys())

    def take_text(self) -> str:
        """The text that was typed and that no prompt has taken; empty if there is none."""
        from prompt_toolkit.input.typeahead import get_typeahead
        from prompt_toolkit.keys import Keys

        text = ""
        for key in get_typeahead(self._source):
            if key.key == Keys.Enter:
                text += "\n"
            elif key.key == Keys.Backspace:
                text = text[:-1]
            elif key.key == Keys.BracketedPaste or not isinstance(key.key, Keys):
                text += key.data
        return text.strip()


def _in_background() -> bool:
    """Whether a shell runs this as a background job: it would be stopped for setting the terminal."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:  # a terminal that controls nobody
        return False
