"""The tree of a conversation's messages.

A branch is the path from a root to one message. Trees come from the database and from imported files;
whatever they hold, a branch ends: a parent that is missing ends it, a cycle is cut. A message is
whatever has an id, a parent and a role: the stored one, or what a client was told of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Node(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def role(self) -> str: ...


N = TypeVar("N", bound=Node)


def find_branch(messages: Iterable[N], leaf_id: str | None) -> list[N]:
    """The messages from the root to `leaf_id`, in that order; empty when there is no such message."""
    by_id = {message.id: message for message in messages}
    branch: list[N] = []
    seen: set[str] = set()
    current = by_id.get(leaf_id) if leaf_id else None
    while current is not None and current.id not in seen:
        seen.add(current.id)
        branch.append(current)
        current = by_id.get(current.parent_id) if current.parent_id else None
    branch.reverse()
    return branch


def find_siblings(messages: Iterable[N], message: N) -> list[N]:
    """The message and its alternatives: those with the same parent, oldest first."""
    same = [
        other for other in messages if other.parent_id == message.parent_id and other.role == message.role
    ]
    return sorted(same, key=lambda other: other.id)


def find_leaf(messages: Iterable[Node], message_id: str) -> str:
    """The newest leaf under a message: where a reader who picks this branch ends up."""
    children: dict[str, list[str]] = {}
    for message in messages:
        if message.parent_id is not None:
            children.setdefault(message.parent_id, []).append(message.id)
    current = message_id
    seen = {current}
    while below := [child for child in children.get(current, []) if child not in seen]:
        current = max(below)
        seen.add(current)
    return current


def order_parents_first(parents: Mapping[str, str | None]) -> tuple[dict[str, str | None], bool]:
    """The parents of the ids, in an order in which a parent comes before its children.

    A cycle is cut at the first of its ids, which then has no parent, as has whose parent is missing. Also
    whether anything was cut.
    """
    children: dict[str | None, list[str]] = {}
    for key, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(key)
    ordered: dict[str, str | None] = dict.fromkeys(children.get(None, []))
    rest = iter(parents)
    cut = False
    pending = list(ordered)
    while True:
        for key in pending:  # grows while it is walked
            for child in children.get(key, []):
                if child not in ordered:
                    ordered[child] = key
                    pending.append(child)
        first = next((key for key in rest if key not in ordered), None)
        if first is None:
            return ordered, cut
        cut = True
        ordered[first] = None
        pending = [first]
