"""One turn, from the question to the answer. Read this first.

A turn is durable: whoever runs it may die between any two steps, and another one runs it again, from
the top, with the events that it had emitted. So every step before the engine can be repeated, and the
engine is given the partial answer to go on from. Saving is the turn log's: an event that is yielded
here is committed before anyone sees it, and the last one together with the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from candide.citations.extract import extract
from candide.citations.marks import MarkParser
from candide.citations.refusal import say_silence
from candide.conversation.tree import find_branch
from candide.domain.citations import Sentence
from candide.domain.engines import AnswerWriter, Completion
from candide.domain.grounding import Grounding, SearchWishes, read_grounding, read_groundings
from candide.domain.language import tell_language
from candide.domain.messages import Conversation, Message, StoredFile
from candide.domain.retrieval import Filters, Retriever
from candide.domain.sources import NumberedSource
from candide.domain.turns import (
    CitationMarked,
    CitationsChecked,
    ContextCompacted,
    SearchStarted,
    SourcesFound,
    TextDelta,
    Turn,
    TurnEvent,
    TurnFinished,
    TurnStarted,
    begin_grounding,
    join_text,
    merge_params,
)
from candide.errors import ContextTooLong, EngineError, NotFound, UnsupportedContent, WeightsError
from candide.prompt.instructions import compose_system_prompt
from candide.prompt.messages import build_prompt, compact, find_files, has_image
from candide.prompt.sources import (
    GROUNDED_PARAMS,
    SYSTEM_PROMPT,
    collect_sources,
    is_small_talk,
    number_sources,
    present_sources,
)

MAX_COMPACTIONS = 16
SHOWN_PASSAGES = 4
PASSAGES_A_SOURCE = 3
SHOWN_SCORE = 0.5
"""Of the best passage's score. What has less holds the answer no more than once in a hundred questions (`eval/shown.py`), and each
passage is seconds before the first word on two cores."""


class Conversations(Protocol):
    """Where the branch comes from."""

    async def load_for_turn(self, conversation_id: str) -> tuple[Conversation, list[Message], list[str]]:
        """The conversation, its tree, and what the user wants of every answer in it."""
        ...


class Files(Protocol):
    """Where the files of questions are."""

    async def load(self, file_ids: Collection[str]) -> dict[str, StoredFile]: ...


class Checked(Protocol):
    """An answer after the check of its citations."""

    @property
    def text(self) -> str | None:
        """As it was corrected; None where nothing was to correct."""
        ...

    @property
    def sentences(self) -> list[Sentence]: ...

    @property
    def abstained(self) -> bool: ...


@dataclass(frozen=True)
class Search:
    """What answers from sources need."""

    retriever: Retriever
    list_names: Callable[[], Awaitable[dict[str, str]]]
    """The names of the libraries, by id."""
    find_unread: Callable[[Collection[str]], Awaitable[list[str]]]
    """What of these libraries could not be read, and why, a line each."""
    check: Callable[[str, Sequence[NumberedSource], str], Awaitable[Checked]]
    """Holds an answer against the sources that the model was shown for a question."""


async def run_turn(
    turn: Turn,
    earlier: Sequence[TurnEvent],
    *,
    conversations: Conversations,
    files: Files,
    writer: AnswerWriter,
    system_prompt: str,
    answer_tokens: int = 0,
    search: Search | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[TurnEvent, None]:
    """Write the answer to a turn's question, going on after the events that it has already.

    The question was saved when the turn was accepted. Raises what the engine raised when no route
    could finish the answer, and BadRequest when the question itself is refused. With good sources a turn
    ends well without an engine too: with an extract of them.
    """
    started = clock()
    first_token: float | None = None
    resumed = bool(earlier)
    partial = join_text(earlier)
    wishes = turn.search if search is not None and turn.search is not None and turn.search.is_on else None
    engine_error: EngineError | WeightsError | None = None

    # 1. Say who answers.
    try:
        model, engine = await writer.first_engine(turn.model)
    except (EngineError, WeightsError) as error:
        if wishes is None:
            raise
        engine_error, model, engine = error, turn.model, ""
    yield TurnStarted(model=model, engine=engine, continued=resumed)

    # 2. Load the branch that the question ends.
    conversation, messages, instructions = await conversations.load_for_turn(turn.conversation_id)
    branch = find_branch(messages, turn.user_message_id)
    if not branch:
        raise NotFound(f"the question '{turn.user_message_id}' was deleted")
    question = branch[-1]
    needed = find_files(branch)
    stored = await files.load(needed) if needed else {}

    # 3. Search, where the conversation or the user asks for it; number the sources. It is done once: what was found is
    # frozen into the turn.
    found = next((event for event in reversed(earlier) if isinstance(event, SourcesFound)), None)
    asks = bool(question.text.strip()) and not is_small_talk(question.text)
    if found is None and wishes is not None and search is not None and asks:
        names = await search.list_names()
        searched = [names[library] for library in wishes.libraries if library in names]
        yield SearchStarted(query=question.text, libraries=searched, web=wishes.web)
        found = await find_sources(question, branch[:-1], messages, wishes, search)
        yield found
    groundings = read_groundings(branch)
    grounding = begin_grounding(found) if found is not None else None
    if grounding is not None:
        groundings[question.id] = grounding
    elif engine_error is not None:
        raise engine_error

    # 4. Build the prompt; leave the oldest messages out while it does not fit.
    if grounding is None:
        system = compose_system_prompt(system_prompt, conversation, instructions)
    else:
        system = compose_system_prompt("", conversation, instructions, before=SYSTEM_PROMPT)
    params = merge_params(
        {"max_tokens": answer_tokens or None}, GROUNDED_PARAMS if grounding is not None else {}, turn.params
    )
    shown = collect_sources(groundings.values()) if grounding is not None else []
    # Without numbers there are no marks to find.
    marks = MarkParser({source.number for source in shown}) if grounding is not None else None
    if marks is not None:
        marks.feed(partial)
    completion = Completion(finish_reason="stop", usage={})
    compactions = 0
    with_images = True
    silent = grounding is not None and not grounding.is_good
    if silent:
        # No model is asked what the sources do not say.
        nearest = grounding.sources if grounding is not None else []
        said = describe_silence(choose_language(branch, nearest), nearest)
        yield TextDelta(text=said[len(partial) :])
        partial = said
    while not silent and engine_error is None:
        kept = compact(branch, compactions)
        prompt = build_prompt(present_sources(kept, groundings), system, stored, with_images=with_images)
        # 5. Stream from the engine. What comes is checkpointed as it is yielded.
        try:
            async for piece in writer.write(
                turn.model, prompt, params, partial, adapted=grounding is not None
            ):
                if isinstance(piece, Completion):
                    completion = piece
                    continue
                if isinstance(piece, TextDelta):
                    first_token = first_token or clock()
                    partial += piece.text
                yield piece
                if isinstance(piece, TextDelta) and marks is not None:
                    for mark in marks.feed(piece.text):
                        yield CitationMarked(number=mark.number, start=mark.start, end=mark.end)
        except ContextTooLong as error:
            if len(kept) == 1 or compactions == MAX_COMPACTIONS:
                raise explain_length(error, question) from error
            compactions += 1
            yield ContextCompacted(dropped_messages=len(branch) - len(compact(branch, compactions)))
        except UnsupportedContent:
            # Of another model's days: a question that has no image itself is answered without those before it.
            if not with_images or has_image(branch[-1]):
                raise
            with_images = False
        except EngineError as error:
            if grounding is None:
                raise
            engine_error = error
        else:
            break

    for mark in marks.finish() if marks is not None else ():
        yield CitationMarked(number=mark.number, start=mark.start, end=mark.end)

    # 6. Check the citations; where the model failed, the sources speak for themselves.
    if grounding is not None and search is not None:
        failed = engine_error is not None and not silent
        yield await check_answer(partial, question.text, grounding, shown, search, failed=failed)
        if failed:
            completion = Completion(finish_reason="extract", usage={})

    # 7. End: the log saves this event, the answer and the turn's state in one transaction.
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


async def find_sources(
    question: Message,
    history: Sequence[Message],
    tree: Sequence[Message],
    wishes: SearchWishes,
    search: Search,
) -> SourcesFound:
    """Search for a question, and give the sources their numbers: those that they have in the conversation, or new ones."""
    found = await search.retriever.search(
        question.text,
        msgspec.structs.replace(wishes.filters or Filters(), libraries=wishes.libraries),
        limit=min(SHOWN_PASSAGES, wishes.limit or SHOWN_PASSAGES),
        per_source=PASSAGES_A_SOURCE,
        web=wishes.web,
        history=history,
    )
    known = [source for answer in tree for source in sources_of(answer)]
    least = SHOWN_SCORE * max((result.score for result in found.results), default=0.0)
    return SourcesFound(
        query=found.query,
        sources=number_sources(known, [result for result in found.results if result.score >= least]),
        is_good=found.is_good and bool(found.results),
        unread=await search.find_unread(wishes.libraries),
        missing=found.missing,
    )


def explain_length(error: ContextTooLong, question: Message) -> ContextTooLong:
    """The error with what to do about a question that the model's context does not hold."""
    message, hint = error.message, "shorten the question, or choose a model with a longer context"
    if names := [f"'{part['file']['name']}'" for part in question.parts if part.get("type") == "file"]:
        message = f"the question with {', '.join(names)} is longer than the model can read: {message}"
        hint = "add the file to a library and search there, attach a part of it, or choose a model with a longer context"
    return ContextTooLong(
        message,
        prompt_tokens=error.prompt_tokens,
        context_tokens=error.context_tokens,
        param=error.param,
        hint=hint,
    )


