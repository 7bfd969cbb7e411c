"""Ibis' compiler for PostgreSQL without those of twenty other databases, whose import takes longer than an answer."""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

_PACKAGE = "ibis.backends.sql.compilers"

if TYPE_CHECKING or _PACKAGE in sys.modules:
    from ibis.backends.sql.compilers import PostgresCompiler
else:
    # The package stands for itself, unread, while one module of it is imported; whoever wants another reads it then.
    found: ModuleSpec | None = find_spec(_PACKAGE)
    if found is None:
        raise ImportError(_PACKAGE)
    sys.modules[_PACKAGE] = module_from_spec(found)
    try:
        from ibis.backends.sql.compilers.postgres import PostgresCompiler
    finally:
        del sys.modules[_PACKAGE]

__all__ = ["PostgresCompiler"]
