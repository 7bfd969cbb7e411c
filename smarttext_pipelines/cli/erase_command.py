"""``smarttext erase``: one person goes, by number or by key."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.cli.printing import say, telling
from smarttext_pipelines.cli.retention_commands import opened, progress
from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.lake.lake_target import find_lake
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


def erase(
    *,
    phone: Annotated[
        str | None, typer.Option("--phone", help="The person's number, such as +15551234567, in any spelling.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--customer", metavar="KEY", help="The person's key, or its first 12 digits or more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete every row that mentions a person's number, from the tables, the archive and the lake, and its key."""
    if (phone is None) == (key is None):
        msg = "say who: --phone with a number, or --customer with a key; nothing was deleted"
        raise InputError(msg)
    if not yes and not sys.stdin.isatty():
        msg = "nobody can be asked here: say --yes to delete without being asked; nothing was deleted"
        raise InputError(msg)
    with opened() as (settings, engine, archive):
        from smarttext_pipelines.lake.cutting_out import cut_out, require_place
        from smarttext_pipelines.retention.erase import erase as erase_person
        from smarttext_pipelines.retention.erase import require_number
        from smarttext_pipelines.retention.forget_customer import require_known_key

        lake = find_lake(settings)
        require_place(engine, lake)
        secret = _secret(settings, engine)
        if key is not None:
            phone, key = _found(settings, engine, archive, key, secret)
        else:
            phone = require_number(str(phone))
            key = customer_key(phone, secret) if secret is not None else None
        require_known_key(engine, key)
        cut = [(0, 0)]
        if not yes:
            typer.confirm("Delete every row that mentions this number? Nothing brings them back", abort=True)
        if phone is None:
            _forget(engine, str(key))
            return
        with telling("retention"), progress() as bars:
            bar = bars.add_task("searching the archive")
            erased = erase_person(
                engine,
                archive,
                phone,
                zone=settings.zone,
                shared_senders=[number.get_secret_value() for number in settings.shared_senders],
                begun=lambda number: bars.update(bar, total=number),
                done=lambda: bars.advance(bar),
                customer_key=key,
                elsewhere=lambda digits: cut.append(cut_out(engine, lake, digits)) if lake else None,
            )
        live, archived = erased.live_rows.total(), erased.archived_rows.total()
        files = counted(erased.segments_rewritten, "archive file")
        say(f"{counted(live, 'row')} deleted, {archived:,} cut out of {files}")
        if erased.days_forgotten:
            _say_forgotten(erased.days_forgotten)
        if lake:
            say(f"{counted(cut[-1][0], 'row')} cut out of {counted(cut[-1][1], 'file')} of the lake")
        say("their days are rolled up again by rollup_request_sensor; backups of the database are not touched")


def _secret(settings: Settings, engine: "Engine") -> bytes | None:
    """Return the secret of the keys, None where none is here; raise SettingsError for another than the keys have."""
    from smarttext_pipelines.schema.same_secret import require_same_secret
    from smarttext_pipelines.settings.customer_secret import known_secret

    secret = known_secret(settings)
    if secret is not None:
        with connected(engine) as connection:
            require_same_secret(connection, secret)
    return secret


def _found(
    settings: Settings, engine: "Engine", archive: ArchiveTarget, key: str, secret: bytes | None
) -> tuple[str | None, str]:
    """Return the number of a key, None where no row has it any more, and the whole key."""
    from smarttext_pipelines.customers.contacts import Contacts, Span
    from smarttext_pipelines.retention.archived_numbers import find_archived_number
    from smarttext_pipelines.retention.forget_customer import find_key

    with connected(engine) as connection, connection.begin():
        whole, days = find_key(connection, key)
        if secret is None:
            msg = "the secret of the keys is not here: set SMARTTEXT_CUSTOMER_KEY to it; nothing was deleted"
            raise InputError(msg)
        span = Span(day_start(min(days), settings.zone), day_end(max(days), settings.zone))
        phone = Contacts(connection, secret).number_of(whole, span)
    return phone or find_archived_number(engine, archive, whole, secret, days), whole


def _forget(engine: "Engine", key: str) -> None:
    from smarttext_pipelines.retention.forget_customer import forget_customer

    with connected(engine) as connection, connection.begin():
        days = forget_customer(connection, key)
    say("no row has the number of this key any more, in the tables or in the archive")
    _say_forgotten(days)


def _say_forgotten(days: int) -> None:
    say(f"{counted(days, 'row')} of customer_days: nobody's from now on")