def sources_of(answer: Message) -> list[NumberedSource]:
    """The sources that were found for an answer."""
    grounding = read_grounding(answer)
    return grounding.sources if grounding is not None else []


def describe_silence(language: str, nearest: Sequence[NumberedSource]) -> str:
    """The answer where no source is good enough: that they do not say, and which are the nearest."""
    lines = [f"- {source.title or source.uri} [{source.number}]" for source in nearest]
    return "\n".join([say_silence(language), *(["", *lines] if lines else [])])


def choose_language(branch: Sequence[Message], nearest: Sequence[NumberedSource]) -> str:
    """The language of the last question; where that cannot be told, of the last one before it that can be, or else of the
    nearest source."""
    questions = [tell_language(message.text) for message in reversed(branch) if message.role == "user"]
    return next(filter(None, [*questions, *(source.language for source in nearest)]), "en")


async def check_answer(
    answer: str,
    question: str,
    grounding: Grounding,
    shown: Sequence[NumberedSource],
    search: Search,
    *,
    failed: bool,
) -> CitationsChecked:
    """Hold an answer against what the model was shown.

    One that no source bears out, or that was not written to its end because the engine `failed`, is followed by an
    extract of the sources.
    """
    if not grounding.is_good:
        return CitationsChecked(abstained=True)
    checked = await search.check(answer, shown, question)
    text = answer if checked.text is None else checked.text
    claims = [sentence for sentence in checked.sentences if sentence.support is not None]
    is_good = (
        checked.abstained
        or (not claims and bool(answer.strip()))
        or any(sentence.support != "unsupported" for sentence in claims)
    )
    if is_good and not failed:
        return CitationsChecked(text=checked.text, sentences=checked.sentences, abstained=checked.abstained)
    taken = extract(question, grounding.sources)
    offset = len(text) + 2 if text else 0
    return CitationsChecked(
        text="\n\n".join(filter(None, (text, taken.text))),
        sentences=checked.sentences,
        extract=[move(sentence, offset) for sentence in taken.sentences],
    )


def move(sentence: Sentence, offset: int) -> Sentence:
    """The sentence where it stands in a longer text."""
    return msgspec.structs.replace(sentence, start=sentence.start + offset, end=sentence.end + offset)
