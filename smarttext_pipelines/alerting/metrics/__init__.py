"""What rules can watch. A metric is an entry of ``METRICS`` in a module of this folder; nothing else registers it."""

import pkgutil
from importlib import import_module

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric


def _found() -> dict[str, AlertMetric]:
    modules = [import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    listed = [metric for module in modules for metric in getattr(module, "METRICS", ())]
    found = {metric.name: metric for metric in listed}
    if len(found) < len(listed):
        msg = f"two alert metrics have one name: {sorted(metric.name for metric in listed)}"
        raise ValueError(msg)
    return found


ALERT_METRICS = _found()
"""Every metric by its name."""
