"""Each command that the digest names runs, and shows as many rows as the digest says."""

import json
import re
from datetime import UTC, date, datetime

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all

END = date(2026, 3, 16)


def test_each_command_of_a_digest_runs_and_shows_as_many_rows(smarttext, database: Database) -> None:
    spec = SampleSpec(2, 6, 120, 7, END, datetime(2026, 3, 17, tzinfo=UTC))
    load_sample(database.url, spec, lambda _day, _rows: None)
    roll_up_all(database.engine, DayRange(END, END))
    code, out, errors = smarttext("digest", "--date", str(END), "--json")
    assert (code, errors) == (0, "")
    lines = json.loads(out)["lines"]
    stats = json.loads(smarttext("stats", "--date", str(END), "--json")[1])
    ran = {}
    for command in {line["command"] for line in lines if line["command"]}:
        if command.startswith(("smarttext doctor", "smarttext rollup")):
            continue
        code, ran[command], errors = smarttext(*command.split()[1:])
        assert code in (0, 3), (command, errors)
    sums = {name: sum(row[name] or 0 for row in stats) for name in ("missed_calls_unreplied", "sms_failure_count")}
    for column, count in sums.items():
        shown = [out for command, out in ran.items() if column in command]
        assert all(re.search(rf"(?<![\d,]){count:,} rows? of {column}", out) for out in shown), (column, count)
    told = "\n".join(line["text"] for line in lines)
    assert f"{sums['sms_failure_count']:,} of " in told
    assert f"{sums['missed_calls_unreplied']:,} never" in told
