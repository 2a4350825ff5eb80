"""Constraints on an answer: a JSON schema is checked before an engine sees it.

A schema that cannot be followed is refused with its parameter's name, since llama.cpp would
silently ignore it; one that would take an engine too long is refused too, since it would block
everyone else's answers. Checking happens outside of the event loop, in bounded time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from candide.errors import BadRequest

MAX_SCHEMA_BYTES = 256 * 1024
MAX_DEPTH = 48
MAX_NODES = 2500
"""Schemas within one schema."""
MAX_PATTERN_SIZE = 5000
"""Of one pattern, with its repetitions written out, for engines that write them out."""
MAX_COUNT = 2000

# How JSON is written: as in most training data, and never with white space without end.
GUIDANCE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
}


def make_grammar(schema: Mapping[str, Any], *, lenient: bool = False) -> str:
    """The schema as llama.cpp's `grammar` parameter, to be followed by LLGuidance."""
    guided = {**schema, "x-guidance": {**GUIDANCE, "lenient": lenient}}
    return "%llguidance {}\nstart: %json " + msgspec.json.encode(guided).decode()


async def check_schema(
    schema: Mapping[str, Any], param: str, *, lenient: bool = False, expands: bool = False
) -> None:
    """Refuse a schema that cannot be followed; `lenient` ignores keywords that are not understood.

    With `expands` it is held to what an engine can take that writes repetitions out. Raises BadRequest.
    """
    check_shape(schema, param, expands=expands)
    problem = await asyncio.to_thread(_find_problem, make_grammar(schema, lenient=lenient))
    if problem:
        raise BadRequest(f"invalid schema in '{param}': {problem}", param=param, code="invalid_json_schema")


def _find_problem(grammar: str) -> str:
    from llguidance import LLMatcher

    said = LLMatcher.validate_grammar(grammar, None)
    # The place that it names is one in our grammar, which the caller never saw.
    text = re.sub(
        r"^at \d+\(\d+\): |^failed to compile JSON schema: |\n\s*\d+ \|.*", "", said, flags=re.DOTALL
    )
    return text.removeprefix("failed to compile JSON schema: ").strip()


def check_shape(schema: Mapping[str, Any], param: str, *, expands: bool) -> None:
    """Refuse a schema for its size, depth, references and, with `expands`, repetitions. Raises BadRequest."""

    def refuse(problem: str) -> BadRequest:
        return BadRequest(f"the schema in '{param}' {problem}", param=param, code="schema_too_complex")

    if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
        raise refuse(f"is larger than {MAX_SCHEMA_BYTES} bytes")
    pending: list[tuple[Any, int]] = [(schema, 0)]
    nodes = 0
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise refuse(f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, list):
            pending += [(item, depth + 1) for item in cast("list[Any]", value)]
        elif isinstance(value, dict):
            node = cast("dict[str, Any]", value)
            nodes += 1
            if nodes > MAX_NODES:
                raise refuse(f"consists of more than {MAX_NODES} schemas")
            pending += [(item, depth + 1) for item in node.values()]
            if isinstance(node.get("$ref"), str):
                _check_reference(schema, node, refuse_loop=refuse)
            if expands:
                pattern = node.get("pattern")
                if isinstance(pattern, str) and count_repetitions(pattern) > MAX_PATTERN_SIZE:
                    raise refuse(f"has a pattern that repeats too much: '{pattern[:60]}'")
                for name in ("minItems", "maxItems", "minLength", "maxLength"):
                    count = node.get(name)
                    if isinstance(count, int) and count > MAX_COUNT:
                        raise refuse(f"has a {name} above {MAX_COUNT}")


def _check_reference(root: Mapping[str, Any], node: dict[str, Any], *, refuse_loop: Any) -> None:
    """Follow a chain of references that say nothing else; one without an end describes nothing."""
    seen: set[str] = set()
    here: Any = node
    while isinstance(here, dict):
        reference = cast("dict[str, Any]", here).get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return
        if reference in seen or (reference == "#" and "$ref" in root):
            raise refuse_loop(f"refers to itself: '{reference}'")
        seen.add(reference)
        here = _resolve(root, reference)


def _resolve(root: Any, reference: str) -> Any:
    """What a JSON pointer (RFC 6901) in a fragment points to; None when nothing is there."""
    here = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        here = cast("dict[str, Any]", here).get(name) if isinstance(here, dict) else None
    return here


_QUANTIFIER = re.compile(r"\{(\d{1,9})(,)?(\d{1,9})?\}|[*+?]")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")


def count_repetitions(pattern: str) -> int:
    """How many symbols a regular expression has when its counted repetitions are written out."""
    sizes = [0]
    last = 0
    position = 0
    while position < len(pattern):
        character = pattern[position]
        quantifier = _QUANTIFIER.match(pattern, position)
        if quantifier:
            low, comma, high = quantifier.groups()
            if low is not None:
                times = int(high or 0) if high else int(low) + (1 if comma else 0)
                sizes[-1] += last * (max(times, 1) - 1)
                last *= max(times, 1)
            position = quantifier.end()
            continue
        if character == "(":
            sizes.append(0)
            position += 1
            continue
        if character == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
            position += 1
            continue
        last = 1
        sizes[-1] += 1
        found = _CLASS.match(pattern, position) if character == "[" else None
        position = found.end() if found else position + (2 if character == "\\" else 1)
    return sum(sizes)


def calls_schema(tools: list[tuple[str, dict[str, Any]]], *, most: int = 8) -> dict[str, Any]:
    """The schema of one to `most` calls of the given tools: names, and schemas of their arguments."""
    definitions: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for number, (name, parameters) in enumerate(tools):
        place = f"tool_{number}"
        definitions[place] = _move_references(close_objects(parameters), f"#/$defs/{place}")
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{place}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    one = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {"type": "array", "items": one, "minItems": 1, "maxItems": most, "$defs": definitions}


_COMBINING = (
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
)


def close_objects(schema: Any) -> Any:
    """The schema with no members but the named ones, where it leaves that open.

    Whatever follows the closed schema follows the open one too, and small models do not wander off.
    """
    if isinstance(schema, list):
        return [close_objects(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    node = cast("dict[str, Any]", schema)
    closed = {
        name: value if name in ("allOf", "const", "enum", "default", "examples") else close_objects(value)
        for name, value in node.items()
    }
    if isinstance(node.get("properties"), dict) and not any(name in node for name in _COMBINING):
        named = cast("dict[str, Any]", node["properties"])
        if all(name in named for name in cast("list[str]", node.get("required") or [])):
            closed["additionalProperties"] = False
    return closed


def _move_references(value: Any, base: str) -> Any:
    """A schema whose references are to be found when it lies at `base` of another one."""
    if isinstance(value, list):
        return [_move_references(item, base) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        node = cast("dict[str, Any]", value)
        return {
            name: base + item[1:]
            if name == "$ref" and isinstance(item, str) and item.startswith("#")
            else _move_references(item, base)
            for name, item in node.items()
        }
    return value
