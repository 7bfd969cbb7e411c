"""The digest tells good days from bad: the headline of each scripted day, and two digests word for word."""

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from smarttext_pipelines.digest.facts import Facts, Unanswered
from smarttext_pipelines.digest.text import MAX_LINES, digest_lines, write_digest
from smarttext_pipelines.digest.thing_to_tell import Urgency
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines_tests.digest.scripted import BAD, CROWDED, DAY, GOOD, SCRIPTED, business_id

GOLDEN = Path(__file__).parent / "digests"


@pytest.mark.parametrize("name", SCRIPTED)
def test_a_scripted_day_gets_the_headline_that_it_must(name: str) -> None:
    facts, headline = SCRIPTED[name]
    assert digest_lines(facts)[0] == headline


@pytest.mark.parametrize("name", ["good", "four faults", "holiday", "not rolled up"])
def test_a_digest_reads_as_it_is_kept(name: str) -> None:
    facts, _ = SCRIPTED[name]
    before = replace(GOOD, day=DAY - timedelta(days=1), crossings=BAD.crossings)
    told = "\n".join(digest_lines(facts, before)) + "\n"
    assert told == (GOLDEN / f"{name.replace(' ', '_')}.txt").read_text()


@pytest.mark.parametrize("name", SCRIPTED)
def test_each_line_but_the_zone_ends_in_its_command_and_they_fit_a_page(name: str) -> None:
    lines = digest_lines(SCRIPTED[name][0])
    assert len(lines) <= MAX_LINES
    assert [line for line in lines[1:] if not line.endswith("`")] in ([], ["Times: America/New_York."])


def test_a_crowded_digest_keeps_its_numbers_and_says_how_many_things_are_left_out() -> None:
    told, whole = write_digest(CROWDED, None, MAX_LINES).lines, write_digest(CROWDED).lines
    text = "\n".join(map(str, told))
    for number in ("118 missed calls", "of 624 with an outcome failed", "OpenAI 31.10 USD", "Cost: 161.30 USD"):
        assert number in text
    left_out = [line for line in whole if line not in told]
    assert left_out
    assert f"And {len(left_out)} more things to tell of that day. `smarttext digest --date {DAY}`" in text
    assert max(line.urgency for line in left_out) <= min(line.urgency for line in told[4:-2])


def test_news_come_first_and_what_goes_on_is_called_so() -> None:
    before = replace(GOOD, day=DAY - timedelta(days=1), crossings=BAD.crossings)
    lines = digest_lines(BAD, before)
    marks = [line.split(":")[0] for line in lines[1:] if line.startswith(("New: ", "Still: "))]
    assert marks == sorted(marks)
    assert lines[1].startswith("New: ")
    assert "Still: Oak Garage used 104 % of its OpenAI budget." in "\n".join(lines)


def test_one_bad_day_does_not_hide_the_next_four() -> None:
    bad = SCRIPTED["many failures"][0].today
    usual = list(GOOD.usual)
    for _ in range(4):
        assert write_digest(replace(GOOD, today=bad, usual=usual)).state == "bad"
        usual = [bad, *usual[:-1]]


def test_a_day_that_costs_less_or_fails_less_than_usual_is_well() -> None:
    today = replace(GOOD.today, failed=2, openai_usd=Decimal("0.10"), in_time=118, never=0, late=0, unknown=0)
    assert write_digest(replace(GOOD, today=today, unanswered=[])).state == "well"


def test_below_the_floor_no_rate_is_shown() -> None:
    told = "\n".join(digest_lines(SCRIPTED["delivery unknown"][0]))
    assert "failure rate unknown" in told
    assert "% of texts failed" not in told


def _binomial(chance: random.Random, count: int, share: float) -> int:
    return sum(chance.random() < share for _ in range(count))


def _ordinary(chance: random.Random) -> tuple[Totals, list[Unanswered]]:
    """Make a day as forty businesses have it: each with its own share of callers without a text."""
    by_business = [(n, max(1, round(chance.gauss(12, 3)))) for n in range(40)]
    left = [Unanswered(f"B{n}", _binomial(chance, m, 0.02 + n / 400), m, business_id(n)) for n, m in by_business]
    missed, never = sum(m for _, m in by_business), sum(each.unreplied for each in left)
    late, unknown = _binomial(chance, missed, 0.04), _binomial(chance, missed, 0.05)
    texts = round(chance.gauss(640, 60))
    failed = _binomial(chance, texts, 0.038 + chance.gauss(0, 0.004))
    found = Totals(
        calls=missed * 2, missed=missed, in_time=missed - never - late - unknown, late=late, never=never,
        unknown=unknown, received=240, texts=texts, delivered=round(0.9 * texts) - failed, ok=texts - failed,
        failed=failed, openai_usd=Decimal(round(chance.gauss(3.1, 0.4), 2)), texts_usd=Decimal(round(5 * texts / 640)),
    )  # fmt: skip
    return found, left


def _with_usual(left: list[Unanswered], others: list[list[Unanswered]]) -> list[Unanswered]:
    def of(n: int, name: str) -> int:
        return sum(getattr(day[n], name) for day in others)

    known = [
        replace(each, usual_unreplied=of(n, "unreplied"), usual_missed=of(n, "missed")) for n, each in enumerate(left)
    ]
    return sorted((each for each in known if each.unreplied), key=lambda each: -each.unreplied)


@pytest.mark.parametrize("seed", range(3))
def test_of_sixty_ordinary_days_at_most_three_are_called_bad(seed: int) -> None:
    chance = random.Random(seed)
    days = [_ordinary(chance) for _ in range(68)]
    states = []
    for n in range(8, 68):
        today, left = days[n]
        usual = days[n - 8 : n]
        facts = Facts(DAY, today, [each for each, _ in usual], businesses=40,
                      unanswered=_with_usual(left, [u for _, u in usual]))  # fmt: skip
        states.append(write_digest(facts).state)
    assert states.count("bad") <= 3, states
    assert states.count("well") >= 50, states


def test_a_line_says_how_urgent_it_is() -> None:
    urgencies = {line.command: line.urgency for line in write_digest(BAD).lines}
    assert urgencies["smarttext alerts show 214"] is Urgency.bad
    assert urgencies[f"smarttext stats --date {DAY}"] is Urgency.note
