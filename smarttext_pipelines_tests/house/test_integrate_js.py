"""The JavaScript of docs/integrate.md runs as it stands, against small fakes of the two packages that it imports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smarttext_pipelines_tests.docs import DOCS

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is not installed: the JavaScript of the page cannot run (2026-11-28)"
)

_SUPABASE = """
export const createClient = (url, key) => {
  if (url !== 'https://x.example' || key !== 'service') throw new Error('made without URL or service key');
  return { rpc: async (name, values) => {
    if (Object.values(values).includes(undefined)) throw new Error('an undefined argument');
    globalThis.calls.push([name, values]);
    return globalThis.scenario.replies[name] ?? { data: null, error: { message: 'unexpected call' } };
  } };
};
"""
_OPENAI = """
export default class {
  constructor({ maxRetries }) { if (maxRetries !== 0) throw new Error('calls twice for one reservation'); }
  chat = { completions: { create: async (body) => {
    globalThis.calls.push(['openai', body.model]);
    const { status, usage } = globalThis.scenario.openai;
    if (usage === undefined) throw Object.assign(new Error('no answer'), { status });
    return { usage };
  } } };
}
"""
_MAIN = """
globalThis.calls = [];
globalThis.scenario = JSON.parse(process.argv[2]);
const logged = [];
console.error = (line) => logged.push(line);
const { ask } = await import('./page.mjs');
const prepare = async () => { if (scenario.unprepared) throw new Error('no prompt'); return []; };
const options = { requestId: 'r1', upperBound: 1200.2, prepare };
if (scenario.cost !== undefined) options.costOf = () => scenario.cost;
let result = null, thrown = null;
try { result = await ask(options); } catch (failure) { thrown = failure.message; }
console.log(JSON.stringify({ calls, logged, result, thrown }));
"""
ALLOWED = {"data": {"allowed": True, "reason": None}, "error": None}
REFUSED = {"data": {"allowed": False, "reason": "limit_tokens", "reset_at": "2026-03-16"}, "error": None}
SETTLED = {"data": {"settled": True, "reason": None}, "error": None}
CANCELLED = {"data": {"cancelled": True, "reason": None}, "error": None}
ERROR = {"data": None, "error": {"message": "fetch failed"}}
REPLIES = {"reserve_openai_usage": ALLOWED, "settle_openai_usage": SETTLED, "cancel_openai_usage": CANCELLED}
ANSWER = {"usage": {"total_tokens": 900.5}}
RESERVED = [
    "reserve_openai_usage",
    {"business_id": None, "tokens": 1201, "request_id": "r1", "endpoint": "chat", "model": "gpt-4o-mini"},
]
CALLED = ["openai", "gpt-4o-mini"]


def _ask(folder: Path, **scenario: Any) -> dict[str, Any]:
    (snippet,) = re.findall(r"```js\n(.*?)```", (DOCS / "integrate.md").read_text(), re.DOTALL)
    files = {"page.mjs": snippet, "main.mjs": _MAIN}
    for package, source in (("@supabase/supabase-js", _SUPABASE), ("openai", _OPENAI)):
        files[f"node_modules/{package}/package.json"] = '{"type": "module", "exports": "./index.js"}'
        files[f"node_modules/{package}/index.js"] = source
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    scenario = {"openai": ANSWER, **scenario, "replies": {**REPLIES, **scenario.get("replies", {})}}
    environment = {"SUPABASE_URL": "https://x.example", "SUPABASE_SERVICE_ROLE_KEY": "service"}
    done = subprocess.run(
        [str(NODE), "main.mjs", json.dumps(scenario)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _settling(**values: Any) -> list[Any]:
    return ["settle_openai_usage", {"request_id": "r1", "actual_tokens": 901, **values}]


@pytest.mark.parametrize(("cost", "values"), [(None, {}), (0.0002, {"cost": 0.0002})])
def test_a_call_is_settled_in_whole_tokens_and_with_its_cost_only_where_it_is_known(
    tmp_path: Path, cost: float | None, values: dict[str, float]
) -> None:
    found = _ask(tmp_path, **({} if cost is None else {"cost": cost}))
    assert found["calls"] == [RESERVED, CALLED, _settling(**values)]
    assert (found["result"], found["logged"], found["thrown"]) == ({"answer": ANSWER}, [], None)


def test_a_refused_request_makes_no_call(tmp_path: Path) -> None:
    found = _ask(tmp_path, replies={"reserve_openai_usage": REFUSED})
    assert found["calls"] == [RESERVED]
    assert found["result"] == {"refused": "limit_tokens", "resetAt": "2026-03-16"}


def test_a_reservation_that_fails_makes_no_call(tmp_path: Path) -> None:
    found = _ask(tmp_path, replies={"reserve_openai_usage": ERROR})
    assert (found["calls"], found["thrown"]) == ([RESERVED], "reserve_openai_usage: fetch failed")


@pytest.mark.parametrize("scenario", [{"unprepared": True}, {"openai": {"status": 429}}])
def test_what_throws_without_a_call_gives_the_reservation_back(tmp_path: Path, scenario: dict[str, Any]) -> None:
    found = _ask(tmp_path, **scenario)
    assert found["calls"][-1] == ["cancel_openai_usage", {"request_id": "r1"}]
    assert found["thrown"] in ("no prompt", "no answer")


@pytest.mark.parametrize("status", [None, 500])
def test_a_call_that_may_have_been_made_is_left_to_its_upper_bound(tmp_path: Path, status: int | None) -> None:
    found = _ask(tmp_path, openai={"status": status})
    assert (found["calls"], found["thrown"]) == ([RESERVED, CALLED], "no answer")


@pytest.mark.parametrize(
    ("reply", "said"), [(ERROR, "fetch failed"), ({"data": {"settled": False, "reason": "already_settled"}}, "already")]
)
def test_a_settlement_that_fails_is_logged_and_the_answer_is_kept(tmp_path: Path, reply: Any, said: str) -> None:
    found = _ask(tmp_path, replies={"settle_openai_usage": reply})
    assert (found["result"], found["thrown"]) == ({"answer": ANSWER}, None)
    (line,) = found["logged"]
    assert said in line


def test_an_answer_without_usage_is_not_settled(tmp_path: Path) -> None:
    found = _ask(tmp_path, openai={"usage": None})
    assert (found["calls"], found["thrown"]) == ([RESERVED, CALLED], None)
