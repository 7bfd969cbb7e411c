"""What ``deploy/`` and its guide tell a server to run exists: commands, options, settings, files, every role."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver
from dotenv import dotenv_values

from smarttext_pipelines.launch.dagster_services import DEFINITIONS, LOCATION
from smarttext_pipelines.settings import Settings, load_settings, variable_of
from smarttext_pipelines.settings.environment import PREFIX
from smarttext_pipelines.settings.loading import OTHER_VARIABLES
from smarttext_pipelines_tests.launch.test_up import ROOT
from smarttext_pipelines_tests.told_commands import every_command

DEPLOY = ROOT / "deploy"
GUIDES = [ROOT / "docs" / "deploy.md", ROOT / "docs" / "metrics.md"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SHARED = DEPLOY / "systemd" / "smarttext-.service.d" / "role.conf"
ROLES = {path.stem.removeprefix("smarttext-") for path in UNITS}
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SOCKET = "/run/smarttext/code.sock"
OURS = [name for name, service in COMPOSE["services"].items() if service["image"] == "smarttext:latest"]
ANALYZE, DOCKER_COMPOSE = shutil.which("systemd-analyze"), shutil.which("docker-compose")
SANDBOX = {
    "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes",
    "CapabilityBoundingSet=", "SystemCallFilter=@system-service", "RestrictNamespaces=yes", "UMask=0077",
    "User=smarttext", "EnvironmentFile=/etc/smarttext/smarttext.env",
}  # fmt: skip


def _lines(unit: Path, key: str) -> list[str]:
    return [line.removeprefix(f"{key}=") for line in unit.read_text().splitlines() if line.startswith(f"{key}=")]


def _commands_of_units() -> Iterator[tuple[str, str]]:
    for unit in UNITS:
        for command in _lines(unit, "ExecStartPre") + _lines(unit, "ExecStart"):
            yield unit.stem, command


def _commands_of_compose() -> Iterator[tuple[str, str]]:
    for name in OURS:
        service = COMPOSE["services"][name]
        command = service["command"]
        script = command[2] if command[:2] == ["sh", "-c"] else shlex.join(command)
        for each in script.split("&&"):
            yield name, each.strip().removeprefix("exec ")
        kind, *test = service.get("healthcheck", {}).get("test", ["NONE"])
        if kind == "CMD":
            yield f"health of {name}", shlex.join(test)


def _parse(command: Any, name: str, arguments: list[str]) -> None:
    """Read the arguments as the command would, without calling it; a command or option that it lacks raises."""
    context = command.make_context(name, list(arguments), resilient_parsing=hasattr(command, "commands"))
    if hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        assert rest, f"{name} needs a command"
        assert rest[0] in command.commands, f"{name} has no command {rest[0]}"
        _parse(command.commands[rest[0]], f"{name} {rest[0]}", rest[1:])


@pytest.mark.parametrize(("whose", "command"), [*_commands_of_units(), *_commands_of_compose()])
def test_a_command_of_a_role_exists_with_its_options(whose: str, command: str, tmp_path: Path) -> None:
    # Dagster wants the file of the workspace to be there.
    workspace = tmp_path / "workspace.yaml"
    shutil.copy(DEPLOY / "workspace.yaml", workspace)
    program, *arguments = shlex.split(re.sub(r"/(etc|opt)/smarttext/workspace\.yaml", str(workspace), command))
    name = PurePosixPath(program).name
    if name == "python":
        kind, what = arguments[:2]
        assert find_spec(what) if kind == "-m" else compile(what, whose, "exec")
        return
    known = {
        "smarttext": every_command,
        "dagster": create_dagster_cli,
        "dagster-daemon": create_dagster_daemon_cli,
        "dagster-webserver": lambda: dagster_webserver,
    }
    _parse(known[name](), name, arguments)
    assert (Path(sys.prefix) / "bin" / name).exists()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_a_guide_names_only_commands_that_exist(guide: Path) -> None:
    group = every_command()
    named = re.findall(
        r"(?<!-u )(?<!-o )(?<!-g )(?<![\w.:-])smarttext ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", _code(guide)
    )
    for name, below in named:
        assert name in group.commands, f"smarttext {name}"
        assert not hasattr(group.commands[name], "commands") or below in group.commands[name].commands, below


def _code(page: Path) -> str:
    text = page.read_text()
    blocks = [line for line in text.splitlines() if line.startswith("    ")]
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", text)])


@pytest.mark.parametrize(
    "path", [*(each for each in DEPLOY.rglob("*") if each.is_file()), *GUIDES], ids=lambda path: path.name
)
def test_a_file_names_only_settings_that_exist(path: Path) -> None:
    known = {variable_of(name) for name in Settings.model_fields} | {PREFIX + name for name in OTHER_VARIABLES}
    assert set(re.findall(r"\bSMARTTEXT_[A-Z_]+", path.read_text())) <= known


def test_the_example_of_the_settings_can_be_loaded_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dotenv_values(DEPLOY / "smarttext.env.example")
    for name, value in values.items():
        monkeypatch.setenv(name, value or "")
    found = load_settings()
    assert found.web_auth == "token"
    urls = {str(values[f"SMARTTEXT_{name}"]) for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL")}
    assert set(found.known_secrets()) <= urls | {"PASSWORD"}


def test_every_role_runs_under_systemd_and_in_a_container() -> None:
    assert ROLES == set(OURS) == {"code-server", "daemon", "ui", "web", "sampler", "receiver"}
    target = (DEPLOY / "systemd" / "smarttext.target").read_text()
    wanted = set(re.findall(r"smarttext-([a-z-]+)\.service", target))
    assert wanted == ROLES - {"receiver"}, "the receiver needs Twilio's token, and is enabled by itself"


def test_all_meet_at_one_socket_under_one_name() -> None:
    (server,) = (each["grpc_server"] for each in yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"])
    assert (server["socket"], server["location_name"]) == (SOCKET, LOCATION)
    starts = [command for _, command in [*_commands_of_units(), *_commands_of_compose()] if " api grpc " in command]
    assert len(starts) == 2
    for command in starts:
        assert f"-m {DEFINITIONS} -s {SOCKET} --location-name {LOCATION}" in command


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_may_do_little_and_comes_back(unit: Path) -> None:
    own, shared = unit.read_text().splitlines(), SHARED.read_text().splitlines()
    assert not SANDBOX - {*own, *shared}
    assert {"Restart=always", "PartOf=smarttext.target"} <= set(shared)
    # Without the file for all of them it is not root's either.
    assert {"User=smarttext", "WantedBy=smarttext.target"} <= set(own)
    assert not {line.split("=")[0] for line in own if "=" in line} & set(_kept_once(shared)), "said twice"


def _kept_once(lines: list[str]) -> set[str]:
    """Return the settings of which systemd takes the last."""
    lists = ("After", "Wants", "Environment", "SystemCallFilter")
    return {line.split("=")[0] for line in lines if "=" in line and not line.startswith(("#", *lists))}


def test_systemd_restarts_whoever_tells_it_that_all_is_well_and_stops() -> None:
    for unit in UNITS:
        tells = unit.stem.removeprefix("smarttext-") in ("web", "receiver", "sampler")
        lines = unit.read_text().splitlines()
        assert ("Type=notify" in lines) is tells is any(line.startswith("WatchdogSec=") for line in lines), unit.stem


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine (2026-11-28)")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "systemd", tmp_path, dirs_exist_ok=True)
    for unit in tmp_path.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/smarttext", sys.prefix))
    units = [*(str(path) for path in sorted(tmp_path.glob("*.service"))), str(tmp_path / "smarttext.target")]
    done = subprocess.run([str(ANALYZE), "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    limit = [str(ANALYZE), "security", "--offline=true", "--threshold=20"]
    for unit_file in units[:-1]:
        done = subprocess.run([*limit, unit_file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_compose_refers_only_to_what_it_declares() -> None:
    for name, service in COMPOSE["services"].items():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source in ("./tls", "./Caddyfile"), name
        for port in service.get("ports", []):
            assert name == "caddy" or port.startswith("127.0.0.1:"), f"{name} is open to the internet"
    front = {name for name, service in COMPOSE["services"].items() if "outside" in service["networks"]}
    assert front == {"caddy", "web", "receiver"}, "the proxy reaches neither Dagster's UI nor a database"


@pytest.mark.skipif(DOCKER_COMPOSE is None, reason="there is no docker-compose on this machine (2026-11-28)")
def test_docker_compose_can_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DEPLOY / "compose.yaml", tmp_path)
    shutil.copy(DEPLOY / "smarttext.env.example", tmp_path / "smarttext.env")
    for name in ("POSTGRES_PASSWORD", "WEB_HOST"):
        monkeypatch.setenv(name, "x")
    command = [str(DOCKER_COMPOSE), "-f", "compose.yaml", "--profile", "receiver", "config", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_is_made_of_files_that_exist() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = [part for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for part in line.split()]
    assert all((ROOT / part).exists() for part in copied if not part.startswith("dist/")), copied
    (linked,) = re.findall(r"site-packages/(smarttext_pipelines/\S+)", text)
    assert (ROOT / linked).exists()
    assert "USER smarttext" in text
    assert "HEALTHCHECK" in text
