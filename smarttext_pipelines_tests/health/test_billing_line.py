"""The doctor's line on OpenAI's costs: whether the admin key reads them, asked rarely, without the key in any word."""

from pydantic import SecretStr

from smarttext_pipelines.health.billing_line import openai as judged
from smarttext_pipelines.health.service_lines import service_lines
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.fakes.openai import KEY, FakeOpenAI
from smarttext_pipelines_tests.fakes.server import Reply, serving

UNSET = Settings(_env_file=None)


def test_without_a_key_nothing_is_asked_and_that_is_said() -> None:
    (found,) = [line for line in service_lines(UNSET, anew=True) if line.name == "openai"]
    assert (found.state, found.said) == (
        State.unknown,
        "OPENAI_ADMIN_KEY is not set: what OpenAI charges is not asked for",
    )


def test_openai_is_asked_for_costs_without_cost_and_rarely() -> None:
    with serving(FakeOpenAI()) as openai:
        ready = UNSET.model_copy(update={"openai_base_url": f"{openai.url}/v1", "openai_admin_key": SecretStr(KEY)})
        assert [judged(ready, anew=False).said for _ in range(3)] == ["the admin key reads costs"] * 3
        assert len(openai.requests) == 1, "the switch asks every minute"
        assert judged(ready, anew=True).state is State.ok
        assert [query["limit"] for query in openai.asked] == ["1", "1"]
        wrong = ready.model_copy(update={"openai_admin_key": SecretStr("of-another-organisation")})
        refused = judged(wrong, anew=False)
        assert (refused.state, refused.said) == (State.warn, "refused with 401")
        assert "OPENAI_ADMIN_KEY" in refused.todo
        assert "of-another" not in str(refused)
        openai.replies = [Reply(429, "{}")]
        assert judged(ready, anew=True).said == "busy: it asks to wait"
    away = judged(ready, anew=True)
    assert (away.state, away.said) == (State.warn, "did not answer: ConnectionError")
