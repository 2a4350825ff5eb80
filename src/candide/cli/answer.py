"""One answer, from the turn's events to what the reader sees, and how Ctrl-C stops it.

A terminal shows Markdown as it is written; anything else gets the text as it comes, byte for byte. An answer that
rests on sources is checked at its end, and may be corrected then: a terminal is painted again, and anything else gets
the text only then, so that it never holds what was taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from candide.cli.client import Client
from candide.cli.grounding import say_unread
from candide.cli.keyboard import Keyboard, suspensions
from candide.cli.output import OutputError, ReaderGone, plain_text, print_note
from candide.conversation.markdown import NOT_BORNE_OUT
from candide.domain.grounding import Grounding, split_extract
from candide.domain.turns import (
    CitationMarked,
    CitationsChecked,
    ContextCompacted,
    EngineSwitched,
    ReasoningDelta,
    SearchStarted,
    SourcesFound,
    TextDelta,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    begin_grounding,
    finish_grounding,
)
from candide.errors import BadRequest, CandideError

if TYPE_CHECKING:
    from rich.console import Console

CALLER_CODES = frozenset({
    "invalid_request", "not_found", "model_not_found", "context_length_exceeded", "unsupported_content",
})  # fmt: skip
"""Ends of a turn that asking otherwise would mend."""

BROKEN_OFF = "The model broke off here. The sources' own sentences that come nearest:"
"""What stands between the beginning of an answer and an extract of its sources."""

PAINT_EVERY_S = 0.06
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
REASONING_LINES = 4
"""How much of a model's thinking is shown while it thinks."""


class Answer(msgspec.Struct, kw_only=True):
    """What a turn came to."""

    text: str = ""
    reasoning: str = ""
    model: str = ""
    engine: str = ""
    state: str = "running"
    finish_reason: str = ""
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    grounding: Grounding | None = None
    error: dict[str, Any] | None = None

    def take(self, event: TurnEvent) -> None:
        match event:
            case TurnStarted():
                self.model, self.engine = event.model, event.engine
            case TextDelta():
                self.text += event.text
            case ReasoningDelta():
                self.reasoning += event.text
            case EngineSwitched():
                self.engine = event.to_engine
            case SourcesFound():
                self.grounding = begin_grounding(event)
            case CitationsChecked():
                if event.text is not None:
                    self.text = event.text
                if self.grounding is not None:
                    self.grounding = finish_grounding(self.grounding, event)
            case TurnFinished():
                self.state, self.finish_reason = event.state, event.finish_reason
                self.usage, self.timings = event.usage, event.timings
            case TurnFailed():
                self.state = "failed"
                self.error = {"code": event.code, "message": event.message, "hint": event.hint}
            case ContextCompacted() | SearchStarted() | CitationMarked():
                pass

    def raise_failure(self) -> None:
        """Raise what ended the turn, as the caller's mistake where it is one."""
        if self.error is None:
            return
        code, message, hint = self.error["code"], self.error["message"], self.error["hint"]
        if code in CALLER_CODES:
            raise BadRequest(message, hint=hint, code=code)
        raise CandideError(message, hint=hint, code=code)


def part_extract(checked: CitationsChecked, finish_reason: str) -> str:
    """The answer as people see it: between what the model wrote and the sentences of the sources stands why they follow."""
    own, extract = split_extract(checked.text or "", checked.extract)
    if not own.strip():
        return extract
    return f"{own.rstrip()}\n\n{BROKEN_OFF if finish_reason == 'extract' else NOT_BORNE_OUT}\n\n{extract}"


class View(Protocol):
    """Where an answer is shown."""

    def show(self, event: TurnEvent) -> None: ...

    def tick(self) -> None:
        """Called several times a second."""
        ...

    def pause(self) -> None:
        """Other programs use the terminal until the next call."""
        ...

    def close(self) -> None:
        """The answer is over, or its reader has gone."""
        ...


