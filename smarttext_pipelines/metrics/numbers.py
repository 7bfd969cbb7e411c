"""Telephone numbers: how they are compared, and which business one belongs to."""

from typing import Any

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.customer_keys import CANONICAL, CANONICAL_LENGTHS, DIGITS, INTERNATIONAL, NATIONAL
from smarttext_pipelines.core.statuses import SEPARATORS, WHATSAPP_PREFIX, WITHHELD_CALLERS
from smarttext_pipelines.metrics.metric import byte_order
from smarttext_pipelines.metrics.windowed import Tables


def compared_number(column: Any) -> ir.StringValue:
    """Return a telephone number without ``whatsapp:``, spaces and separators; NULL where nothing is left."""
    bare = column.translate(SEPARATORS, "").re_replace("^" + WHATSAPP_PREFIX, "")
    # Most numbers are digits alone; looking for anything else takes a quarter of the time of taking it out.
    compared: ir.StringValue = ibis.ifelse(column.re_search("[^+0-9]"), bare, column)
    return compared.nullif("")


def e164(number: ir.StringValue) -> ir.StringValue:
    """Return a compared number with plus and country; NULL where it is withheld or has no country."""
    found = number.re_replace(INTERNATIONAL, "+" + DIGITS)
    is_canonical = number.re_search(CANONICAL) & number.length().between(*CANONICAL_LENGTHS)
    spelled: ir.StringValue = ibis.cases(
        # Most are spelled so, and one simple pattern recognizes them.
        (is_canonical & number.notin(WITHHELD_CALLERS), number),
        (is_canonical, ibis.null("string")),
        (number.re_search(NATIONAL), "+1" + number),
        (number.re_search(INTERNATIONAL) & found.notin(WITHHELD_CALLERS), found),
        else_=ibis.null("string"),
    )
    return spelled


def businesses_by_number(tables: Tables, columns: tuple[str, ...]) -> ir.Table:
    """Return ``number`` and ``owner_id`` (text) of every number that exactly one business has and nobody shares.

    Args:
        tables: Needs ``businesses`` and ``shared_senders``.
        columns: Columns of ``businesses`` that count as having the number.
    """
    businesses = tables["businesses"]
    numbers = (
        ibis.union(*[_numbers(businesses, name) for name in columns])
        if len(columns) > 1
        else _numbers(businesses, columns[0])
    )
    owners = numbers.group_by("number").agg(owner_id=numbers.owner_id.min(), owner_count=numbers.owner_id.nunique())
    owners = owners.filter(owners.owner_count == 1).select("number", "owner_id")
    return owners.anti_join(tables["shared_senders"], "number")


def _numbers(businesses: ir.Table, column: str) -> ir.Table:
    named = businesses.filter(businesses[column].fill_null("") != "")
    return named.select(number=named[column], owner_id=byte_order(named.id.cast("string")))
