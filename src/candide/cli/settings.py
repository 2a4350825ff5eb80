"""`candide settings`: every value and where it comes from."""

from __future__ import annotations

from typing import Any

from candide.cli.output import print_json, print_table
from candide.settings import Settings, options

SECRETS = frozenset({"api_key", "engine_keys", "embedding_key", "web_search_key"})


def show_settings(settings: Settings, *, as_json: bool) -> None:
    """Print name, value and origin of each setting; keys and passwords are only said to be set."""
    rows = [
        (option.name, _shown(option.name, getattr(settings, option.name)), settings.origins[option.name])
        for option in options()
    ]
    if as_json:
        print_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
    else:
        print_table(
            ("setting", "value", "from"), [(name, _format(value), origin) for name, value, origin in rows]
        )


def _shown(name: str, value: Any) -> Any:
    if name == "database_url" and value:
        from sqlalchemy import make_url

        return make_url(value).render_as_string(hide_password=True)
    if name in SECRETS and value:
        return "(set)"
    return str(value) if name == "home" else value


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)
