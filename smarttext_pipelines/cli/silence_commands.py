"""``smarttext alerts silence | silences | unsilence``: what is held back, by whom and until when."""

from typing import Annotated

import typer

from smarttext_pipelines.cli.options import is_number, parse_length, require_text
from smarttext_pipelines.cli.printing import print_rows, say
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings


def silence(
    *,
    rule: Annotated[str | None, typer.Option("--rule", help="Rule to silence; default all.")] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="Scope such as platform or business:<id>.")] = None,
    for_: Annotated[str, typer.Option("--for", metavar="30m|6h|2d", help="How long.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who silences.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
) -> None:
    """Hold notices back for a while; what still fires then is told at once."""
    from smarttext_pipelines.alerting.incidents import review
    from smarttext_pipelines.alerting.rules.rules_file import load_rules

    require_text(("--rule", rule), ("--scope", scope), ("--by", by), ("--reason", reason))
    length = parse_length("--for", for_, "30m, 6h or 2d")
    known = load_rules(load_settings().alert_rules)
    if rule is not None and rule not in known:
        msg = f"there is no rule '{rule}'; there are {', '.join(known)}"
        raise InputError(msg)
    with event_transaction(load_settings()) as connection:
        number, end = review.silence(connection, rule=rule, scope=scope, author=by, reason=reason, length=length)
    say(f"silence {number} until {end:%Y-%m-%d %H:%M} UTC; `smarttext alerts unsilence {number}` ends it")


def silences(*, all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False) -> None:
    """List silences."""
    from smarttext_pipelines.alerting.incidents import review

    with event_transaction(load_settings()) as connection:
        found = review.silences(connection, all_=all_)
    print_rows(found)
    if not found:
        say("nothing is silenced")


def unsilence(
    number: Annotated[str, typer.Argument(metavar="SILENCE", help="Number of the silence, as `silences` has it.")],
) -> None:
    """End a silence; what still fires is told by the next evaluation."""
    from smarttext_pipelines.alerting.incidents import review

    if not is_number(number):
        msg = f"'{number}' is no silence; write its number, see `smarttext alerts silences`"
        raise InputError(msg)
    with event_transaction(load_settings()) as connection:
        review.end_silence(connection, int(number))
    say(f"silence {int(number)} is over; what still fires is told by the next evaluation")
