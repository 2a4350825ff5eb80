"""Schemas that cannot be followed, or only at everyone's cost, are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from candide.engine.constraints import calls_schema, check_schema, close_objects, count_repetitions
from candide.errors import BadRequest

DEEP: dict[str, Any] = {"type": "integer"}
for _ in range(100):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"type": "object", "not": {"type": "string"}},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "^(?=a)b$"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"enum": ["x" * 1000] * 1000},
        DEEP,
        {"allOf": [{"anyOf": [{"type": "object", "properties": {f"a{i}_{j}": {"type": "integer"}}} for i in range(6)]} for j in range(6)]},
    ],
)  # fmt: skip
async def test_a_schema_that_cannot_be_followed_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        await check_schema(schema, "response_format.json_schema.schema")
    assert caught.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    "pattern",
    ["^((a{0,100}){0,100}){0,100}$", "^(([a-z]+)*[0-9]{5,2000}){50,500}$", "^(\\w{1,500} ){1,500}$"],
)
async def test_nested_counts_are_refused_where_they_are_written_out(pattern: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "string", "pattern": pattern}}}
    with pytest.raises(BadRequest):
        await check_schema(schema, "p", expands=True)
    await check_schema(schema, "p")


@pytest.mark.parametrize("name", ["minItems", "maxItems", "minLength", "maxLength"])
async def test_large_counts_are_refused_where_they_are_written_out(name: str) -> None:
    kind = "array" if name.endswith("Items") else "string"
    with pytest.raises(BadRequest):
        await check_schema({"type": kind, name: 100_000}, "p", expands=True)


async def test_keywords_that_are_not_understood_are_ignored_where_that_is_asked_for() -> None:
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    await check_schema(schema, "p", lenient=True)
    with pytest.raises(BadRequest, match="uniqueItems"):
        await check_schema(schema, "p")


@pytest.mark.parametrize(
    ("pattern", "size"),
    [("abc", 3), ("a{5}", 5), ("(ab){3,7}", 14), ("(a{2,}b?)*", 4), ("[a-z{9}]{4}", 4), ("a\\{9", 3), ("((x{9}){9}){9}", 729)],
)  # fmt: skip
def test_repetitions_are_counted_as_if_written_out(pattern: str, size: int) -> None:
    assert count_repetitions(pattern) == size


async def test_references_of_tools_keep_their_target() -> None:
    tree = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "kind": {"$ref": "#/$defs/kind"}},
        "$defs": {"kind": {"enum": ["a", "b"]}},
    }
    schema = calls_schema([("plant", tree), ("cut", {"type": "object", "properties": {}})])
    await check_schema(schema, "tools")
    moved = schema["$defs"]["tool_0"]["properties"]
    assert (moved["child"]["$ref"], moved["kind"]["$ref"]) == ("#/$defs/tool_0", "#/$defs/tool_0/$defs/kind")


def test_objects_are_closed_only_where_the_schema_leaves_that_open() -> None:
    named = {"type": "object", "properties": {"a": {}}}
    assert close_objects(named)["additionalProperties"] is False
    for more in ({"additionalProperties": True}, {"anyOf": [{}]}, {"required": ["b"]}):
        assert close_objects({**named, **more}) == {**named, **more}


async def test_a_schema_of_thousands_of_schemas_is_refused() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(4000)}}
    with pytest.raises(BadRequest, match="2500"):
        await check_schema(schema, "p")
