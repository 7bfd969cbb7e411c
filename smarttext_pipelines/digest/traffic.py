"""Whether there was less than usual, or nothing: of a day, of its hours so far, and of a business. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.facts import Facts
from smarttext_pipelines.digest.thing_to_tell import NAMED, Judgement, Urgency, of_business, on_day, usual


def is_quiet(facts: Facts) -> bool:
    """Tell whether there was less than half of what there usually is, though not nothing.

    A day that is not over is compared with the same hours, or with nothing.
    """
    if not facts.is_over:
        return bool(facts.so_far and facts.so_far.events and facts.so_far.is_quiet)
    found = usual(facts, lambda t: Decimal(t.events))
    return bool(found and 0 < facts.today.events * 2 < found.median)


def traffic(facts: Facts) -> Iterator[Judgement]:
    """Yield whether there was less than usual, or nothing."""
    if not facts.is_over:
        yield from _traffic_so_far(facts)
        return
    t, found = facts.today, usual(facts, lambda t: Decimal(t.events))
    if not found or not found.median:
        return
    command = f"smarttext stats {on_day(facts.day)}"
    said = f"{t.events:,} calls and texts, usually about {found.median:,.0f} on a {facts.day:%A}"
    if not t.events:
        yield Judgement("traffic", Urgency.bad, "nothing arrived", f"No call and no text: {said}.", "smarttext doctor")
    elif is_quiet(facts):
        yield Judgement("traffic", Urgency.look, said, f"Quiet: {said}.", command)


def _traffic_so_far(facts: Facts) -> Iterator[Judgement]:
    so_far = facts.so_far
    found = so_far and so_far.usual_from(0)
    if not so_far or not found:
        return
    by = f"by {so_far.until:%H:%M}"
    said = f"{so_far.events:,} events {by}, usually about {found.median:,.0f} by then on a {facts.day:%A}"
    since = so_far.silent_from
    missing = None if since is None else so_far.usual_from(since)
    if since is not None and missing:
        phrase = f"nothing arrived from {since:02}:00 to {so_far.until:%H:%M}" if since else f"nothing arrived {by}"
        text = f"No event since {since:02}:00: usually about {missing.median:,.0f} {by} on a {facts.day:%A}."
        yield Judgement("traffic", Urgency.bad, phrase, text, "smarttext doctor")
    elif so_far.is_quiet:
        yield Judgement("traffic", Urgency.look, said, f"Quiet so far: {said}.", f"smarttext stats {on_day(facts.day)}")


def silent(facts: Facts) -> Iterator[Judgement]:
    """Yield the businesses that were silent on a day that is over."""
    if not facts.today.events or not facts.is_over:
        return
    named: Sequence[str] = [shown_name(each.business) for each in facts.silent]
    urgency = Urgency.note if is_quiet(facts) else Urgency.look
    week = facts.day.toordinal() - 7
    for place, each in enumerate(facts.silent[:NAMED]):
        phrase = (named[0] if len(named) == 1 else counted(len(named), "business", "businesses")) + " silent"
        text = f"Silent, unlike other {facts.day:%A}s: {shown_name(each.business)}."
        span = f"--from {date.fromordinal(week)} --to {facts.day}"
        command = f"smarttext stats {of_business(each.business_id)} {span}"
        yield Judgement(f"silent {each.business_id}", urgency, "" if place else phrase, text, command)
    if len(named) > NAMED:
        text = f"And {len(named) - NAMED} more that are silent, unlike other {facts.day:%A}s."
        yield Judgement("silent", Urgency.note, "", text, f"smarttext stats {on_day(facts.day)}")
