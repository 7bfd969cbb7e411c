"""The pages, in the order of the menu. A new one: a module here with a ``PAGE``, and a line below."""

from smarttext_pipelines.web.pages import (
    anomalies_page,
    business_page,
    businesses_page,
    delivery_page,
    digest_page,
    explain_page,
    health_page,
    incident_page,
    incidents_page,
    request_tokens_page,
    spend_page,
    today_page,
)
from smarttext_pipelines.web.view import Page

PAGES: tuple[Page, ...] = (
    today_page.PAGE,
    incidents_page.PAGE,
    incident_page.PAGE,
    businesses_page.PAGE,
    business_page.PAGE,
    delivery_page.PAGE,
    spend_page.PAGE,
    request_tokens_page.PAGE,
    anomalies_page.PAGE,
    anomalies_page.ONE,
    digest_page.PAGE,
    explain_page.COLUMN,
    explain_page.MESSAGE,
    explain_page.CALL,
    health_page.PAGE,
)
