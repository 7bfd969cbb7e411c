"""Alembic's way from any known state of a database to the schema."""
