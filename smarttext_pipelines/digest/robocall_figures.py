"""The promise figures without likely robocallers, beside those with them, as figures and in words. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.customers.robocallers import Limits, Robocalls, RobocallsOfDays
from smarttext_pipelines.digest.totals import Totals, summed
from smarttext_pipelines.settings import Settings

_NAMED = 4


def limits_of(settings: Settings) -> Limits:
    """Return from where on a number is a likely robocaller."""
    return Limits(settings.robocaller_businesses, settings.robocaller_daily_calls)


def in_words(totals: Mapping[date, Totals], found: RobocallsOfDays, *, names: bool = True) -> str:
    """Return what likely robocallers did in some days, and the promise figures without and with them, in a sentence.

    Args:
        totals: By day, with them.
        found: What they did on these days to these businesses.
        names: Whether the businesses that they called most are named.
    """
    known = [each for day, each in totals.items() if day not in found.unknown_days]
    unknown = len(totals) - len(known)
    if not known:
        return "likely robocallers: unknown; the seven days that end with each day must be over and rolled up"
    rest = f"; {counted(unknown, 'day')} unknown and not counted here" if unknown else ""
    if not found.total.callers:
        return f"no likely robocaller{rest}"
    return f"{what_they_did(found, names=names)}; {both(summed(known), found.total)}{rest}"


def without(totals: Totals, found: Robocalls) -> Totals:
    """Return the totals with the calls of likely robocallers, and what became of them, taken off.

    Args:
        totals: Of some days and some businesses.
        found: What likely robocallers did on these days to these businesses.
    """
    return replace(
        totals,
        calls=totals.calls - found.calls,
        missed=totals.missed - found.missed,
        in_time=_less(totals.in_time, found.in_time),
        late=_less(totals.late, found.late),
        never=_less(totals.never, found.never),
        unknown=_less(totals.unknown, found.unknown),
    )


def _less(count: int | None, theirs: int) -> int | None:
    return None if count is None else count - theirs


def what_they_did(found: RobocallsOfDays, *, names: bool = True) -> str:
    """Return such as ``3 likely robocallers: 41 calls of 6 businesses (Dover 12, …), 30 missed; 9 texts to them, …``.

    Args:
        found: With at least one of them.
        names: Whether the businesses that they called most are named.
    """
    t = found.total
    called = [f"{shown_name(name)} {each.calls:,}" for name, each in found.by_business if each.calls]
    more = f", and {len(called) - _NAMED} more" if len(called) > _NAMED else ""
    of = f" of {counted(t.businesses, 'business', 'businesses')} ({', '.join(called[:_NAMED])}{more})" if names else ""
    cost = "price unknown" if t.texts_usd is None else f"about {t.texts_usd:.2f} USD"
    texts = f"{counted(t.texts, 'text')} to them ({cost})" if t.texts else "no text to them"
    openai = f", OpenAI {t.openai_usd:.2f} USD" if t.openai_usd else ""
    calls = f"{counted(t.calls, 'call')}{of}, {t.missed:,} missed"
    return f"{counted(t.callers, 'likely robocaller')}: {calls}; {texts}{openai}"


def both(totals: Totals, found: Robocalls) -> str:
    """Return the promise figures without likely robocallers, and the share with them.

    Args:
        totals: With them.
        found: What they did on these days to these businesses.
    """
    rest = without(totals, found)
    if rest.in_time is None:
        return f"without them {counted(rest.missed, 'missed call')}; whether they were answered was not computed"
    return (
        f"without them {counted(rest.missed, 'missed call')}: {rest.in_time:,} answered in time "
        f"({_shown(rest.in_time_percent)}; with them {_shown(totals.in_time_percent)}), {rest.late:,} late, "
        f"{rest.never:,} never, {rest.unknown:,} unknown"
    )


def _shown(share: Decimal | None) -> str:
    return "–" if share is None else f"{share:.2f} %"
