"""`candide chat`: a conversation in the terminal.

The conversation lives in the server; this module shows its current branch and sends what is typed.
Leaving loses nothing: an answer that is being written goes on, and the next start shows it.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import has_completions
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console

from candide.cli.answer import Answer, LiveView, follow
from candide.cli.client import Client, ConversationView, MessageView
from candide.cli.connection import connect
from candide.cli.grounding import find_cited, say_grounding
from candide.cli.keyboard import Keyboard
from candide.cli.markdown import MarkdownStream, dim
from candide.cli.output import ago, plain_text, print_error, print_note
from candide.conversation.tree import find_leaf, find_siblings
from candide.domain.grounding import Grounding, SearchWishes
from candide.domain.sources import Library
from candide.errors import BadRequest, CallerError, CandideError

if TYPE_CHECKING:
    from candide.settings import Settings

COMMANDS = {
    "/model": ("[NAME]", "show the models, or answer with another one from here on"),
    "/library": (
        "[NAME]",
        "list the libraries, or answer from one from here on; /library off searches nothing",
    ),
    "/web": ("", "answer from the web too from here on, or no longer"),
    "/new": ("", "begin a new conversation, with the same libraries"),
    "/open": ("[ID or words of the title]", "list the conversations, or go on with one of them"),
    "/retry": ("[MODEL]", "answer the last question anew; the old answer is kept beside it"),
    "/edit": ("[N]", "rewrite the last question, or the N-th; the old branch is kept beside it"),
    "/branch": ("[N]", "list the answers and questions that are kept, or go back to one of them"),
    "/title": ("TEXT", "name this conversation"),
    "/search": ("WORDS", "search every conversation"),
    "/export": ("[FILE]", "write this conversation to a file; .json holds everything, .md is to be read"),
    "/help": ("", "show this"),
    "/quit": ("", "leave; so does Ctrl-D, also during an answer, which goes on"),
}
LISTED = 15
"""How many conversations `/open` lists."""
NO_FORK = "nothing else is kept on this branch; /retry and /edit begin another"


async def chat(
    settings: Settings, *, new: bool, reference: str | None, model: str | None, alone: bool
) -> None:
    """Talk until the user leaves."""
    async with connect(settings, alone=alone, needs_model=True) as client:
        await Chat(client, settings.home, model).run(new=new, reference=reference)


class Chat:
    def __init__(self, client: Client, home: Path, model: str | None) -> None:
        self._client = client
        self._home = home
        self._model = model
        self._wishes = SearchWishes()
        """Of a conversation that is still to begin."""
        self._conversation: ConversationView | None = None
        self._listed: list[ConversationView] = []
        self._completer = _ChatCompleter()
        self._console = Console(highlight=False)
        self._session: PromptSession[str] = PromptSession(
            history=_open_history(home),
            multiline=True,
            key_bindings=_key_bindings(),
            completer=self._completer,
            complete_while_typing=True,
            enable_open_in_editor=True,
            enable_suspend=True,
            prompt_continuation=HTML("<ansibrightblack>… </ansibrightblack>"),
        )

    async def run(self, *, new: bool, reference: str | None) -> None:
        if self._model is not None:
            self._model = await self._client.find_model(self._model)
        await self._refresh_completions()
        with contextlib.suppress(EOFError):
            await self._talk(new=new, reference=reference)
        if unsent := Keyboard(self._session.input).take_text():
            self._session.history.append_string(unsent)
            print_note(f"not sent: “{unsent}”; Up recalls it in the next chat")

    async def _talk(self, *, new: bool, reference: str | None) -> None:
        """Take lines until the user leaves; raises EOFError for Ctrl-D."""
        print_note(f"{self._model or self._default_model()} answers; /model shows the others")
        if reference is not None:
            await self._resume(await self._client.find_conversation(reference))
        elif not new:
            page, _ = await self._client.list_conversations(1)
            if page:
                await self._resume(await self._client.conversation(page[0].id))
        text = ""
        while True:
            try:
                text = await self._session.prompt_async(HTML("<b>&gt; </b>"), default=text)
            except KeyboardInterrupt:
                print_note("Ctrl-D leaves")
                text = ""
                continue
            text, typed = "", text.rstrip()
            if not typed.strip():
                continue
            if typed.strip() == "/quit":
                return
            try:
                if _is_command(typed):
                    await self._obey(typed.strip())
                else:
                    await self._ask(typed)
            except CandideError as error:
                print_error(error)
                if not isinstance(error, CallerError) and not _is_command(typed):
                    text = typed  # the question is offered again, not lost

    # Commands

    async def _obey(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        match command:
            case "/help":
                self._help()
            case "/library":
                await self._choose_library(rest)
            case "/web":
                await self._switch_web()
            case "/new":
                await self._begin_anew()
            case "/model":
                await self._choose_model(rest)
            case "/open":
                await self._open(rest)
            case "/retry":
                await self._retry(rest or None)
            case "/edit":
                await self._edit(rest)
            case "/branch":
                await self._branch(rest)
            case "/title":
                await self._rename(rest)
            case "/search":
                await self._search(rest)
            case "/export":
                await self._export(rest)
            case _:
                near = difflib.get_close_matches(command, COMMANDS, n=1)
                raise BadRequest(
                    f"no command {command}", hint=f"did you mean {near[0]}?" if near else "/help lists them"
                )

    async def _begin_anew(self) -> None:
        """Begin a new conversation, which is answered from where the one before was: few change places with the topic."""
        there = {library.id for library in await self._client.libraries()}
        before = self._searched()
        kept = tuple(one for one in before.libraries if one in there)
        self._wishes = SearchWishes() if before.off else SearchWishes(libraries=kept, web=before.web)
        self._conversation = None
        print_note("a new conversation")
        if self._wishes.is_on:
            await self._say_places(self._wishes)
            print_note("/library off has it answered without")

    def _help(self) -> None:
        width = max(len(f"{name} {args}") for name, (args, _) in COMMANDS.items())
        for name, (args, text) in COMMANDS.items():
            self._console.print(f"  {f'{name} {args}':{width}}  {text}", markup=False)
        self._console.print(
            "\n  Enter sends; Alt+Enter, Ctrl-J or a \\ at the end of the line begins another line.\n"
            "  Ctrl-C stops an answer; Ctrl-Z suspends; Up recalls earlier questions; Ctrl-X Ctrl-E opens $EDITOR.",
            markup=False,
        )

    async def _choose_model(self, name: str) -> None:
        if not name:
            current = self._model or (self._conversation.model if self._conversation else None)
            for model in await self._client.models():
                chosen = model.name == current if current else model.default
                self._console.print(f"  {'*' if chosen else ' '} {model.name}", markup=False)
            return
        self._model = name = await self._client.find_model(name)
        if self._conversation is not None:
            await self._client.change_conversation(self._conversation.id, model=name)
        print_note(f"{name} answers from here on")

    async def _choose_library(self, name: str) -> None:
        wishes = self._searched()
        libraries = await self._client.libraries()
        self._completer.libraries = libraries
        if not name:
            for library in libraries:
                mark = "*" if library.id in wishes.libraries and not wishes.off else " "
                count = f"{library.sources} source{'' if library.sources == 1 else 's'}"
                self._print(f"  {mark} {plain_text(library.name)}", f"  {count}")
            if not libraries:
                print_note("no library yet; candide add TARGET --library NAME makes one")
            return
        if name == "off":
            await self._wish(SearchWishes())
            return
        named = [one for one in libraries if name in (one.id, one.name)]
        named = named or [one for one in libraries if one.name.casefold() == name.casefold()]
        if not named:
            near = difflib.get_close_matches(name, [one.name for one in libraries], n=1)
            raise BadRequest(
                f"there is no library '{name}'",
                hint=f"did you mean {near[0]}?" if near else "/library lists them",
            )
        chosen = (*wishes.libraries, named[0].id) if not wishes.off else (named[0].id,)
        await self._wish(SearchWishes(libraries=tuple(dict.fromkeys(chosen)), web=wishes.web))

    async def _switch_web(self) -> None:
        wishes = self._searched()
        libraries = () if wishes.off else wishes.libraries
        await self._wish(SearchWishes(libraries=libraries, web=not wishes.web))

    async def _wish(self, wishes: SearchWishes) -> None:
        """Have answers be looked for there from here on."""
        if self._conversation is None:
            self._wishes = wishes
        else:
            await self._client.change_conversation(
                self._conversation.id, search=msgspec.to_builtins(wishes) if wishes.is_on else None
            )
            self._conversation.search = wishes
        if wishes.is_on:
            await self._say_places(wishes)
        else:
            print_note("nothing is searched")

    async def _say_places(self, wishes: SearchWishes) -> None:
        names = {library.id: library.name for library in await self._client.libraries()}
        places = [names.get(one, "a library that was deleted") for one in wishes.libraries]
        places += ["the web"] if wishes.web else []
        print_note(f"answers come from {', '.join(places)}")

    def _searched(self) -> SearchWishes:
        if self._conversation is None:
            return self._wishes
        return self._conversation.search or SearchWishes()

    async def _open(self, reference: str) -> None:
        if reference:
            if reference.isdigit() and 0 < int(reference) <= len(self._listed):
                conversation = await self._client.conversation(self._listed[int(reference) - 1].id)
            else:
                conversation = await self._client.find_conversation(reference)
            await self._resume(conversation)
            return
        self._listed, _ = await self._client.list_conversations(LISTED)
        self._completer.conversations = self._listed
        if not self._listed:
            print_note("no conversation yet")
            return
        for number, conversation in enumerate(self._listed, 1):
            mark = "*" if self._conversation and self._conversation.id == conversation.id else " "
            title = plain_text(conversation.title) or "untitled"
            self._print(f"  {mark} {number:2}  {title}", f"  {ago(conversation.updated_at)}")
        print_note("/open NUMBER goes on with one")

    async def _retry(self, model: str | None) -> None:
        question = self._questions()[-1]
        if model is not None:
            model = await self._client.find_model(model)
        await self._turn(user_message_id=question.id, **self._chosen_model(model))

    async def _edit(self, number: str) -> None:
        questions = self._questions()
        if number and not (number.isdigit() and 0 < int(number) <= len(questions)):
            raise BadRequest(f"/edit takes a number from 1 to {len(questions)}")
        question = questions[int(number) - 1 if number else -1]
        try:
            text = await self._session.prompt_async(
                HTML("<b>edit&gt; </b>"), default=question.text, complete_while_typing=False
            )
        except (KeyboardInterrupt, EOFError):
            print_note("nothing changed")
            return
        finally:
            self._session.complete_while_typing = True
        if not text.strip():
            print_note("nothing changed")
            return
        await self._turn(text=text.rstrip(), parent_id=question.parent_id, **self._chosen_model())

    async def _branch(self, number: str) -> None:
        conversation = self._current()
        if not number:
            await self._reload()
            self._list_branches(self._current())
            return
        kept = [message for siblings in conversation.forks() for message in siblings]
        if not kept:
            raise BadRequest(NO_FORK)
        if not (number.isdigit() and 0 < int(number) <= len(kept)):
            raise BadRequest(f"/branch takes a number from 1 to {len(kept)}", hint="/branch lists them")
        chosen = kept[int(number) - 1]
        if chosen in conversation.branch():
            print_note("this is the branch at hand")
            return
        leaf = find_leaf(conversation.messages, chosen.id)
        await self._client.change_conversation(conversation.id, current_leaf_id=leaf)
        self._conversation = await self._client.conversation(conversation.id)
        await self._show_last()

    def _list_branches(self, conversation: ConversationView) -> None:
        forks = conversation.forks()
        if not forks:
            print_note(NO_FORK)
            return
        branch = {message.id: message for message in conversation.branch()}
        width = max(20, self._console.size.width - 10)
        number = 0
        for siblings in forks:
            parent = branch.get(siblings[0].parent_id or "")
            kind = "answers to" if siblings[0].role == "assistant" else "questions after"
            place = f"{kind} “{_shorten(parent)}”" if parent else "first questions"
            self._print(faint=f"  {place[:width]}")
            for message in siblings:
                number += 1
                mark = "*" if message.id in branch else " "
                self._print(f"  {mark} {number:2}  {_shorten(message, width)}")
        print_note("/branch NUMBER goes on there")

    async def _rename(self, title: str) -> None:
        if not title:
            raise BadRequest("/title takes the new title")
        await self._client.change_conversation(self._current().id, title=title)
        self._current().title = title

    async def _search(self, query: str) -> None:
        if not query:
            raise BadRequest("/search takes the words to look for")
        hits = await self._client.search(query)
        self._listed = []
        for hit in hits:
            if hit.conversation_id not in {c.id for c in self._listed}:
                self._listed.append(ConversationView(id=hit.conversation_id, title=hit.conversation_title))
            number = [c.id for c in self._listed].index(hit.conversation_id) + 1
            title = plain_text(hit.conversation_title) or "untitled"
            self._print(f"  {number:2}  {title}: ", " ".join(plain_text(hit.snippet).split()))
        print_note("/open NUMBER goes on with one" if hits else f"nothing about '{query}'")

    async def _export(self, name: str) -> None:
        conversation = self._current()
        path = _choose_file(name, conversation)
        form = "json" if path.suffix.lower() == ".json" else "markdown"
        _write_new(path, await self._client.export_conversation(conversation.id, form))
        print_note(f"written to {path}")

    # Turns

    async def _ask(self, text: str) -> None:
        if self._conversation is None:
            wishes = msgspec.to_builtins(self._wishes) if self._wishes.is_on else None
            conversation_id = await self._client.create_conversation(model=self._model, search=wishes)
            self._conversation = await self._client.conversation(conversation_id)
        await self._turn(text=text, **self._chosen_model())

    async def _turn(self, **fields: Any) -> None:
        turn = await self._client.begin_turn(self._current().id, **fields)
        await self._follow(turn.id)

    async def _follow(self, turn_id: str) -> None:
        self._console.print()
        keyboard = Keyboard(self._session.input)
        view = LiveView(self._console, self._shown_model())
        try:
            answer = await follow(self._client, turn_id, view, keyboard)
        finally:
            if not keyboard.left:
                await self._reload()
        if keyboard.left:
            if answer.state == "running":
                when = "at the next start" if self._client.is_own else "and the next start shows it"
                print_note(f"the answer goes on {when}")
            raise EOFError
        await self._show_grounding(answer.grounding)
        self._console.print(dim(" · ".join(filter(None, (self._places(), _summary(answer))))))
        self._console.print()
        answer.raise_failure()

    async def _show_grounding(self, grounding: Grounding | None) -> None:
        """What an answer rests on, under it."""
        if grounding is None:
            return
        sources = await find_cited(self._client, self._current().id, grounding)
        lines = say_grounding(grounding, sources)
        if lines:
            self._print()
        for line in lines:
            self._console.print(dim(line))

    async def _reload(self) -> None:
        with contextlib.suppress(CandideError):
            self._conversation = await self._client.conversation(self._current().id)

    def _chosen_model(self, name: str | None = None) -> dict[str, str]:
        chosen = name or self._model
        return {"model": chosen} if chosen else {}

    # The conversation at hand

    async def _resume(self, conversation: ConversationView) -> None:
        """Go on with a conversation: its last exchange is shown, and its answer if it is being written."""
        self._conversation = conversation
        branch = conversation.branch()
        title = plain_text(conversation.title) or "an untitled conversation"
        count = f"{len(branch)} message{'' if len(branch) == 1 else 's'}"
        print_note(f"going on with “{title}” ({count}, {ago(conversation.updated_at)}); /new begins afresh")
        if conversation.search is not None and conversation.search.is_on:
            await self._say_places(conversation.search)
        await self._show_last()

    async def _show_last(self) -> None:
        """The last exchange of the current branch."""
        branch = self._current().branch()
        question = next((m for m in reversed(branch) if m.role == "user"), None)
        if question is None:
            return
        self._print()
        for number, line in enumerate(plain_text(question.text).splitlines()):
            self._console.print(f"{'> ' if number == 0 else '… '}{line}", style="bold", markup=False)
        last = branch[-1]
        if last.role != "assistant":
            self._print()
            return
        if last.state in ("pending", "streaming") and last.turn_id is not None:
            await self._follow(last.turn_id)
            return
        self._print()
        stream = MarkdownStream(self._console)
        stream.feed(last.text)
        stream.finish()
        await self._show_grounding(last.grounding)
        remarks = (self._places(), "" if last.state == "complete" else last.state)
        if any(remarks):
            self._console.print(dim(" · ".join(filter(None, remarks))))
        self._print()

    def _places(self) -> str:
        """Which of how many the last question and the last answer are, where there are others."""
        conversation = self._current()
        places: list[str] = []
        for message in conversation.branch()[-2:]:
            siblings = find_siblings(conversation.messages, message)
            if len(siblings) > 1:
                kind = "question" if message.role == "user" else "answer"
                places.append(f"{kind} {siblings.index(message) + 1}/{len(siblings)}")
        return " · ".join(places)

    def _current(self) -> ConversationView:
        if self._conversation is None:
            raise BadRequest("nothing has been said yet", hint="type a question, or /open a conversation")
        return self._conversation

    def _questions(self) -> list[MessageView]:
        questions = [m for m in self._current().branch() if m.role == "user"]
        if not questions:
            raise BadRequest("nothing has been asked yet", hint="type a question")
        return questions

    def _default_model(self) -> str:
        return next((m.name for m in self._completer.models if m.default), "no model yet")

    def _shown_model(self) -> str:
        in_conversation = self._conversation.model if self._conversation else None
        return self._model or in_conversation or self._default_model()

    async def _refresh_completions(self) -> None:
        with contextlib.suppress(CandideError):
            self._completer.models = await self._client.models()
            self._completer.libraries = await self._client.libraries()
            self._completer.conversations, _ = await self._client.list_conversations(LISTED)

    def _print(self, text: str = "", faint: str = "") -> None:
        self._console.print(text, dim(faint), sep="", markup=False) if faint else self._console.print(
            text, markup=False
        )


class _ChatCompleter(Completer):
    """Completes commands and what follows them; questions are left alone."""

    def __init__(self) -> None:
        from candide.cli.client import ModelView

        self.models: list[ModelView] = []
        self.conversations: list[ConversationView] = []
        self.libraries: list[Library] = []

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in document.text:
            return
        command, space, rest = text.partition(" ")
        if not space:
            for name, (_, help_text) in COMMANDS.items():
                if name.startswith(command):
                    yield Completion(name, -len(command), display_meta=help_text)
        elif command in ("/model", "/retry"):
            for model in self.models:
                if rest.casefold() in model.name.casefold():
                    yield Completion(model.name, -len(rest))
        elif command == "/library":
            for name in ["off", *(library.name for library in self.libraries)]:
                if rest.casefold() in name.casefold():
                    yield Completion(name, -len(rest))
        elif command == "/open":
            for conversation in self.conversations:
                title = plain_text(conversation.title)
                if title and rest.casefold() in title.casefold():
                    yield Completion(title, -len(rest), display_meta=ago(conversation.updated_at))


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    def send_or_continue(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None
        else:
            buffer.validate_and_handle()

    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    def close_menu(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    bindings.add("enter")(send_or_continue)
    bindings.add("escape", "enter")(begin_line)
    bindings.add("c-j")(begin_line)
    bindings.add("escape", filter=has_completions, eager=True)(close_menu)
    return bindings


def _open_history(home: Path) -> FileHistory | InMemoryHistory:
    path = home / "chat_history"
    try:
        home.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()  # a home that cannot be written is told elsewhere
    return FileHistory(str(path))


def _choose_file(name: str, conversation: ConversationView) -> Path:
    if name:
        return Path(name).expanduser()
    slug = re.sub(r"[^\w]+", "-", conversation.title.casefold()).strip("-")[:60]
    return Path(f"{slug or conversation.id}.md")


def _write_new(path: Path, document: bytes) -> None:
    """Write a file that is not there yet: a slip of the pen must not cost an old one."""
    try:
        with path.open("xb") as file:
            file.write(document)
    except FileExistsError:
        raise BadRequest(f"'{path}' exists already", hint="/export FILE takes another name") from None
    except OSError as error:
        raise BadRequest(f"'{path}' cannot be written: {error.strerror}") from error


def _shorten(message: MessageView, width: int = 50) -> str:
    """A message's first words on one line; its state where it has none."""
    words = " ".join(plain_text(message.text).split()) or f"({message.state})"
    return words if len(words) <= width else f"{words[: width - 1]}…"


def _is_command(text: str) -> bool:
    """Whether a line is a command: `/name`, not a path nor a longer text that begins with one."""
    return re.match(r"/[a-z]+(\s|$)", text.strip()) is not None and "\n" not in text.strip()


def _summary(answer: Answer) -> str:
    parts: list[str] = []
    if answer.state == "stopped":
        parts.append("stopped")
    elif answer.state == "failed":
        parts.append("failed")
    elif answer.state == "running":
        parts.append("the answer goes on; /open shows it")
    if answer.finish_reason == "length":
        parts.append("cut at the longest answer allowed")
    speed = answer.timings.get("tokens_per_second")
    if isinstance(speed, int | float) and speed > 0:
        parts.append(f"{speed:.1f} tokens/s")
    first = answer.timings.get("first_token_ms")
    if isinstance(first, int | float):
        parts.append(f"first token after {first / 1000:.1f} s")
    return " · ".join(parts)
