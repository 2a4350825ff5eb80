"""Libraries that people use over OpenAI's protocol: pydantic-ai, instructor, the OpenAI Agents SDK, llm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import instructor
import openai
import pytest
from pydantic import BaseModel

from candide.engine.scripted import Reply, Script, ScriptedCall

pytestmark = pytest.mark.filterwarnings("default")


class Person(BaseModel):
    name: str
    age: int


WEATHER = [
    Reply(match="weather", times=1, answer="", tool_calls=[ScriptedCall(name="get_weather", arguments={"city": "Paris"})]),
    Reply(answer="It is sunny in Paris."),
]  # fmt: skip


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def open_async(place: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=place.url, api_key="none", max_retries=0)


@pytest.mark.parametrize("kind", ["chat", "responses"])
async def test_pydantic_ai_runs_an_agent_with_tools(serve: Callable[..., Any], kind: str) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    place = serve(Script(replies=WEATHER))
    async with open_async(place) as client:
        provider = OpenAIProvider(openai_client=client)
        model = (OpenAIChatModel if kind == "chat" else OpenAIResponsesModel)("scripted", provider=provider)
        agent = Agent(model, tools=[get_weather])
        result = await agent.run("What is the weather?")
    assert result.output == "It is sunny in Paris."
    assert [message["role"] for message in place.engine.requests[-1]["messages"]] == [
        "user",
        "assistant",
        "tool",
    ]
    assert place.engine.requests[-1]["messages"][-1]["content"] == "sunny in Paris"


async def test_pydantic_ai_streams_text_and_reads_structured_output(serve: Callable[..., Any]) -> None:
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    place = serve(
        Script(replies=[Reply(match="Who", answer='{"name": "Candide", "age": 21}'), Reply(answer="a b c")])
    )
    async with open_async(place) as client:
        model = OpenAIChatModel("scripted", provider=OpenAIProvider(openai_client=client))
        agent = Agent(model, output_type=NativeOutput(Person))
        assert (await agent.run("Who?")).output == Person(name="Candide", age=21)
        assert place.engine.requests[-1]["response_format"]["type"] == "json_schema"
        async with Agent(model).run_stream("Count") as streamed:
            texts = [text async for text in streamed.stream_text(delta=True)]
        assert "".join(texts) == "a b c"


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA])
def test_instructor_extracts_objects(serve: Callable[..., Any], mode: instructor.Mode) -> None:
    person = {"name": "Candide", "age": 21}
    called = Reply(answer="", tool_calls=[ScriptedCall(name="Person", arguments=person)])
    place = serve(
        Script(replies=[called if mode == instructor.Mode.TOOLS else Reply(answer=json.dumps(person))])
    )
    client = instructor.from_openai(place.client(), mode=mode)
    found = client.chat.completions.create(
        model="scripted", response_model=Person, messages=[{"role": "user", "content": "Candide is 21"}]
    )
    assert (found.name, found.age) == ("Candide", 21)


@pytest.mark.parametrize("kind", ["chat", "responses"])
async def test_the_agents_sdk_runs_an_agent_with_tools(serve: Callable[..., Any], kind: str) -> None:
    import agents

    agents.set_tracing_disabled(True)
    place = serve(Script(replies=WEATHER))
    async with open_async(place) as client:
        make = agents.OpenAIChatCompletionsModel if kind == "chat" else agents.OpenAIResponsesModel
        agent = agents.Agent(
            name="Guide",
            model=make(model="scripted", openai_client=client),
            tools=[agents.function_tool(get_weather)],
        )
        result = agents.Runner.run_streamed(agent, "What is the weather?")
        kinds = [event.type async for event in result.stream_events()]
    assert result.final_output == "It is sunny in Paris."
    assert "raw_response_event" in kinds
    assert place.engine.requests[-1]["messages"][-1]["role"] == "tool"


def test_llm_asks_from_the_command_line(serve: Callable[..., Any], tmp_path: Path) -> None:
    place = serve(Script(replies=[Reply(answer="Forty-two.")]))
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: candide\n  model_name: scripted\n  api_base: {place.url}\n"
    )
    environ = {**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    for flags in ([], ["--no-stream"]):
        asked = [sys.executable, "-m", "llm", "-m", "candide", *flags, "What is the answer?"]
        done = subprocess.run(asked, capture_output=True, text=True, env=environ, timeout=100)
        assert done.stdout.strip() == "Forty-two.", done.stderr
