"""Which customer an OpenAI request was made for: the one to whom, or from whom, the texts are that name the request.

Texts within the settle window of the request's day count, without those to owners. A request that no such text names,
or texts of two customers, belongs to nobody.
"""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import INBOUND_STATUSES, OWNER_REQUEST_SUFFIX, REPORT_REQUEST_ID
from smarttext_pipelines.core.statuses import PLACEHOLDER_REQUESTS as NO_REQUESTS
from smarttext_pipelines.metrics.keyed import is_none_of, is_sid
from smarttext_pipelines.metrics.messages import with_alerts
from smarttext_pipelines.metrics.metric import Window, byte_order
from smarttext_pipelines.metrics.numbers import compared_number, e164
from smarttext_pipelines.metrics.spend import usage
from smarttext_pipelines.metrics.windowed import Tables


def openai_requests(tables: Tables, window: Window) -> ir.Table:
    """Return the rows of ``spend.usage`` of OpenAI with ``number``, that of its customer in E.164, or NULL."""
    rows = usage(tables, window)
    rows = rows.filter(rows.service == "openai")
    by = ["request_id"] if window.is_one_day else ["request_id", "day"]
    is_owners = rows.request_id.endswith(OWNER_REQUEST_SUFFIX)
    asked = rows.filter(is_none_of(rows.request_id, (*NO_REQUESTS, REPORT_REQUEST_ID)), ~is_owners)
    found = _numbers(asked.select(by).distinct(), by, tables, window)
    one = found.group_by(by).agg(least=byte_order(found.number).min(), greatest=byte_order(found.number).max())
    one = one.filter(one.least == one.greatest).select(*by, number="least")
    return rows.left_join(one, by)


def _numbers(asked: ir.Table, by: list[str], tables: Tables, window: Window) -> ir.Table:
    """Return the numbers of customers in the texts that name the requests."""
    t = tables["sms_events"]
    near = t.filter(window.between(t.created_at, window.search_start_at, window.search_end_at))
    near = near.semi_join(asked.select("request_id").distinct(), "request_id")
    is_inbound = near.status.lower().isin(INBOUND_STATUSES).fill_null(False)
    rows = near.select(
        "request_id",
        key=byte_order(ibis.ifelse(is_sid(near.message_sid), "s" + near.message_sid, "")),
        other=ibis.ifelse(is_inbound, near.from_number, near.to_number),
        **({} if window.is_one_day else {"seen_day": window.day(near.created_at)}),
    ).distinct()
    if not window.is_one_day:
        rows = rows.inner_join(asked, "request_id")
        settle = ibis.interval(days=window.settle_days)
        rows = rows.filter(rows.seen_day >= rows.day - settle, rows.seen_day <= rows.day + settle)
    rows = with_alerts(rows, tables, window)
    rows = rows.filter(rows.alert_business.isnull())
    return rows.mutate(number=e164(compared_number(rows.other))).select(*by, "number")