class SilentView:
    """Shows nothing: for `--json`."""

    def show(self, event: TurnEvent) -> None: ...

    def tick(self) -> None: ...

    def pause(self) -> None: ...

    def close(self) -> None: ...


class RawView:
    """Writes the text to standard output: as it comes, or once it is checked where it rests on sources."""

    def __init__(self) -> None:
        self._last = "\n"
        self._held: str | None = None
        self._checked: CitationsChecked | None = None

    def show(self, event: TurnEvent) -> None:
        match event:
            case SearchStarted():
                self._held = self._held or ""
            case SourcesFound():
                for line in say_unread(event.unread):
                    print_note(line)
            case TextDelta() if self._held is None:
                self._write(event.text)
            case TextDelta():
                self._held = (self._held or "") + event.text
            case CitationsChecked():
                self._checked = event
                self._held = self._held if event.text is None else event.text
            case TurnFinished() | TurnFailed():
                if self._checked is not None and self._checked.extract and isinstance(event, TurnFinished):
                    self._held = part_extract(self._checked, event.finish_reason)
                self._let_go()
            case _:
                pass

    def tick(self) -> None: ...

    def pause(self) -> None: ...

    def _let_go(self) -> None:
        held, self._held = self._held, None
        self._write(held or "")

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._last = text[-1]

    def close(self) -> None:
        self._let_go()
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._last = "\n"


class LiveView:
    """Paints the answer as Markdown on a terminal."""

    def __init__(self, console: Console, waiting_for: str = "the model") -> None:
        from candide.cli.markdown import MarkdownStream, dim

        self._console = console
        self._new_stream = lambda: MarkdownStream(console)
        self._stream = self._new_stream()
        self._dim = dim
        self._waiting_for = waiting_for
        self._notes: dict[str, None] = {}
        self._checked: CitationsChecked | None = None
        self._trouble = ""
        self._stage = ""
        self._reasoning = ""
        self._thinking_since = 0.0
        self._begun = False
        self._fresh = False
        self._since = time.monotonic()
        self._next_paint = 0.0

    def show(self, event: TurnEvent) -> None:
        match event:
            case TurnStarted():
                self._waiting_for = event.model or event.engine
            case SearchStarted():
                places = [*event.libraries, *(["the web"] if event.web else [])]
                self._stage = f"searching {plain_text(', '.join(places))}"
            case SourcesFound():
                count = len(event.sources)
                self._stage = (
                    f"{count} source{'' if count == 1 else 's'} found · waiting for {self._waiting_for}"
                )
                for line in say_unread(event.unread):
                    self._stream.replace(None)
                    print_note(line)
            case CitationsChecked() if event.extract:
                self._checked = event
            case CitationsChecked():
                if event.text is not None:
                    self._correct(event.text)
            case TextDelta():
                if not self._begun:
                    self._begin()
                self._stream.feed(event.text)
                self._fresh = True
            case ReasoningDelta():
                self._thinking_since = self._thinking_since or time.monotonic()
                self._reasoning += event.text
            case EngineSwitched():
                self._trouble = event.reason
                if event.from_engine != event.to_engine:
                    self._notes[f"{event.reason}; {event.to_engine} went on"] = None
            case ContextCompacted():
                note = f"the oldest {event.dropped_messages} messages no longer fit and were left out"
                self._notes[note] = None
            case TurnFinished() if self._checked is not None:
                self._correct(part_extract(self._checked, event.finish_reason))
            case TurnFinished() | TurnFailed() | CitationMarked():
                pass

    def tick(self) -> None:
        now = time.monotonic()
        if self._begun:
            if self._fresh and now >= self._next_paint:
                self._stream.paint()
                self._fresh = False
                # A long block takes long to render; the answer must not wait for its own painting.
                self._next_paint = now + 4 * (time.monotonic() - now)
            return
        self._stream.replace(self._dim(self._waiting_line(now)))

    def pause(self) -> None:
        # What may still change is taken off the screen and painted anew, below what comes in between.
        self._stream.replace(None)
        self._fresh = self._begun

    def add(self, lines: list[str]) -> None:
        """Print lines under an answer that is closed."""
        if lines:
            self._console.print()
        for line in lines:
            self._console.print(self._dim(line))

    def close(self) -> None:
        if self._begun:
            self._stream.finish()
        else:
            self._stream.replace(None)
        # Told at the end: in the middle they would tear a list or a table apart.
        for note in self._notes:
            print_note(f"[{note}]")
        self._notes.clear()

    def _begin(self) -> None:
        self._begun = True
        if self._reasoning:
            seconds = time.monotonic() - self._thinking_since
            self._stream.replace(self._dim(f"thought for {seconds:.0f} s\n"))
            self._stream.keep()
        else:
            self._stream.replace(None)

    def _correct(self, text: str) -> None:
        """Show the answer as it is once it was checked."""
        if not self._begun:
            self._begin()
        if not self._stream.correct(text):
            # What has to change stands where it can no longer be painted over.
            self._stream.finish()
            self._console.print()
            self._console.print(self._dim("[the check of the citations corrected this answer; it is now:]"))
            self._console.print()
            self._stream = self._new_stream()
            self._stream.feed(text)
        self._fresh = True

    def _waiting_line(self, now: float) -> str:
        spinner = SPINNER[int(now * 10) % len(SPINNER)]
        if self._reasoning:
            width = max(20, self._console.size.width - 2)
            tail = self._reasoning[-width * REASONING_LINES :].strip().splitlines()[-REASONING_LINES:]
            return "\n".join([*(line[-width:] for line in tail), f"{spinner} thinking"])
        waited = now - self._since
        seconds = f" · {waited:.0f} s" if waited >= 2 else ""
        trouble = f" · {self._trouble}" if self._trouble else ""
        stage = self._stage or f"waiting for {self._waiting_for}"
        return f"{spinner} {stage}{seconds}{trouble}" if self._stage or waited > 0.3 else spinner


