"""Numbered migrations, run by Alembic at start; `HEAD` is the last, so that a start without one to run
need not load Alembic."""

HEAD = "0007"
