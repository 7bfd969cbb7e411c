"""``smarttext alerts silence | silences | unsilence``: what is suppressed, by whom and until when."""

from typing import Annotated

import typer

from smarttext_pipelines.cli.incident_options import ByOption, incident_number, parse_length, person
from smarttext_pipelines.cli.options import JsonOption, is_number, require_text
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings


def silence(
    incident: Annotated[
        str | None,
        typer.Argument(metavar="[INCIDENT]", help="Its rule and scope are silenced; else say --rule or --scope."),
    ] = None,
    *,
    rule: Annotated[str | None, typer.Option("--rule", help="Rule to silence; default all.")] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", help="Scope such as platform, business:<id or name> or sender:<number>.")
    ] = None,
    for_: Annotated[str, typer.Option("--for", metavar="30m|6h|2d", help="How long.")],
    by: ByOption = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; needed without an incident.")] = None,
) -> None:
    """Suppress notices for a while; what still fires then is notified at once."""
    from smarttext_pipelines.alerting.incidents import review
    from smarttext_pipelines.alerting.rules.rules_file import load_rules

    require_text(("--rule", rule), ("--scope", scope), ("--reason", reason))
    author, length = person(by), parse_length("--for", for_, "30m, 6h or 2d")
    settings = load_settings()
    known = load_rules(settings.alert_rules)
    if rule is not None and rule not in known:
        msg = f"there is no rule '{rule}'; there are {', '.join(known)}"
        raise InputError(msg)
    if incident is None and reason is None:
        msg = "give the number of an incident, or --reason with --rule or --scope"
        raise InputError(msg)
    with event_transaction(settings) as connection:
        if incident is not None:
            found = review.find_incident(connection, incident_number(incident))
            rule, scope = rule or found["rule"], scope or found["scope"]
        said = reason or f"INC-{incident_number(incident or '')}"
        number, end, was_there = review.silence(
            connection,
            rule=rule,
            scope=scope,
            author=author,
            reason=said,
            length=length,
            shared_senders=[each.get_secret_value() for each in settings.shared_senders],
        )
    until = f"{end.astimezone(settings.zone):%Y-%m-%d %H:%M} {settings.reporting_timezone}"
    again = " is there already," if was_there else ""
    say(f"silence {number}{again} until {until}; `smarttext alerts unsilence {number}` ends it")


def silences(
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List silences."""
    from smarttext_pipelines.alerting.incidents import review

    with event_transaction(load_settings()) as connection:
        found = review.silences(connection, all_=all_)
    if as_json:
        print_json(found)
        return
    print_rows(found)
    if not found:
        say("nothing is silenced")


def unsilence(
    number: Annotated[str, typer.Argument(metavar="SILENCE", help="Number of the silence, as `silences` has it.")],
) -> None:
    """End a silence; what still fires is notified by the next evaluation."""
    from smarttext_pipelines.alerting.incidents import review

    if not is_number(number):
        msg = f"'{number}' is no silence; write its number, see `smarttext alerts silences`"
        raise InputError(msg)
    with event_transaction(load_settings()) as connection:
        review.end_silence(connection, int(number))
    say(f"silence {int(number)} is over; what still fires is notified by the next evaluation")
