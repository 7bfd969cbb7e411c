"""A disagreement with the reference names the cell, before anything else."""

from datetime import date

from smarttext_pipelines_tests.agreement import differing_cells
from smarttext_pipelines_tests.reference import Calls

KEY = (date(2026, 3, 10), "b1")


def _row(*values: int) -> dict[str, int]:
    return Calls(*values)._asdict()


def test_a_differing_cell_is_named_with_both_values() -> None:
    assert differing_cells("call_volume", {KEY: _row(2, 1, 0)}, {KEY: _row(3, 1, 0)}) == [
        "call_volume, day 2026-03-10, business_id b1, calls_total: expected 3, got 2"
    ]


def test_a_row_on_one_side_alone_is_named() -> None:
    (line,) = differing_cells("call_volume", {}, {KEY: _row(3, 1, 0)})
    assert line == f"call_volume, day 2026-03-10, business_id b1: expected {_row(3, 1, 0)}, got no row"
    assert differing_cells("call_volume", {KEY: _row(3, 1, 0)}, {KEY: _row(3, 1, 0)}) == []
