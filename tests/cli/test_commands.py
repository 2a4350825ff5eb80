"""The command as scripts use it: data on standard output, the rest beside it, exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

HEAVY = {
    "aiohttp", "alembic", "asyncio", "fastapi", "httpx", "markdown_it", "msgspec", "prompt_toolkit",
    "psutil", "pydantic", "pygments", "rich", "sqlalchemy", "starlette", "uvicorn", "xllamacpp",
}  # fmt: skip


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys, runpy\nsys.argv = ['candide', '--help']\n"
        "try: runpy.run_module('candide', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert not HEAVY & set(eval(done.stderr))


def test_version_is_printed(candide: Any) -> None:
    import candide as package

    assert candide.run("--version").out == f"candide {package.__version__}\n"


def test_answer_goes_to_standard_output_as_it_was_written(candide: Any) -> None:
    done = candide.run("ask", "markdown", "please")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("# Candide\n\nA **bold** word.")
    assert done.out.endswith("The end.\n")


def test_text_on_standard_input_is_put_under_the_question(candide: Any) -> None:
    assert candide.run("ask", "Translate:", stdin="Il faut cultiver\n").out == (
        "You said: Translate:\n\nIl faut cultiver\n"
    )


def test_standard_input_alone_is_a_question(candide: Any) -> None:
    assert candide.run("ask", stdin="Who are you? Où ?").out == "You said: Who are you? Où ?\n"


def test_json_is_one_object_with_answer_model_and_timings(candide: Any) -> None:
    done = candide.run("ask", "think", "--json")
    told = done.json()
    assert done.out.count("\n") == 1
    assert told["answer"] == "Thought through."
    assert told["reasoning"].split() == ["let", "me", "see"]
    assert (told["model"], told["state"]) == ("scripted", "finished")
    assert told["timings"]["total_ms"] > 0
    assert told["usage"]["completion_tokens"] == 2
    shown = candide.run("conversations", "show", told["conversation_id"], "--json").json()
    assert told["message_id"] == shown["current_leaf_id"]


def test_question_in_the_last_conversation_sees_what_was_said(candide: Any) -> None:
    candide.run("ask", "My name is Cunégonde.")
    candide.run("ask", "-c", "last", "What is my name?")
    said = [message["content"] for message in candide.engine.requests[-1]["messages"]]
    assert "My name is Cunégonde." in said
    assert said[-1] == "What is my name?"


def test_system_prompt_and_model_reach_the_engine(candide: Any) -> None:
    candide.run("ask", "--system", "Speak like Pangloss.", "-m", "scripted", "Hello")
    first = candide.engine.requests[-1]["messages"][0]
    assert (first["role"], first["content"]) == ("system", "Speak like Pangloss.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask"], "no question"),
        (["ask", "-m", "nosuch", "Hello"], "nosuch"),
        (["ask", "-c", "nosuch", "Hello"], "no conversation 'nosuch'"),
        (["conversations", "show", "nosuch"], "no conversation 'nosuch'"),
        (["export"], "say what to export"),
        (["chat"], "a chat needs a terminal"),
        (["import", "/nowhere"], "No such file"),
        (["ask", "refuse"], "scripted refusal"),
        (["nosuch"], "nosuch"),
        (["ask", "--nosuch"], "nosuch"),
    ],
)
def test_mistake_of_the_caller_ends_with_2_and_the_next_step(
    candide: Any, arguments: list[str], said: str
) -> None:
    done = candide.run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert "Traceback" not in done.err


def test_input_that_is_not_text_is_refused(candide: Any) -> None:
    done = candide.run("ask", stdin=b"\xff\xfe\x00")
    assert done.code == 2
    assert "not UTF-8" in done.err


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CANDIDE_PORT", "many"), ("CANDIDE_PORT", "99999"), ("CANDIDE_ENGINE_URLS", "ftp://nowhere")],
)
def test_setting_without_sense_ends_with_2_and_names_it(candide: Any, variable: str, value: str) -> None:
    done = candide.run("ask", "Hello", **{variable: value})
    assert done.code == 2
    assert value in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--model", "/dev/null"), ("--llama-server", "/nope"), ("--kv-cache", "foo"), ("--port", "70000")],
)
def test_server_does_not_begin_with_a_setting_that_leaves_it_without_an_answer(
    candide: Any, flag: str, value: str
) -> None:
    done = candide.run("serve", flag, value, CANDIDE_ENGINE_URLS="")
    assert done.code == 2
    assert value in done.err
    assert "please report" not in done.err
    assert not (candide.home / "candide.db").exists()


def test_variable_that_is_no_setting_is_warned_of_once(candide: Any) -> None:
    done = candide.run("ask", "Hello", CANDIDE_PROT="8")
    assert (done.code, done.out) == (0, "You said: Hello\n")
    assert done.err == "warning: CANDIDE_PROT is no setting; did you mean CANDIDE_PORT?\n"


@pytest.mark.slow
def test_engine_failure_ends_with_1_and_keeps_the_question(candide: Any) -> None:
    done = candide.run("ask", "unwell", "--json")
    assert done.code == 1
    assert done.json()["state"] == "failed"
    assert "error:" in done.err
    shown = candide.run("conversations", "show", "last", "--json").json()
    assert shown["messages"][0]["text"] == "unwell"


def test_model_that_is_not_there_leaves_nothing_behind(candide: Any) -> None:
    candide.serve()
    kept = candide.run("ask", "Hello", "--json").json()["conversation_id"]
    for more in ([], ["-c", "last", "--system", "Be brief."]):
        done = candide.run("ask", "-m", "scriptde", *more, "Hello")
        assert done.code == 2
        assert "hint: did you mean scripted?" in done.err
    assert [c["id"] for c in candide.run("conversations", "list", "--json").json()] == [kept]
    shown = candide.run("conversations", "show", kept, "--json").json()
    assert (len(shown["messages"]), shown["system_prompt"]) == (2, None)


def test_model_file_that_is_not_there_or_not_served_is_said_so(candide: Any, tmp_path: Path) -> None:
    for command in ("ask", "bench"):
        done = candide.run(command, "-m", "/nowhere/none.gguf", *(["Hello"] if command == "ask" else []))
        assert done.code == 2
        assert "model file '/nowhere/none.gguf' not found" in done.err
    path = tmp_path / "other.gguf"
    path.write_bytes(b"GGUF")
    server = candide.serve()
    done = candide.run("ask", "-m", str(path), "Hello")
    assert done.code == 2
    assert f"the running server, {server.url}, does not serve '{path}'" in done.err
    assert f"hint: start it with --model '{path}', or stop it" in done.err
    done = candide.run("ask", "-m", "none.gguf", "Hello")
    assert (done.code, "model file 'none.gguf' not found" in done.err) == (2, True)
    assert candide.run("ask", "-m", "scripted.gguf", "Hello").out == "You said: Hello\n"


def test_debug_shows_where_an_error_came_from(candide: Any) -> None:
    assert "Traceback" in candide.run("--debug", "conversations", "show", "nosuch").err


def test_answer_cut_in_the_middle_is_finished(candide: Any) -> None:
    assert candide.run("ask", "cut short").out == "one two three four\n"


def test_interrupt_stops_the_answer_and_ends_with_130(candide: Any) -> None:
    process, beginning = candide.begin("ask", "endless", until=6)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    shown = candide.run("conversations", "show", "last", "--json").json()["messages"][-1]
    assert shown["state"] == "stopped"
    assert (beginning + out).decode().strip() == shown["text"].strip()


def test_reader_that_closes_the_pipe_ends_the_answer_quietly(candide: Any) -> None:
    process, _ = candide.begin("ask", "endless", until=3)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
    shown = candide.run("conversations", "show", "last", "--json").json()["messages"][-1]
    assert shown["state"] == "stopped"


def test_running_server_is_used_and_left_running(candide: Any) -> None:
    server = candide.serve()
    done = candide.run("ask", "Hello", CANDIDE_ENGINE_URLS="http://127.0.0.1:1/v1")
    assert done.out == "You said: Hello\n", "the server's engine answered, not the one of this process"
    assert server.process.poll() is None
    assert not (candide.home / "logs" / "cli.log").exists()


def test_server_with_a_key_is_used_by_the_same_user(candide: Any) -> None:
    candide.serve("--api-key", "sesame")
    assert candide.run("ask", "Hello").out == "You said: Hello\n"


def test_address_of_a_dead_server_is_passed_over(candide: Any) -> None:
    candide.serve().kill()
    assert len(candide.addresses()) == 1
    assert candide.run("ask", "Hello").out == "You said: Hello\n"


def test_answer_is_whole_when_the_server_is_killed_and_started_again(candide: Any) -> None:
    server = candide.serve()
    process, beginning = candide.begin("ask", "slow", until=9)
    server.kill()
    candide.serve()
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert (beginning + rest).decode().split() == [f"w{n}" for n in range(1, 61)]


def test_answer_is_whole_when_the_server_is_killed_for_good(candide: Any) -> None:
    server = candide.serve()
    process, beginning = candide.begin("ask", "slow", until=9)
    server.kill()
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert (beginning + rest).decode().split() == [f"w{n}" for n in range(1, 61)]


def test_two_commands_at_once_share_a_home(candide: Any) -> None:
    processes = [candide.start("ask", f"Question {n}") for n in range(3)]
    for n, process in enumerate(processes):
        out, err = process.communicate(timeout=60)
        assert (out.decode(), err) == (f"You said: Question {n}\n", b"")
    assert len(candide.run("conversations", "list", "--json").json()) == 3


def test_conversations_are_listed_found_renamed_deleted_and_restored(candide: Any) -> None:
    asked = candide.run("ask", "Où est l'Eldorado ?", "--json").json()
    candide.run("ask", "Another thing")
    number = asked["conversation_id"]
    assert candide.run("conversations", "rename", number, "Voyage").code == 0
    listed = candide.run("conversations", "list").out.splitlines()
    assert len(listed) == 2
    assert any(line.split("\t")[:2] == [number, "Voyage"] for line in listed)
    for empty in ("", "  "):
        refused = candide.run("conversations", "rename", number, empty)
        assert (refused.code, "title is empty" in refused.err) == (2, True)
    assert number in candide.run("conversations", "search", "eldorado").out
    assert candide.run("conversations", "show", "Voyage").out.startswith("# Voyage\n\n## You")
    refused = candide.run("conversations", "delete", "Voyage")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert candide.run("conversations", "delete", "voyage", "--yes").code == 0
    assert number not in candide.run("conversations", "list").out
    assert candide.run("conversations", "restore", number).code == 0
    assert number in candide.run("conversations", "list").out


def test_title_with_signs_that_mean_something_in_addresses_is_found(candide: Any) -> None:
    candide.run("ask", "What/is? this#?")
    assert "You said: What/is? this#?" in candide.run("conversations", "show", "What/is? this#?").out


def test_history_is_read_without_a_model(candide: Any) -> None:
    done = candide.run("conversations", "list", "--json", CANDIDE_ENGINE_URLS="")
    assert (done.code, done.json(), done.err) == (0, [], "")


def test_reading_the_history_leaves_an_unfinished_answer_to_a_server(candide: Any) -> None:
    server = candide.serve()
    _, beginning = candide.begin("ask", "slow", until=9)
    assert beginning == b"w1 w2 w3 "
    server.kill()
    candide.end_all()
    asked = len(candide.engine.requests)
    shown = candide.run("conversations", "show", "last", "--json").json()["messages"][-1]
    assert shown["state"] in ("pending", "streaming")
    assert len(candide.engine.requests) == asked
    candide.serve()
    text = ""
    while not text.endswith("w60 "):
        text = candide.run("conversations", "show", "last", "--json").json()["messages"][-1]["text"]
    assert text.split() == [f"w{n}" for n in range(1, 61)]


@pytest.mark.parametrize("form", ["json", "chatgpt"])
def test_what_is_exported_is_imported_elsewhere_once(candide: Any, tmp_path: Path, form: str) -> None:
    for question in ("One", "Two"):
        candide.run("ask", question)
    exported = candide.run("export", "--all", "-f", form)
    with zipfile.ZipFile(io.BytesIO(exported.out_bytes)) as archive:
        before = json.loads(archive.read("conversations.json"))
    elsewhere = {"CANDIDE_HOME": str(tmp_path / "elsewhere")}
    done = candide.run("import", "-", stdin=exported.out_bytes, **elsewhere)
    assert (done.code, done.err) == (0, "standard input: 2 added\n")
    path = tmp_path / "all.zip"
    path.write_bytes(exported.out_bytes)
    done = candide.run("import", str(path), str(path), "--json", **elsewhere)
    assert [(one["added"], one["unchanged"], one["skipped"]) for one in done.json()] == [(0, 2, [])] * 2
    folder = tmp_path / "unpacked"
    assert candide.run("export", "--all", "-f", form, "-o", str(folder), **elsewhere).code == 0
    back = json.loads((folder / "conversations.json").read_text())
    if form == "json":
        before, back = before["conversations"], back["conversations"]
        assert [c["title"] for c in before] == ["Two", "One"]
    assert back == before
    assert [path.name for path in folder.iterdir()] == ["conversations.json"]


def test_an_import_that_fails_says_why_and_ends_with_1(candide: Any, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    done = candide.run("import", str(path))
    assert done.code == 1
    assert "not a ZIP file that can be read" in done.err
    assert list((candide.home / "imports").iterdir()) == []


def test_all_conversations_are_a_zip_or_a_folder(candide: Any, tmp_path: Path) -> None:
    candide.run("ask", "markdown")
    done = candide.run("export", "--all", "-o", str(tmp_path / "all.json"))
    assert done.code == 2
    assert "all.zip" in done.err
    done = candide.run("export", "--all", "-f", "markdown", "-o", str(tmp_path / "pages"))
    assert done.code == 0
    [page] = (tmp_path / "pages").iterdir()
    assert "A **bold** word." in page.read_text()


def test_export_writes_a_file_or_nothing(candide: Any, tmp_path: Path) -> None:
    candide.run("ask", "markdown")
    path = tmp_path / "candide.md"
    done = candide.run("export", "last", "-f", "markdown", "-o", str(path))
    assert (done.code, done.out) == (0, "")
    assert "A **bold** word." in path.read_text()
    done = candide.run("export", "last", "-o", str(tmp_path))
    assert done.code == 2
    assert list(tmp_path.glob(".*.part")) == []


def test_settings_say_where_each_value_comes_from(candide: Any) -> None:
    candide.home.mkdir()
    (candide.home / "settings.toml").write_text('port = 8123\napi_key = "sesame"\n')
    told = candide.run("settings", "--json", CANDIDE_THREADS="3").json()
    assert told["threads"] == {"value": 3, "origin": "CANDIDE_THREADS"}
    assert told["port"] == {"value": 8123, "origin": str(candide.home / "settings.toml")}
    assert told["slots"]["origin"] == "default"
    assert "sesame" not in candide.run("settings").out


def test_home_flag_goes_before_the_environment(candide: Any, tmp_path: Path) -> None:
    told = candide.run("--home", str(tmp_path / "other"), "settings", "--json").json()
    assert told["home"] == {"value": str(tmp_path / "other"), "origin": "flag"}


def test_doctor_finds_a_sound_installation(candide: Any) -> None:
    done = candide.run("doctor", "--json", CANDIDE_PORT="0")
    assert done.code == 0
    statuses = {check["name"]: check["status"] for check in done.json()}
    assert set(statuses.values()) == {"ok"}
    assert {"machine", "home", "disk", "weights", "database", "server", "port"} <= set(statuses)


def test_doctor_names_what_is_broken_and_what_to_do(candide: Any) -> None:
    candide.home.mkdir()
    (candide.home / "candide.db").write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    done = candide.run("doctor", "--json", CANDIDE_ENGINE_URLS="http://127.0.0.1:1/v1")
    assert done.code == 1
    failed = {check["name"]: check for check in done.json() if check["status"] == "fail"}
    assert set(failed) == {"database", "engine http://127.0.0.1:1/v1"}
    assert all(check["hint"] for check in failed.values())


def test_doctor_sees_the_running_server(candide: Any) -> None:
    server = candide.serve()
    told = {check["name"]: check["message"] for check in candide.run("doctor", "--json").json()}
    assert server.url in told["server"]
    assert "ready" in told["server"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_home_that_cannot_be_written_is_said_so(candide: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = candide.run("ask", "Hello")
    assert done.code == 1
    assert str(candide.home) in done.err


def test_home_that_is_a_file_is_said_so(candide: Any) -> None:
    candide.home.write_text("")
    for arguments in (["ask", "Hello"], ["conversations", "list"]):
        done = candide.run(*arguments)
        assert done.code == 2
        assert str(candide.home) in done.err
        assert "Traceback" not in done.err


def test_bench_measures_the_engine_and_candide(candide: Any) -> None:
    done = candide.run("bench", "--runs", "1", "--answer-tokens", "8", "--prompt-tokens", "32", "--json")
    told = done.json()
    assert told["model"] == "scripted"
    assert told["engine"]["answer_tokens"] == told["candide"]["answer_tokens"] == 8
    assert candide.run("conversations", "list", "--json").json() == [], "a measure leaves no conversation"


def test_scripted_engine_runs_alone(candide: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"replies": [{"answer": "from the script"}]}))
    process = candide.start("engine", "scripted", "--port", "0", "--script", str(script))
    try:
        assert process.stderr is not None
        url = process.stderr.readline().decode().split()[-1]
        assert candide.run("ask", "--engine-url", url, "Hello").out == "from the script\n"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_scripted_engine_says_what_is_wrong_in_its_script(candide: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"replys": []}')
    done = candide.run("engine", "scripted", "--script", str(script))
    assert done.code == 2
    assert "replys" in done.err


def test_server_says_its_address_and_ends_at_sigterm(candide: Any) -> None:
    server = candide.serve()
    server.process.send_signal(signal.SIGTERM)
    _, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    lines = err.decode().splitlines()
    assert lines[-2:] == [
        f"Candide is at {server.url}",
        f"Chat in a terminal: candide. OpenAI clients: {server.url}/v1. Every path: {server.url}/docs",
    ]
    assert candide.addresses() == []


def test_port_in_use_is_named_with_the_next_step(candide: Any) -> None:
    server = candide.serve()
    port = server.url.rpartition(":")[2]
    done = candide.run("serve", "--port", port)
    assert done.code == 1
    assert f"Candide is already at {server.url}" in done.err
    assert "--port" in done.err
    done = candide.run("serve", "--port", port, CANDIDE_HOME=str(candide.home / "other"))
    assert done.code == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.err
    assert "--port" in done.err


def test_second_server_of_a_home_says_so_and_leaves_the_first_to_be_found(candide: Any) -> None:
    first = candide.serve()
    second = candide.serve()
    assert len(candide.addresses()) == 2
    told = {check["name"]: check["message"] for check in candide.run("doctor", "--json").json()}
    assert first.url in told["server"]
    second.process.send_signal(signal.SIGTERM)
    _, err = second.process.communicate(timeout=60)
    assert f"another Candide runs on this home, at {first.url}" in err.decode()
    assert [told["url"] for told in candide.addresses()] == [first.url]
    assert candide.run("ask", "Hello", CANDIDE_ENGINE_URLS="http://127.0.0.1:1/v1").out == "You said: Hello\n"
    first.kill()
    third = candide.serve()
    assert [told["url"] for told in candide.addresses()] == [third.url]


@pytest.mark.parametrize(
    "command", [["serve"], ["ask", "Hello"], ["conversations", "list"], ["bench", "--runs", "1"], ["doctor"]]
)
def test_home_is_made_for_its_user_alone(candide: Any, command: list[str]) -> None:
    if command == ["serve"]:
        candide.serve()
    else:
        assert candide.run(*command).code == 0
    assert stat.S_IMODE(candide.home.stat().st_mode) == 0o700
    for path in candide.home.glob("candide.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_home_that_was_there_keeps_its_rights_and_what_is_put_in_it_is_private(candide: Any) -> None:
    candide.home.mkdir(mode=0o755)
    candide.serve()
    assert stat.S_IMODE(candide.home.stat().st_mode) == 0o755
    open_to_others = {
        path.relative_to(candide.home).as_posix()
        for path in candide.home.rglob("*")
        if path.stat().st_mode & 0o077
    }
    assert open_to_others <= {"models"}
    checks = {check["name"]: check for check in candide.run("doctor", "--json").json()}
    assert checks["home"]["status"] == "warn"
    assert "chmod 700" in checks["home"]["hint"]


def test_doctor_asks_the_engines_of_the_running_server(candide: Any) -> None:
    server = candide.serve("--engine-url", "http://127.0.0.1:1/v1")
    done = candide.run("doctor", "--json", CANDIDE_ENGINE_URLS="", CANDIDE_MODEL="")
    assert done.code == 1
    checks = {check["name"]: check for check in done.json()}
    assert checks["engine http://127.0.0.1:1/v1"]["status"] == "fail"
    assert "cannot be reached" in checks["engine http://127.0.0.1:1/v1"]["message"]
    assert checks["engine http://127.0.0.1:1/v1"]["hint"]
    assert server.url in checks["server"]["message"]
    assert "loading" not in checks["server"]["message"]
    assert checks["weights"]["message"] == "not needed: no embedded engine"


def test_models_that_are_not_there_are_named(candide: Any) -> None:
    done = candide.run("models", "show", "qwen2.5-coder")
    assert done.code == 2
    assert "qwen2.5-coder-1.5b" in done.err


def test_models_lists_the_catalogue_and_what_is_installed(candide: Any) -> None:
    told = candide.run("models", "list", "--json").json()
    assert {"name", "installed", "size", "tokens_per_second"} <= set(told[0])
    assert not any(model["installed"] for model in told)
    assert candide.run("models", "list", "--installed", "--json").json() == []


def test_start_without_weights_and_network_says_what_to_do(candide: Any) -> None:
    done = candide.run(
        "ask", "Hello", CANDIDE_ENGINE_URLS="", HF_HUB_OFFLINE="1", PIP_NO_INDEX="1", CANDIDE_MODEL=""
    )
    assert done.code == 1
    assert "--model PATH" in done.err


def test_shell_completion_is_offered(candide: Any) -> None:
    done = candide.run(_CANDIDE_COMPLETE="complete_bash", COMP_WORDS="candide conv", COMP_CWORD="1")
    assert "conversations" in done.out
