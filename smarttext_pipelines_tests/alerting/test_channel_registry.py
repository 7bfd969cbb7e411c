"""Every channel is whole: what its module leaves out, a test here names."""

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

from smarttext_pipelines.alerting import channels
from smarttext_pipelines.alerting.channels import CHANNELS, ChannelKind
from smarttext_pipelines.settings import Settings, variable_of
from smarttext_pipelines_tests.alerting.test_hostile_names import RECEIVED
from smarttext_pipelines_tests.docs import DOCS
from smarttext_pipelines_tests.hostile import ACTIVE

KINDS = pytest.mark.parametrize("kind", CHANNELS.values(), ids=list(CHANNELS))


def described() -> dict[str, ChannelKind]:
    """Return the channels that modules of the folder describe."""
    names = [each.name for each in pkgutil.iter_modules(channels.__path__)]
    modules = [import_module(f"{channels.__name__}.{name}") for name in names]
    return {module.__name__: module.KIND for module in modules if hasattr(module, "KIND")}


def test_every_module_that_describes_a_channel_is_registered() -> None:
    missing = [module for module, kind in described().items() if CHANNELS.get(kind.name) is not kind]
    assert not missing, f"not in CHANNELS: {missing}"


def test_every_module_that_can_send_describes_its_channel() -> None:
    folder = Path(channels.__path__[0])
    names = {n for p in folder.glob("*.py") for n in re.findall(r'^    name = "(.*)"$', p.read_text(), re.MULTILINE)}
    assert names == set(CHANNELS), "a class sends under a name that no KIND describes"


@KINDS
def test_a_channel_gets_notifications_or_the_digest(kind: ChannelKind) -> None:
    assert kind.severities or kind.carries_digest, f"nothing is ever sent to {kind.name}: give it severities"


@KINDS
def test_a_channel_that_is_silent_while_all_is_well_is_tested_weekly(kind: ChannelKind) -> None:
    assert kind.carries_digest or kind.is_tested_weekly or kind.name == "webhook", f"nobody sees that {kind.name} died"


@KINDS
def test_a_channel_has_a_world_in_which_it_sends_hostile_names(kind: ChannelKind) -> None:
    assert kind.name in RECEIVED, f"add {kind.name} to RECEIVED in test_hostile_names.py"
    assert kind.name in ACTIVE, f"say in ACTIVE of hostile.py what is more than text in {kind.name}, or None"


@KINDS
def test_the_settings_that_a_channel_needs_exist_and_are_documented(kind: ChannelKind) -> None:
    known = {variable_of(field) for field in Settings.model_fields} | {"TWILIO_…", "SMARTTEXT_DATA_DIR"}
    assert kind.ways, f"{kind.name} does not say what it needs"
    for way in kind.ways:
        named = set(re.findall(r"`([A-Z][A-Z_]+_…|[A-Z]+_[A-Z_]+)`", way.needs))
        assert named, f"{kind.name} names no setting that it needs"
        assert named <= known, f"{kind.name} needs {sorted(named - known)}, which no field of Settings reads"
        assert f"| {kind.name} | {way.needs} |" in (DOCS / "alerting.md").read_text(), "run `make docs`"
