"""The runbook of a rule: where it is, and its text where it is one of ours."""

from pathlib import Path

import smarttext_pipelines
from smarttext_pipelines.alerting.rules.rule import Rule


def read_runbook(rule: Rule | None, name: str) -> str:
    """Return the text of a rule's runbook, or a sentence that says where it is.

    Args:
        rule: The rule; None where there is none any more.
        name: Its name.
    """
    page = rule.runbook_page if rule else f"smarttext_pipelines/alerting/runbooks/{name}.md"
    path = Path(smarttext_pipelines.__file__).parents[1] / page
    if "://" in page or not path.is_file():
        return f"the runbook of {name} is {page}"
    return path.read_text(encoding="utf-8").rstrip()
