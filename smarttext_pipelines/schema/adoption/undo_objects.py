"""Functions, views, policies, defaults and comments, back to what adoption found. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from smarttext_pipelines.schema.adoption.change import COMPARED, Change
from smarttext_pipelines.schema.adoption.undo import Before, Undo, is_theirs, literal, quoted
from smarttext_pipelines.schema.adoption.undo_rights import rights_from_nothing
from smarttext_pipelines.schema.adoption.undo_structure import added_columns
from smarttext_pipelines.schema.public_state import FUNCTIONS, TABLES, VIEWS
from smarttext_pipelines.schema.rights.roles import POLICY

_COMMANDS = {"*": "ALL", "a": "INSERT", "r": "SELECT", "w": "UPDATE", "d": "DELETE"}
_OUR_DEFAULT = "now() AT TIME ZONE "
_THEIRS = "the application's"


def views_off(before: Before) -> Iterator[Undo]:
    """Yield the views, in one statement; those of the application are made again by ``objects_back``."""
    there = [view for view in VIEWS if ("view", view) in before.found]
    ours = (view for view in there if ("view", view) not in before.record)
    changes = tuple(Change(f"view {view}", "ours", "dropped", ()) for view in ours)
    if there:
        yield Undo(changes, (f"DROP VIEW {', '.join(f'public.{view}' for view in there)}",))


def objects_back(before: Before) -> Iterator[Undo]:
    """Yield functions, views, policies and what else the application had on its tables."""
    yield from _functions_back(before)
    for view in VIEWS:
        if ("view", view) in before.record:
            yield _view_back(before, view)
    yield from _policies_back(before)
    yield from _default_back(before)
    comments = list(_comments_back(before))
    if comments:
        change = Change("comments on tables and columns", f"{len(comments)} of ours", "as they were found", ())
        yield Undo((change,), tuple(comments))


def _functions_back(before: Before) -> Iterator[Undo]:
    for name in FUNCTIONS:
        key = ("function", name)
        now, had = before.found.get(key), before.record.get(key)
        if had is None and now is not None and not is_theirs(now):
            yield Undo((Change(f"function {name}", "ours", "dropped", ()),), (f"DROP FUNCTION public.{name}",))
        elif had is not None:
            yield _function_back(before, name, had)
    for (kind, name), state in before.theirs.items():
        if kind == "function" and name not in FUNCTIONS and (kind, name) not in before.found:
            yield _function_back(before, name, state)


def _function_back(before: Before, name: str, had: Mapping[str, Any]) -> Undo:
    now = before.found.get(("function", name))
    definition = (before.later("function", name) or had)["definition"]
    what = "PROCEDURE" if definition.startswith("CREATE OR REPLACE PROCEDURE") else "FUNCTION"
    statements = [
        *([f"DROP ROUTINE public.{name}"] if now else []),
        definition,
        *_owner(before, f"{what} public.{name}", had),
        *rights_from_nothing(before, "function", name),
        *_comment(f"{what} public.{name}", had["comment"]),
    ]
    state = _THEIRS if is_theirs(now) else "ours" if now else "-"
    return Undo((Change(f"function {name}", state, f"{_THEIRS}, with the rights that were found", ()),),
                tuple(statements))  # fmt: skip


def _view_back(before: Before, view: str) -> Undo:
    now, had = before.found.get(("view", view)), before.record["view", view]
    chosen = before.later("view", view) or had
    definition = chosen["definition"]
    options = f" WITH ({', '.join(chosen['options'])})" if chosen["options"] else ""
    statements = [
        f"CREATE VIEW public.{view}{options} AS {definition.rstrip().rstrip(';')}",
        *_owner(before, f"VIEW public.{view}", had),
        *rights_from_nothing(before, "view", view),
        *_comment(f"VIEW public.{view}", had["comment"]),
    ]
    for (kind, name), state in before.record.items():
        # A definition that the application gave later may have other columns.
        if kind == "column" and name.startswith(f"{view}.") and state["comment"] and definition == had["definition"]:
            statements += _comment(f"COLUMN public.{view}.{quoted(name.partition('.')[2])}", state["comment"])
    was = _THEIRS if is_theirs(now) else "ours" if now else "-"
    return Undo((Change(f"view {view}", was, f"{_THEIRS}, with the rights that were found", ()),),
                tuple(statements))  # fmt: skip


def _policies_back(before: Before) -> Iterator[Undo]:
    for table in TABLES:
        is_dropped = table not in before.adopted and table not in before.filled
        for policy in () if is_dropped else ("service_role_all", POLICY):
            key = ("policy", f"{table}.{policy}")
            now, had = before.found.get(key), before.record.get(key)
            if now is None or (had and all(now[part] == had[part] for part in COMPARED["policy"])):
                continue
            statements = [f"DROP POLICY {quoted(policy)} ON public.{table}"]
            if had:
                statements += _policy(table, policy, had)
            then = "as it was found" if had else "dropped"
            yield Undo((Change(f"policy {policy} on {table}", "ours", then, ()),), tuple(statements))


def _policy(table: str, policy: str, had: Mapping[str, Any]) -> Iterator[str]:
    conditions = f" USING ({had['using']})" if had["using"] else ""
    conditions += f" WITH CHECK ({had['check']})" if had["check"] else ""
    yield (
        f"CREATE POLICY {quoted(policy)} ON public.{table} AS {'PERMISSIVE' if had['permissive'] else 'RESTRICTIVE'} "
        f"FOR {_COMMANDS[had['command']]} TO {', '.join(map(quoted, had['roles']))}{conditions}"
    )
    yield from _comment(f"POLICY {quoted(policy)} ON public.{table}", had["comment"])


def _default_back(before: Before) -> Iterator[Undo]:
    """Yield the one default that versions of this project have changed."""
    key = ("column", "api_usage.reset_date")
    now, had = before.found.get(key), before.record.get(key)
    if now and had and not had["generated"] and _is_our_default(now, had):
        how = f"SET DEFAULT {had['default']}" if had["default"] else "DROP DEFAULT"
        change = Change("default of api_usage.reset_date", now["default"] or "-", had["default"] or "-", ())
        yield Undo((change,), (f"ALTER TABLE public.api_usage ALTER COLUMN reset_date {how}",))


def _is_our_default(now: Mapping[str, Any], had: Mapping[str, Any]) -> bool:
    return _OUR_DEFAULT in (now["default"] or "") and now["default"] != had["default"]


def _comments_back(before: Before) -> Iterator[str]:
    for name, ours in before.comments.items():
        table, _, column = name.partition(".")
        key = ("column" if column else "table", name)
        is_there = key in before.found and before.found[key]["comment"] == ours
        if not is_there or table not in before.adopted or (column and column in added_columns(before, table)):
            continue
        what = f"COLUMN public.{table}.{quoted(column)}" if column else f"TABLE public.{table}"
        yield f"COMMENT ON {what} IS {literal(before.record.get(key, {}).get('comment'))}"


def _owner(before: Before, what: str, had: Mapping[str, Any]) -> list[str]:
    owner = had["owner"]
    return [f"ALTER {what} OWNER TO {quoted(owner)}"] if owner != before.role and owner in before.roles else []


def _comment(what: str, comment: str | None) -> list[str]:
    return [f"COMMENT ON {what} IS {literal(comment)}"] if comment else []
