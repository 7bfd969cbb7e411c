"""What we use of Dagster that it does not promise to keep: in two modules, and as we use it in the locked release."""

import inspect
from importlib.util import find_spec

import pytest
from dagster import DagsterInstance

from smarttext_pipelines.defs import dagster_internals as internals
from smarttext_pipelines.launch import storage_internals as storage
from smarttext_pipelines_tests.house.test_layers import ROOT, _imports

PRIVATE = ("dagster._", "dagster_postgres", "dagster_shared")
METHODS = {
    storage.PostgresEventLogStorage: {
        "store_event": ["event"],
        "store_event_batch": ["events"],
        "store_asset_check_event": ["event", "event_id"],
        "delete_events": ["run_id"],
        "prepare_insert_event_batch": ["events"],
        "index_transaction": [],
        "_connect": [],
        "_store_asset_event": ["conn", "event", "event_id"],
    },
    storage.PostgresScheduleStorage: {"create_tick": ["tick_data"], "update_tick": ["tick"]},
    DagsterInstance: {
        "all_instigator_state": [],
        "get_ticks": ["origin_id", "selector_id", "limit"],
    },
}


def test_only_two_modules_import_what_dagster_may_change() -> None:
    users = {path.name for path in ROOT.rglob("*.py") if any(name.startswith(PRIVATE) for name in _imports(path))}
    assert users == {"dagster_internals.py", "storage_internals.py"}, f"{users}: import it from one of these two"


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [(owner, name, given) for owner, methods in METHODS.items() for name, given in methods.items()],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_we_call_or_override_takes_what_it_took(owner: type, method: str, parameters: list[str]) -> None:
    found = inspect.signature(getattr(owner, method)).parameters
    assert set(parameters) <= set(found), f"{owner.__name__}.{method} takes {list(found)} in this release of Dagster"
    unknown = [
        name
        for name, each in found.items()
        if name not in {"self", *parameters} and each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    assert not unknown, f"{owner.__name__}.{method} needs {unknown} in this release of Dagster"


def test_ticks_tags_and_the_daemon_are_where_they_were() -> None:
    assert {"SUCCESS", "SKIPPED", "FAILURE"} <= set(internals.TickStatus.__members__)
    tick = inspect.getmembers(internals.InstigatorTick)
    assert {"tick_id", "timestamp", "status", "error"} <= {name for name, _ in tick}
    assert internals.ASSET_PARTITION_RANGE_START_TAG == "dagster/asset_partition_range_start"
    assert internals.ASSET_PARTITION_RANGE_END_TAG == "dagster/asset_partition_range_end"
    assert find_spec("dagster._daemon.__main__"), "launch starts `python -m dagster._daemon`"
