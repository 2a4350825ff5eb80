"""A chat as it is held: in a terminal, key by key, with what the screen shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Open = Callable[..., Any]


def messages(candide: Any) -> list[dict[str, Any]]:
    return candide.run("conversations", "show", "last", "--json").json()["messages"]


def test_answer_is_shown_as_markdown_and_the_chat_goes_on(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("markdown")
    text = chat.wait_for(r"tokens/s")
    assert "A bold word." in text
    assert " 1 one\n 2 two" in text
    assert "**" not in text
    chat.wait_for_prompt()
    chat.send("And you?")
    chat.wait_for(r"^You said: And you\?$")
    chat.wait_for_prompt()
    chat.press("ctrl-d")
    assert chat.wait() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("endless")
    chat.wait_for(r"w9 ")
    chat.press("ctrl-c")
    chat.wait_for(r"^stopped")
    chat.wait_for_prompt()
    assert "^C" not in chat.text
    assert candide.engine.active == 0
    chat.send("Still there?")
    chat.wait_for(r"^You said: Still there\?$")
    chat.wait_for_prompt()
    chat.press("ctrl-d")
    assert chat.wait() == 0
    states = [message["state"] for message in messages(candide) if message["role"] == "assistant"]
    assert states == ["stopped", "complete"]


def test_ctrl_c_at_the_prompt_clears_the_line_only(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.type("half a thought")
    chat.wait_for("half a thought")
    chat.press("ctrl-c")
    chat.wait_for("Ctrl-D leaves")
    chat.wait_for_prompt()
    chat.send("whole")
    chat.wait_for(r"^You said: whole$")


def test_answer_taller_than_the_screen_is_shown_whole_and_once(terminal: Open) -> None:
    chat = terminal(rows=12)
    chat.wait_for_prompt()
    chat.send("tall")
    text = chat.wait_for(r"tokens/s")
    assert re.findall(r"Paragraph number (\d+)\.", text) == [str(n) for n in range(1, 81)]


def test_retry_and_edit_keep_what_was_there(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("again")
    chat.wait_for(r"^The first answer\.$")
    chat.wait_for_prompt()
    chat.send("/retry")
    chat.wait_for(r"^The second answer\.$")
    chat.wait_for_prompt()
    chat.send("/edit")
    chat.wait_for(r"^edit> again$")
    chat.press("ctrl-u")
    chat.send("quite another question")
    chat.wait_for(r"^You said: quite another question$")
    chat.wait_for_prompt()
    said = messages(candide)
    questions = [message for message in said if message["role"] == "user"]
    assert [message["text"] for message in questions] == ["again", "quite another question"]
    assert {message["parent_id"] for message in questions} == {None}
    answers = [message["text"] for message in said if message["parent_id"] == questions[0]["id"]]
    assert answers == ["The first answer.", "The second answer."]


def test_branches_that_are_kept_are_listed_and_gone_back_to(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("again")
    chat.wait_for(r"^The first answer\.$")
    chat.wait_for_prompt()
    chat.send("/branch")
    chat.wait_for("nothing else is kept on this branch")
    chat.send("/retry")
    chat.wait_for(r"^answer 2/2 · ")
    chat.wait_for_prompt()
    chat.send("/edit")
    chat.wait_for(r"^edit> again$")
    chat.press("ctrl-u")
    chat.send("quite another question")
    chat.wait_for(r"^question 2/2 · ")
    chat.wait_for_prompt()
    chat.send("/branch")
    text = chat.wait_for(r"^/branch NUMBER")
    assert re.search(
        r"^  first questions\n     1  again\n  \*  2  quite another question$", text, re.MULTILINE
    )
    chat.send("/branch 1")
    chat.wait_for(r"^question 1/2 · answer 2/2$")
    chat.wait_for_prompt()
    chat.send("/branch")
    chat.wait_for(r"^  answers to “again”\n     3  The first answer\.\n  \*  4  The second answer\.$")
    chat.send("/branch 4")
    chat.wait_for("this is the branch at hand")
    chat.send("/branch 5")
    chat.wait_for("/branch takes a number from 1 to 4")
    chat.send("/branch 3")
    chat.wait_for(r"^question 1/2 · answer 1/2$")
    chat.wait_for_prompt()
    chat.send("And then?")
    chat.wait_for(r"^You said: And then\?$")
    contents = [message["content"] for message in candide.engine.requests[-1]["messages"]]
    assert contents[-3:] == ["again", "The first answer.", "And then?"]


def test_next_start_goes_on_with_the_last_conversation(terminal: Open, candide: Any) -> None:
    candide.run("ask", "My name is Cunégonde.")
    chat = terminal()
    text = chat.wait_for(r"^You said: My name is Cunégonde\.$")
    assert "going on with “My name is Cunégonde.” (2 messages, just now)" in " ".join(text.split())
    assert "> My name is Cunégonde." in text
    chat.wait_for_prompt()
    chat.send("And now?")
    chat.wait_for(r"^You said: And now\?$")
    contents = [message["content"] for message in candide.engine.requests[-1]["messages"]]
    assert "My name is Cunégonde." in contents


def test_new_begins_afresh(terminal: Open, candide: Any) -> None:
    candide.run("ask", "My name is Cunégonde.")
    chat = terminal("chat", "--new")
    chat.wait_for_prompt()
    assert "Cunégonde" not in chat.text
    chat.send("Hello")
    chat.wait_for(r"^You said: Hello$")
    chat.wait_for_prompt()
    chat.send("/new")
    chat.wait_for("a new conversation")
    chat.send("Hello again")
    chat.wait_for(r"^You said: Hello again$")
    assert len(candide.run("conversations", "list", "--json").json()) == 3


def test_open_shows_another_conversation(terminal: Open, candide: Any) -> None:
    for question in ("About gardens", "About voyages"):
        candide.run("ask", question)
    chat = terminal("chat", "--new")
    chat.wait_for_prompt()
    chat.send("/open")
    chat.wait_for(r"^\s+1  About voyages")
    chat.wait_for(r"^\s+2  About gardens")
    chat.send("/open 2")
    chat.wait_for(r"^You said: About gardens$")
    chat.send("/open voyages")
    chat.wait_for(r"^You said: About voyages$")


def test_lines_are_begun_by_alt_enter_ctrl_j_and_a_backslash(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.type("one")
    chat.press("alt-enter")
    chat.type("two")
    chat.press("ctrl-j")
    chat.type("three\\")
    chat.press("enter")
    chat.send("four")
    chat.wait_for(r"tokens/s")
    assert candide.engine.requests[-1]["messages"][-1]["content"] == "one\ntwo\nthree\nfour"


def test_pasted_lines_stay_lines(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.type("\x1b[200~first line\nsecond line\n\x1b[201~")
    chat.wait_for("second line")
    chat.send("third")
    chat.wait_for(r"tokens/s")
    assert candide.engine.requests[-1]["messages"][-1]["content"] == "first line\nsecond line\nthird"


def test_what_is_typed_during_an_answer_waits_for_the_prompt(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("slow")
    chat.wait_for(r"w5 ")
    chat.type("typed ahead")
    chat.wait_for(r"^> typed ahead\Z")
    assert [m["text"].strip().split()[-1] for m in messages(candide) if m["role"] == "assistant"] == ["w60"]


def test_unknown_command_is_refused_with_the_nearest(terminal: Open, candide: Any) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("/modle")
    chat.wait_for(r"hint: did you mean /model\?")
    chat.send("/edit")
    chat.wait_for("nothing has been said yet")
    assert candide.engine.requests == []
    chat.send("/etc/hosts is what?")
    chat.wait_for(r"^You said: /etc/hosts is what\?$")


def test_answer_that_fails_leaves_the_chat_alive(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("refuse")
    chat.wait_for(r"^error: .*scripted refusal")
    chat.wait_for_prompt()
    chat.send("better now")
    chat.wait_for(r"^better now$")


def test_export_writes_markdown_or_json_and_never_over_a_file(
    terminal: Open, candide: Any, tmp_path: Path
) -> None:
    candide.run("ask", "markdown")
    chat = terminal(columns=200)
    chat.wait_for_prompt()
    chat.send(f"/export {tmp_path}/a.md")
    chat.wait_for(r"^written to ")
    chat.send(f"/export {tmp_path}/a.json")
    chat.wait_for(r"^written to ", count=2)
    chat.send(f"/export {tmp_path}/a.md")
    chat.wait_for(r"exists\s+already")
    assert "A **bold** word." in (tmp_path / "a.md").read_text()
    assert json.loads((tmp_path / "a.json").read_bytes())["format"] == "candide"


def test_thinking_is_shown_while_it_lasts_and_then_folded(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("think")
    text = chat.wait_for(r"^Thought through\.$")
    assert re.search(r"^thought for \d+ s$", text, re.MULTILINE)
    assert "let me see" not in text


def test_model_and_help_are_commands(terminal: Open) -> None:
    chat = terminal(columns=100)
    chat.wait_for_prompt()
    chat.send("/model")
    chat.wait_for(r"\* scripted$")
    chat.send("/model nosuch")
    chat.wait_for(r"no model 'nosuch'")
    chat.send("/help")
    text = chat.wait_for("Ctrl-C stops an answer")
    for command in ("/model", "/new", "/open", "/retry", "/edit", "/branch", "/export", "/quit"):
        assert command in text
    chat.send("/quit")
    assert chat.wait() == 0


def test_retry_with_a_model_that_is_not_there_stores_nothing(terminal: Open, candide: Any) -> None:
    candide.run("ask", "Hello")
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("/retry nope")
    chat.wait_for(r"^error: no model 'nope'")
    assert [m["text"] for m in messages(candide)] == ["Hello", "You said: Hello"]
    assert terminal("chat", "-m", "nope").wait() == 2


def test_commands_are_completed(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.type("/exp")
    chat.wait_for("write this conversation")
    chat.press("tab")
    chat.wait_for(r"^> /export")


def test_earlier_questions_are_recalled_in_the_next_chat(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("remember me")
    chat.wait_for(r"^You said: remember me$")
    chat.wait_for_prompt()
    chat.press("ctrl-d")
    chat.wait()
    chat = terminal("chat", "--new")
    chat.wait_for_prompt()
    chat.press("up")
    chat.wait_for(r"^> remember me\Z")


def test_answer_goes_on_after_the_chat_was_left_and_is_shown_by_the_next(
    terminal: Open, candide: Any
) -> None:
    candide.serve()
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("slow")
    chat.wait_for(r"w5 ")
    chat.close()
    chat = terminal()
    text = chat.wait_for(r"w60")
    assert re.findall(r"w(\d+)", text.partition("> slow")[2]) == [str(n) for n in range(1, 61)]


def test_ctrl_d_leaves_at_once_and_a_running_server_goes_on(terminal: Open, candide: Any) -> None:
    candide.serve()
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("slow")
    chat.wait_for(r"w5 ")
    chat.press("ctrl-d")
    assert chat.wait() == 0
    assert "the answer goes on and the next start shows it" in chat.text
    assert "w60" not in chat.text
    text = ""
    while not text.endswith("w60 "):
        text = messages(candide)[-1]["text"]


def test_ctrl_d_leaves_and_an_answer_of_its_own_server_goes_on_at_the_next_start(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("slow")
    chat.wait_for(r"w5 ")
    chat.press("ctrl-d")
    assert chat.wait() == 0
    assert "the answer goes on at the next start" in chat.text
    assert "w60" not in chat.text
    text = terminal().wait_for(r"w60")
    assert re.findall(r"w(\d+)", text.partition("> slow")[2]) == [str(n) for n in range(1, 61)]


def test_what_is_typed_around_ctrl_d_is_not_lost_silently(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for("candide ")
    chat.type("\x04typed too early\r")
    assert chat.wait() == 0
    assert "not sent: “typed too early”" in chat.text
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("endless")
    chat.wait_for(r"w5 ")
    chat.type("and mroe\x7f\x7f\x7fore\x04")
    assert chat.wait() == 0
    assert "not sent: “and more”" in chat.text
    chat = terminal("chat", "--new")
    chat.wait_for_prompt()
    chat.press("up")
    chat.wait_for(r"^> and more\Z")


def test_chat_goes_on_when_the_server_is_started_again(terminal: Open, candide: Any) -> None:
    server = candide.serve()
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("slow")
    chat.wait_for(r"w9 ")
    server.kill()
    candide.serve()
    text = chat.wait_for(r"tokens/s")
    assert re.findall(r"w(\d+)", text) == [str(n) for n in range(1, 61)]
    chat.wait_for_prompt()
    chat.send("Hello")
    chat.wait_for(r"^You said: Hello$")


def test_no_color_shows_no_colour(terminal: Open) -> None:
    chat = terminal(NO_COLOR="1")
    chat.wait_for_prompt()
    chat.send("markdown")
    chat.wait_for(r"tokens/s")
    chat.send("/nosuch")
    chat.wait_for("no command /nosuch")
    styles = {
        int(code)
        for codes in re.findall(rb"\x1b\[([0-9;]*)m", chat.bytes)
        for code in codes.split(b";")
        if code
    }
    assert not {code for code in styles if 30 <= code <= 49 or 90 <= code <= 107}


def test_question_typed_before_the_chat_is_ready_is_asked(terminal: Open) -> None:
    chat = terminal()
    chat.wait_for("candide ")
    chat.type("early bird")
    chat.press("enter")
    chat.wait_for(r"^You said: early bird$")
