"""The requests of `/v1/responses`, and what they mean as a chat.

Of the tools that OpenAI hosts, those that search are here; the others (code interpreter, ...) are refused by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Discriminator, Field, Tag, field_validator

from candide.server.openai.search_tools import (
    FILE_SEARCH,
    WEB_SEARCH,
    ChosenSearch,
    FileSearchTool,
    WebSearchTool,
)
from candide.server.openai.wire import (
    Count,
    Fraction,
    FunctionName,
    JsonObjectFormat,
    JsonSchema,
    NamedFunction,
    TextFormat,
    Wire,
)


class InputText(Wire):
    type: Literal["input_text", "output_text", "text", "summary_text", "reasoning_text"]
    text: str


class RefusalContent(Wire):
    type: Literal["refusal"]
    refusal: str


class InputImage(Wire):
    type: Literal["input_image"]
    image_url: Annotated[str, Field(min_length=1)]
    detail: Literal["auto", "low", "high", "original"] | None = None


Content = Annotated[InputText | RefusalContent | InputImage, Field(discriminator="type")]


class MessageItem(Wire):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]


class FunctionCallItem(Wire):
    type: Literal["function_call"]
    call_id: str
    name: FunctionName
    arguments: str


class FunctionOutputItem(Wire):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Content]


class ReasoningItem(Wire):
    type: Literal["reasoning"]


class SearchItem(Wire):
    """A search of an earlier answer, as it comes back in the next request; the answer itself says what was found."""

    type: Literal["file_search_call", "web_search_call"]


def _kind_of(item: Any) -> str:
    if isinstance(item, dict):
        return str(cast("dict[str, Any]", item).get("type", "message"))
    return str(getattr(item, "type", "message"))


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[SearchItem, Tag("file_search_call")]
    | Annotated[SearchItem, Tag("web_search_call")],
    Discriminator(
        _kind_of,
        custom_error_type="union_tag_of_item",
        custom_error_message="only items of type message, function_call, function_call_output, reasoning, "
        "file_search_call and web_search_call are known",
    ),
]


class FunctionTool(Wire):
    # The type comes first: of a tool that does not exist here, it is what is wrong.
    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


def _kind_of_tool(tool: Any) -> str:
    kind = str(
        cast("dict[str, Any]", tool).get("type") if isinstance(tool, dict) else getattr(tool, "type", "")
    )
    return "web_search" if kind in WEB_SEARCH else kind


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[FileSearchTool, Tag(FILE_SEARCH)]
    | Annotated[WebSearchTool, Tag("web_search")],
    Discriminator(
        _kind_of_tool,
        custom_error_type="union_tag_of_tool",
        custom_error_message="only tools of type function, file_search and web_search are here",
    ),
]


class NamedFunctionChoice(NamedFunction):
    type: Literal["function"]


class SchemaFormat(JsonSchema):
    type: Literal["json_schema"]


class TextOptions(Wire):
    format: Annotated[TextFormat | JsonObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Wire):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseRequest(Wire):
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[str, Field(min_length=1)] | Annotated[list[InputItem], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool | None = None
    background: bool | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunctionChoice | ChosenSearch | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    max_output_tokens: Count | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    user: str | None = None
    conversation: None = None
    prompt: None = None

    @field_validator("tool_choice")
    @classmethod
    def _chooses_an_offered_tool(cls, value: Any, info: Any) -> Any:
        tools: list[Any] = info.data.get("tools") or []
        named = [tool.name for tool in tools if isinstance(tool, FunctionTool)]
        if isinstance(value, NamedFunctionChoice) and value.name not in named:
            raise ValueError(f"the tool '{value.name}' is not among 'tools'")
        if isinstance(value, ChosenSearch) and value.type not in [tool.type for tool in tools]:
            raise ValueError(f"the tool '{value.type}' is not among 'tools'")
        if value == "required" and not tools:
            raise ValueError("only allowed when 'tools' are given")
        return value

    @property
    def searches(self) -> bool:
        """Whether a tool that searches is to be used."""
        searching = [tool for tool in self.tools or () if not isinstance(tool, FunctionTool)]
        return bool(searching) and self.tool_choice != "none"

    def input_items(self) -> list[dict[str, Any]]:
        """The input as items, a plain text as one message."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return [
            {"type": item.type, **item.model_dump(exclude_unset=True, by_alias=True)} for item in self.input
        ]

    def chat_params(self) -> dict[str, Any]:
        """Everything but the messages, as a chat request says it."""
        params: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_output_tokens,
            "user": self.user,
            "reasoning_effort": self.reasoning.effort if self.reasoning else None,
            "response_format": self._response_format(),
        }
        functions = [tool for tool in self.tools or () if isinstance(tool, FunctionTool)]
        if functions:
            params["tools"] = [
                {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}
                for tool in functions
            ]
            params["parallel_tool_calls"] = self.parallel_tool_calls
            choice = self.tool_choice
            if isinstance(choice, NamedFunctionChoice):
                params["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
            elif not isinstance(choice, ChosenSearch):
                params["tool_choice"] = choice
        extra = self.model_extra or {}
        params |= {name: extra[name] for name in ENGINE_EXTRAS if name in extra}
        return {name: value for name, value in params.items() if value is not None}

    def _response_format(self) -> dict[str, Any] | None:
        wanted = self.text.format if self.text else None
        if wanted is None or isinstance(wanted, TextFormat):
            return None
        if isinstance(wanted, JsonObjectFormat):
            return {"type": "json_object"}
        described = wanted.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
        return {"type": "json_schema", "json_schema": described}


ENGINE_EXTRAS = ("seed", "stop", "top_k", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty",
                 "logit_bias", "chat_template_kwargs")  # fmt: skip


def to_chat_messages(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items, of a request's input or of an earlier output, as messages of a chat."""
    messages: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item["role"], "content": _chat_content(item["content"])})
        elif kind == "function_call":
            call = {
                "id": item["call_id"],
                "type": "function",
                "function": {"name": item["name"], "arguments": item["arguments"]},
            }
            # Calls belong to the assistant's message before them, as a chat has it.
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            content = _chat_content(item["output"])
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    return messages


def _chat_content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in cast("list[dict[str, Any]]", content):
        if part["type"] == "input_image":
            image = {"url": part["image_url"]}
            if part.get("detail") in ("auto", "low", "high"):
                image["detail"] = part["detail"]
            parts.append({"type": "image_url", "image_url": image})
        else:
            parts.append({"type": "text", "text": part.get("text", part.get("refusal", ""))})
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts
