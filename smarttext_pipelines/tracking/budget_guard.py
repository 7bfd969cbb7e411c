"""The OpenAI budget, asked through the SQL functions that every language uses (``schema/guardrail``).

A call waits 150 ms at most (the first of a process for its connection, too, up to 2 s); then the policy decides, the
decision says so, and it is counted. In asyncio code call these with ``asyncio.to_thread``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg

from smarttext_pipelines.core.errors import DatabaseError, SmartTextError
from smarttext_pipelines.tracking import known_prices, process, token_counts, values
from smarttext_pipelines.tracking.event_store import SETTLE_DEADLINE_S, Statement, ask_within
from smarttext_pipelines.tracking.usage_events import total_tokens, track_openai_usage

_CHECK = "SELECT * FROM public.check_openai_usage_limit(%s::uuid)"
_RESERVE = "SELECT * FROM public.reserve_openai_usage(%s::uuid, %s::bigint, %s, %s, %s, %s::numeric)"
_SETTLE = "SELECT * FROM public.settle_openai_usage(%s, %s::bigint, %s::numeric)"
_CANCEL = "SELECT * FROM public.cancel_openai_usage(%s)"
_RESET = "SELECT public.reset_daily_openai_usage(%s::uuid)"


class BudgetExceeded(SmartTextError):  # noqa: N818 - the name callers read
    """A refused reservation was entered."""


@dataclass(frozen=True)
class LimitDecision:
    """Whether a business may spend more on OpenAI today.

    Attributes:
        allowed: Whether anything is left.
        used: Tokens booked today; None where the store could not be asked.
        limit: Tokens that may be used today, grants included; None is no limit.
        remaining: Tokens that are neither used nor reserved; None is no limit.
        reset_at: Begin of the next reporting day.
        reason: None, ``limit_tokens``, ``limit_usd``, ``already_…`` for a request that came before, or
            ``store_unavailable`` where the policy decided.
    """

    allowed: bool
    used: int | None = None
    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Reservation:
    """An admitted or refused call. As a context manager a refused one raises BudgetExceeded on entry.

    Attributes:
        allowed: Whether the call may be made.
        decision: Why, and what is left.
        request_id: Request that reserved.
    """

    allowed: bool
    decision: LimitDecision
    request_id: str
    _usage: dict[str, Any] = field(repr=False)
    _is_reserved: bool = field(repr=False)

    def __enter__(self) -> Self:
        if not self.allowed:
            later = f"; the next day begins at {self.decision.reset_at}" if self.decision.reset_at else ""
            msg = f"the OpenAI budget refuses ({self.decision.reason}){later}"
            raise BudgetExceeded(msg)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave a call that was not settled to the reaper, which books its upper bound."""

    def settle(
        self,
        actual_tokens: int | None = None,
        cost: Decimal | float | None = None,
        *,
        usage: object = None,
        service_tier: str | None = None,
    ) -> bool:
        """Book what the call used; once, however often it is called.

        A call whose use is not known, such as a stream that broke, is left alone: the reaper books its upper bound.

        Args:
            actual_tokens: Tokens it used; by default those of ``usage``.
            cost: Cost in USD. Without it ``usage`` gives the list price of the day; without that the call is unpriced,
                and what was reserved counts against a limit in USD.
            usage: The ``usage`` object of OpenAI's answer as it is.
            service_tier: ``service_tier`` of OpenAI's answer, or ``batch``.

        Returns:
            Whether it was booked now. False: it was before, or the store does not answer; then the reaper books the
            upper bound, and a later call corrects it.

        Raises:
            ValueError: A value cannot be booked.
        """
        counts = {} if usage is None else token_counts.of_usage(usage)
        if actual_tokens is not None:
            counts["total_tokens"] = values.count("actual_tokens", actual_tokens) or 0
        tokens = total_tokens(counts) if counts else None
        usd = values.usd("cost", cost)
        model, now = self._usage["model"], datetime.now(UTC).isoformat()
        if usd is None and model:
            usd = known_prices.list_price(model, counts, now, service_tier)
        if tokens is None:
            msg = "actual_tokens is required: a call that was made is booked; cancel() gives back one that was not"
            raise ValueError(msg)
        question = (_SETTLE, self.request_id, tokens, usd)
        settled = _value_errors(lambda: ask_within(*question, deadline=SETTLE_DEADLINE_S))
        if self._is_reserved or (settled and settled["reason"] != "unknown_request"):
            return bool(settled and settled["settled"])
        # The policy admitted it. Should it be reserved after all, this row is left out and the reservation counts.
        return (
            track_openai_usage(tokens_used=tokens, cost_estimate=usd, request_id=self.request_id, **self._usage)
            is not None
        )

    def cancel(self) -> bool:
        """Give the reservation back, because no call was made.

        Returns:
            Whether it was given back now. False: it was settled or cancelled before, was not reserved, or the store
            does not answer; then the reaper books its upper bound unless a later call gives it back.
        """
        found = ask_within(_CANCEL, self.request_id, deadline=SETTLE_DEADLINE_S)
        return bool(found and found["cancelled"])


def check_openai_usage_limit(business_id: UUID | str | None) -> LimitDecision:
    """Return what a business has used today; reserves nothing, so it promises nothing.

    Args:
        business_id: Business; None for usage that names none.

    Raises:
        ValueError: It is no UUID.
    """
    found = ask_within(_CHECK, values.uuid("business_id", business_id))
    return _by_policy(0) if found is None else _decision(found)


def reserve_openai_usage(
    business_id: UUID | str | None,
    tokens: int,
    request_id: str,
    *,
    endpoint: str = "chat",
    model: str | None = None,
    cost_estimate: Decimal | float | None = None,
) -> Reservation:
    """Admit a call to OpenAI that uses at most ``tokens``, or refuse it.

    Args:
        business_id: Business; None for usage that names none, which has a budget of its own.
        tokens: Upper bound of prompt and answer.
        request_id: Unique for each call; a repeated one reserves nothing more.
        endpoint: What is called.
        model: Model that is called.
        cost_estimate: Upper bound in USD; by default the list price of ``tokens`` as output of the model, and of an
            unknown model, or none, the price of ``*`` in ``monitoring.openai_prices``.

    Raises:
        ValueError: A value cannot be reserved, or there is no such business.

    Example:
        >>> with reserve_openai_usage(business, 1200, request) as reservation:  # doctest: +SKIP
        ...     reservation.settle(ask_openai().usage.total_tokens)
    """
    business, upper = values.uuid("business_id", business_id), values.count("tokens", tokens)
    if upper is None:
        msg = "tokens is required: the upper bound of the call"
        raise ValueError(msg)
    cost = values.usd("cost_estimate", cost_estimate)
    if cost is None and model:
        cost = _dearest_use(model, upper)
    arguments = (business, upper, values.text("request_id", request_id), endpoint, values.text("model", model), cost)
    usage: dict[str, Any] = {"business_id": business, "endpoint": endpoint, "model": model}

    # A refused caller makes no call, so what is admitted too late is given back.
    undo = _give_back(request_id) if process.guard_policy()[0] == "closed" else None
    found = _value_errors(lambda: ask_within(_RESERVE, *arguments, undo=undo))
    decision = _by_policy(upper) if found is None else _decision(found)
    return Reservation(decision.allowed, decision, request_id, usage, found is not None)


def _dearest_use(model: str, tokens: int) -> Decimal | None:
    """Return the price of tokens that are all prompt or all answer, whichever is more."""
    now = datetime.now(UTC).isoformat()
    parts = ({"input_tokens": tokens, "output_tokens": 0}, {"input_tokens": 0, "output_tokens": tokens})
    found = [price for part in parts if (price := known_prices.list_price(model, part, now)) is not None]
    return max(found, default=None)


def _give_back(request_id: str) -> Callable[[dict[str, Any]], Statement | None]:
    return lambda late: (_CANCEL, (request_id,)) if late["allowed"] else None


def reset_daily_openai_usage(business_id: UUID | str | None = None) -> None:
    """Note that the day was opened, for one business or for all; hands out no allowance and touches no usage.

    Raises:
        ValueError: ``business_id`` is no UUID.
        DatabaseError: The database does not answer.
    """
    if ask_within(_RESET, values.uuid("business_id", business_id), deadline=SETTLE_DEADLINE_S) is None:
        msg = "the day cannot be opened: the database does not answer; check SMARTTEXT_DATABASE_URL"
        raise DatabaseError(msg)


def _value_errors(call: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return call()
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise ValueError(error.diag.message_primary or "the reservation cannot be stored") from None


def _decision(found: dict[str, Any]) -> LimitDecision:
    whole = {name: None if found[name] is None else int(found[name]) for name in ("used", "limit", "remaining")}
    return LimitDecision(found["allowed"], reset_at=found["reset_at"], reason=found["reason"], **whole)


def _by_policy(tokens: int) -> LimitDecision:
    """Return the policy's decision on a call when the store did not answer."""
    policy, allowance = process.guard_policy()
    process.current().count_policy(policy)
    allowed = policy == "open" or (policy == "open_local" and process.spend_locally(tokens, allowance))
    return LimitDecision(allowed, reason="store_unavailable")
