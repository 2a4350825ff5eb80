"""One turn, from the question to the answer. Read this first.

A turn is durable: whoever runs it may die between any two steps, and another one runs it again, from
the top, with the events that it had emitted. So every step before the engine can be repeated, and the
engine is given the partial answer to go on from. Saving is the turn log's: an event that is yielded
here is committed before anyone sees it, and the last one together with the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Protocol

from candide.conversation.tree import find_branch
from candide.domain.engines import AnswerWriter, Completion
from candide.domain.messages import Conversation, Message, StoredFile
from candide.domain.turns import (
    ContextCompacted,
    TextDelta,
    Turn,
    TurnEvent,
    TurnFinished,
    TurnStarted,
)
from candide.errors import ContextTooLong, NotFound, UnsupportedContent
from candide.prompt.instructions import compose_system_prompt
from candide.prompt.messages import build_prompt, compact, find_files, has_image

MAX_COMPACTIONS = 16


class Conversations(Protocol):
    """Where the branch comes from."""

    async def load_for_turn(self, conversation_id: str) -> tuple[Conversation, list[Message], list[str]]:
        """The conversation, its tree, and what the user wants of every answer in it."""
        ...


class Files(Protocol):
    """Where the files of questions are."""

    async def load(self, file_ids: Collection[str]) -> dict[str, StoredFile]: ...


async def run_turn(
    turn: Turn,
    earlier: Sequence[TurnEvent],
    *,
    conversations: Conversations,
    files: Files,
    writer: AnswerWriter,
    system_prompt: str,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[TurnEvent, None]:
    """Write the answer to a turn's question, going on after the events that it has already.

    The question was saved when the turn was accepted. Raises what the engine raised when no route
    could finish the answer, and BadRequest when the question itself is refused.
    """
    started = clock()
    first_token: float | None = None
    resumed = bool(earlier)
    partial = "".join(event.text for event in earlier if isinstance(event, TextDelta))

    # 1. Say who answers.
    model, engine = await writer.first_engine(turn.model)
    yield TurnStarted(model=model, engine=engine, continued=bool(earlier))

    # 2. Load the branch that the question ends.
    conversation, messages, instructions = await conversations.load_for_turn(turn.conversation_id)
    branch = find_branch(messages, turn.user_message_id)
    if not branch:
        raise NotFound(f"the question '{turn.user_message_id}' was deleted")
    needed = find_files(branch)
    stored = await files.load(needed) if needed else {}

    # 3. Build the prompt; leave the oldest messages out while it does not fit.
    system = compose_system_prompt(system_prompt, conversation, instructions)
    completion = Completion(finish_reason="stop", usage={})
    compactions = 0
    with_images = True
    while True:
        kept = compact(branch, compactions)
        # 4. Stream from the engine. What comes is checkpointed as it is yielded.
        try:
            async for piece in writer.write(
                turn.model, build_prompt(kept, system, stored, with_images=with_images), turn.params, partial
            ):
                if isinstance(piece, Completion):
                    completion = piece
                    continue
                if isinstance(piece, TextDelta):
                    first_token = first_token or clock()
                    partial += piece.text
                yield piece
        except ContextTooLong:
            if len(kept) == 1 or compactions == MAX_COMPACTIONS:
                raise
            compactions += 1
            yield ContextCompacted(dropped_messages=len(branch) - len(compact(branch, compactions)))
        except UnsupportedContent:
            # Of another model's days: a question that has no image itself is answered without those before it.
            if not with_images or has_image(branch[-1]):
                raise
            with_images = False
        else:
            break

    # 5. End: the log saves this event, the answer and the turn's state in one transaction.
    total_s = clock() - started
    writing_s = clock() - (first_token or started)
    tokens = completion.usage.get("completion_tokens") or 0
    yield TurnFinished(
        state="finished",
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        timings={
            # Of a turn that was taken over, nobody here knows when its reader saw the first word.
            "first_token_ms": None if resumed else round(1000 * ((first_token or clock()) - started), 1),
            "total_ms": round(1000 * total_s, 1),
            "tokens_per_second": round(tokens / writing_s, 1) if tokens and writing_s > 0 else None,
        },
    )
