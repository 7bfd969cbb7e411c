"""What providers charge, by their own account, beside what was recorded."""

from smarttext_pipelines.billing.ask_days import compared_days
from smarttext_pipelines.billing.bill_findings import complete_finding, cost_finding
from smarttext_pipelines.billing.billed_days import BilledDay, ask_costs, read_billed, total

__all__ = [
    "BilledDay",
    "ask_costs",
    "compared_days",
    "complete_finding",
    "cost_finding",
    "read_billed",
    "total",
]
