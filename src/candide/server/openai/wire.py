"""The requests of OpenAI's API, as pydantic models: what is refused, and under which name.

Types are strict (a number in quotes is no number). Fields that OpenAI does not know go on to the
engine as they are, so that `top_k`, `min_p` and their like work; those that engines share are
checked here. References: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s<|\\/>\x00-\x1f]+$")]
"""Of a message's author; OpenAI's own pattern, which also keeps it from looking like a control token."""
FunctionName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    def body(self) -> dict[str, Any]:
        """What the caller sent, as the engine gets it; `null` means the default, as with OpenAI."""
        sent = self.model_dump(exclude_unset=True, by_alias=True)
        return {name: value for name, value in sent.items() if value is not None}


class TextPart(Wire):
    type: Literal["text"]
    text: str


class RefusalPart(Wire):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Wire):
    url: Annotated[str, Field(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Wire):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Wire):
    data: str
    format: str


class AudioPart(Wire):
    type: Literal["input_audio"]
    input_audio: InputAudio


class FilePart(Wire):
    type: Literal["file"]
    file: dict[str, Any]


UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Text = str | Annotated[list[TextPart], Field(min_length=1)]


class SystemMessage(Wire):
    role: Literal["system", "developer"]
    content: Text
    name: Name | None = None


class UserMessage(Wire):
    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(min_length=1)]
    name: Name | None = None


class CalledFunction(Wire):
    name: FunctionName
    arguments: str


class ToolCall(Wire):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Wire):
    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(min_length=1)] | None = None
    name: Name | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_content: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> AssistantMessage:
        if self.content is None and not self.tool_calls and not self.refusal:
            raise ValueError("a message of the assistant needs content or tool_calls")
        return self


class ToolMessage(Wire):
    role: Literal["tool"]
    content: Text
    tool_call_id: str


Message = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Function(Wire):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Wire):
    type: Literal["function"]
    function: Function


class NamedFunction(Wire):
    name: FunctionName


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Wire):
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextFormat(Wire):
    type: Literal["text"]


class JsonObjectFormat(Wire):
    type: Literal["json_object"]


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Wire):
    include_usage: bool | None = None


class SamplingRequest(Wire):
    """What chat and legacy completions share, with the extras that engines share."""

    model: Annotated[str, Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    user: str | None = None
    top_k: int | None = None
    min_p: Fraction | None = None
    typical_p: Fraction | None = None
    repeat_penalty: Annotated[float, Field(ge=0)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0)] | None = None
    grammar: str | None = None

    @field_validator("logit_bias")
    @classmethod
    def _biases_tokens(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value and not all(key.isascii() and key.isdigit() for key in value):
            raise ValueError("keys must be the numbers of tokens")
        return value

    @field_validator("stop")
    @classmethod
    def _stops_at_something(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value is not None and any(not text for text in ([value] if isinstance(value, str) else value)):
            raise ValueError("a stop sequence cannot be empty")
        return value

    @field_validator("stream_options")
    @classmethod
    def _streams(cls, value: StreamOptions | None, info: Any) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise ValueError("only allowed when 'stream' is true")
        return value

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class WebSearchOptions(Wire):
    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: dict[str, Any] | None = None


class ChatRequest(SamplingRequest):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    modalities: list[Literal["text"]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    web_search_options: WebSearchOptions | None = None

    @field_validator("top_logprobs")
    @classmethod
    def _logs_them(cls, value: int | None, info: Any) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("only allowed when 'logprobs' is true")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _chooses_an_offered_tool(cls, value: Any, info: Any) -> Any:
        tools: list[Tool] = info.data.get("tools") or []
        offered = [tool.function.name for tool in tools]
        if isinstance(value, NamedTool) and value.function.name not in offered:
            raise ValueError(f"the tool '{value.function.name}' is not among 'tools'")
        if value == "required" and not offered:
            raise ValueError("only allowed when 'tools' are given")
        return value


class CompletionRequest(SamplingRequest):
    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=128)]
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
        | Annotated[list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]], Field(min_length=1, max_length=128)]
    )  # fmt: skip
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @field_validator("suffix")
    @classmethod
    def _has_no_suffix(cls, value: str | None) -> str | None:
        if value:
            raise ValueError("is not supported")
        return value


class EmbeddingRequest(Wire):
    model: Annotated[str, Field(min_length=1)]
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=2048)]
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
        | Annotated[list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]], Field(min_length=1, max_length=2048)]
    )  # fmt: skip
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    user: str | None = None
