"""`candide models`, as people type it: what is listed, what answers by default, what a shell completes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def rows(candide: Any, *flags: str, **environment: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in candide.run("models", "list", "--json", *flags, **environment).json()}


def defaults(listed: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, row in listed.items() if row["default"]]


def test_the_model_that_is_chosen_for_the_machine_is_the_default(candide: Any) -> None:
    listed = rows(candide, CANDIDE_ENGINE_URLS="")
    assert len(defaults(listed)) == 1
    done = candide.run("models", "list", CANDIDE_ENGINE_URLS="")
    starred = [line.split("\t")[1] for line in done.out.splitlines() if line.startswith("*")]
    assert starred == defaults(listed)


@pytest.mark.weights
def test_what_was_set_goes_before_what_would_be_chosen(candide: Any, smol_path: Path) -> None:
    alone = {"CANDIDE_ENGINE_URLS": ""}
    assert candide.run("models", "pull", str(smol_path), "--name", "smol", "--use").code == 0
    assert defaults(rows(candide, **alone)) == ["smol"]
    assert defaults(rows(candide, CANDIDE_MODEL="qwen3-4b", **alone)) == ["qwen3-4b"]
    assert defaults(rows(candide)) == [], "an attached engine answers"


def test_models_of_attached_engines_are_listed_while_a_server_runs(candide: Any) -> None:
    assert "scripted" not in rows(candide)
    candide.serve("--api-key", "sesame")
    listed = rows(candide)
    assert defaults(listed) == ["scripted"]
    assert listed["scripted"]["engines"]
    assert not listed["scripted"]["installed"]
    assert "qwen3-4b" in listed
    line = candide.run("models", "list").out.splitlines()[0].split("\t")
    assert (line[0], line[1], line[-1]) == ("*", "scripted", listed["scripted"]["engines"][0])
    assert rows(candide, "--installed") == {}


def test_the_list_is_told_without_a_server_that_was_killed(candide: Any) -> None:
    candide.serve().kill()
    done = candide.run("models", "list", "--json")
    assert (done.code, done.err) == (0, "")


def test_sizes_are_decimal(candide: Any) -> None:
    cells = [line.split("\t") for line in candide.run("models", "list").out.splitlines()]
    sizes = {line[1]: line[2] for line in cells}
    assert sizes["qwen2.5-coder-1.5b"] == "1.1 GB"
    assert sizes["smollm2-135m"] == "98.4 MB"


@pytest.mark.parametrize("arguments", [("show", "nope"), ("use", "nope"), ("remove", "nope", "--yes")])
def test_a_name_that_is_none_is_the_mistake_of_who_typed_it(candide: Any, arguments: tuple[str, ...]) -> None:
    done = candide.run("models", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "nope" in done.err
    assert "hint:" in done.err


def complete(candide: Any, typed: str, **environment: str) -> list[str]:
    done = candide.run(
        _CANDIDE_COMPLETE="complete_bash",
        COMP_WORDS=f"candide {typed}",
        COMP_CWORD=str(len(f"candide {typed}_".split()) - 1),
        **environment,
    )
    assert done.err == ""
    return done.out.split()


def test_names_of_models_are_completed(candide: Any) -> None:
    (candide.home / "models").mkdir(parents=True)
    (candide.home / "models" / "qwerty.gguf").write_bytes(b"")
    assert complete(candide, "models show qwe")[:2] == ["qwerty", "qwen2.5-coder-1.5b"]
    assert complete(candide, "models use q") == ["qwerty"]
    assert complete(candide, "models pull smol") == ["smollm2-135m"]
    assert complete(candide, "serve --model qwer") == ["qwerty"]
    elsewhere = {"CANDIDE_HOME": str(candide.home / "elsewhere")}
    assert complete(candide, f"--home {candide.home} models use q", **elsewhere) == ["qwerty"]
    assert complete(candide, "models use q", **elsewhere) == []


def test_a_setting_without_sense_does_not_disturb_completion(candide: Any) -> None:
    assert complete(candide, "models show smol", CANDIDE_PORT="many") == ["smollm2-135m"]


def test_an_adapter_is_attached_to_its_model_and_forgotten(
    candide: Any, qwen_path: Path, smol_path: Path
) -> None:
    assert candide.run("models", "pull", str(qwen_path), "--name", "qwen").code == 0
    shipped = candide.run("models", "show", "qwen", "--json").json()["adapter"]
    attached = candide.run("models", "adapter", shipped, "--base", "qwen")
    assert attached.code == 0, attached.err
    assert candide.run("models", "show", "qwen", "--json").json()["adapter"] == attached.out.strip()
    refused = candide.run("models", "adapter", str(smol_path), "--base", "qwen")
    assert (refused.code, "is no adapter" in refused.err) == (2, True)
    assert candide.run("models", "adapter", "--base", "qwen").code == 2
    assert "forgotten" in candide.run("models", "adapter", "--remove", "--base", "qwen").err
    assert candide.run("models", "show", "qwen", "--json").json()["adapter"] == shipped
