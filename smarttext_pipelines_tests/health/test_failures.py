"""Everything that can fail is told to somebody in two ways at least, each of which a test has seen."""

from pathlib import Path

from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.failures import who_learns


def test_of_each_part_somebody_learns_in_two_ways_that_were_seen(tmp_path: Path) -> None:
    found = who_learns(Settings(data_dir=tmp_path))
    rules = load_rules(None)
    assert all(found.values())
    for kind, parts in found.items():
        for name, ways in parts.items():
            assert len({way.who for way in ways}) >= 2, f"{kind} {name}: only {[way.who for way in ways]}"
            for way in ways:
                assert way.is_proved(), f"{kind} {name}: there is no test {way.proof}"
                if way.how.startswith("rule `"):
                    assert way.how.split("`")[1] in rules, f"{kind} {name}: there is no {way.how}"