@contextlib.contextmanager
def interrupts(handle: Callable[[], None]) -> Generator[None]:
    """Call `handle` for every Ctrl-C, where it would otherwise end the program."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    try:
        loop.add_signal_handler(signal.SIGINT, handle)
    except (NotImplementedError, RuntimeError):  # Windows

        def from_any_thread(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(handle)

        signal.signal(signal.SIGINT, from_any_thread)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


async def follow(client: Client, turn_id: str, view: View, keyboard: Keyboard | None = None) -> Answer:
    """Show a turn to its end; Ctrl-C stops the answer, and a second one only stops looking at it.

    On a `keyboard` Ctrl-D stops looking at it too.
    `Answer.state` is `running` when the reader left before the end.
    """
    answer = Answer()
    interrupted = 0
    stopping: list[asyncio.Task[None]] = []
    reader = asyncio.create_task(_read(client, turn_id, view, answer))

    def interrupt() -> None:
        nonlocal interrupted
        interrupted += 1
        if interrupted == 1:
            stopping.append(asyncio.create_task(client.stop_turn(turn_id)))
        else:
            reader.cancel()

    try:
        watched = keyboard.watched(reader.cancel) if keyboard else contextlib.nullcontext()
        with interrupts(interrupt), suspensions(view.pause), watched:
            while not reader.done():
                view.tick()
                await asyncio.wait([reader], timeout=PAINT_EVERY_S)
        if not reader.cancelled():
            reader.result()
    except (ReaderGone, OutputError):
        await client.stop_turn(turn_id)  # nobody reads on
        raise
    finally:
        reader.cancel()
        await asyncio.gather(reader, *stopping, return_exceptions=True)
        with contextlib.suppress(ReaderGone, OutputError):
            view.close()
    return answer


async def _read(client: Client, turn_id: str, view: View, answer: Answer) -> None:
    async for event in client.turn_events(turn_id):
        answer.take(event)
        view.show(event)
