"""What a sender's notice says of the businesses for which it stands."""

import pytest

from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text
from smarttext_pipelines_tests.alerts import OWN_NUMBER, World, only
from smarttext_pipelines_tests.conftest import Database

NUMBER = f"{OWN_NUMBER}0001"


@pytest.fixture
def shared(database: Database) -> World:
    """A world in which three of four businesses send from one number, and nothing is wrong yet."""
    world = World(database)
    world.businesses(4)
    world.run(f"UPDATE public.businesses SET twilio_phone = '{NUMBER}' WHERE name IN ('Business 2', 'Business 3')")
    world.rules = only("sms_failure_rate", "registration_errors")
    world.begin()
    return world


def _fail(world: World, business: int, **codes: int) -> None:
    for code, count in codes.items():
        error = code.removeprefix("of_")
        world.send(count, business=business, sender=NUMBER, status="undelivered", error_code=error)


def _told(world: World) -> list[str]:
    messages = world.outbox("message", "status = 'pending'")
    return [full_text(Message.from_json(message), PLAIN) for (message,) in messages]


def test_a_sender_names_the_businesses_it_holds_back_and_what_it_does_not_explain(shared: World) -> None:
    _fail(shared, 1, of_30034=3, of_30007=20, of_21610=9)
    _fail(shared, 2, of_30034=24)
    shared.failing(4)
    shared.tick()
    (told,) = _told(shared)
    line = next(line for line in told.splitlines() if line.startswith("Their own"))
    assert line == (
        "Their own incidents are held back: Hartley Plumbing (20 of its 23 failures have other causes) · Business 2."
    )
    shared.tick()
    assert sorted(shared.outbox("note", "status = 'suppressed'")) == [("inhibited by registration_errors",)] * 2, (
        "they are those whose notices are held back as soon as they are due"
    )
    assert len(_told(shared)) == 2, "the business with a number of its own is told by itself"


def test_the_main_cause_of_a_failing_sender_is_what_it_explains(shared: World) -> None:
    shared.rules = only("sms_failure_rate", "sms_failure_rate_sender", for_=1)
    _fail(shared, 1, of_30007=30)
    _fail(shared, 2, of_30007=12, of_30003=13)
    _fail(shared, 3, of_30007=24)
    shared.tick()
    (told,) = _told(shared)
    expected = "Business 2 (13 of its 25 failures have other causes) · Hartley Plumbing · Business 3."
    assert f"are held back: {expected}" in told, "what the notice does not explain comes first"


def test_a_sender_that_holds_nobody_back_names_nobody(shared: World) -> None:
    shared.rules = only("registration_errors")
    _fail(shared, 1, of_30034=1)
    shared.tick()
    (told,) = _told(shared)
    assert "held back" not in told


def test_a_business_whose_silence_holds_it_back_is_not_named(shared: World) -> None:
    shared.run(
        "INSERT INTO monitoring.silences (rule, author, reason, starts_at, ends_at)"
        " VALUES ('sms_failure_rate', 'Ann', 'known', '2026-03-16', '2026-03-17')"
    )
    _fail(shared, 1, of_30034=30)
    shared.tick()
    (told,) = _told(shared)
    assert "held back" not in told
