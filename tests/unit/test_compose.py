"""The container files start what exists: their commands are read by the real command lines, without Docker."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import tollgate.cli
import tollgate_sandbox.cli
from tollgate.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PARSERS = {"tollgate": tollgate.cli.build_parser, "tollgate-sandbox": tollgate_sandbox.cli.build_parser}


def services() -> dict[str, Any]:
    """The services of docker-compose.yml, anchors merged."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of the Dockerfile by stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    stage = ""
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.rpartition(" AS ")[2]
            found[stage] = []
        found[stage].append((word, rest))
    return found


def commands() -> list[list[str]]:
    """Every command and health check that a container of ours runs."""
    found = [json.loads(rest) for instructions in stages().values() for word, rest in instructions if word == "CMD"]
    for service in services().values():
        if "command" in service:
            found.append(service["command"])
        check = service.get("healthcheck", {}).get("test", [])
        if check[1:2] and check[1] in PARSERS:
            found.append(check[1:])
    return found


def test_there_are_commands_to_look_at() -> None:
    names = {tuple(command[:2]) for command in commands()}
    assert {("tollgate", "serve"), ("tollgate", "worker"), ("tollgate", "migrate")} <= names
    assert any(command[0] == "tollgate-sandbox" for command in commands())


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_is_one_that_the_program_takes(command: list[str]) -> None:
    parser = PARSERS[command[0]]()
    assert isinstance(parser, argparse.ArgumentParser)
    parser.parse_args(command[1:])  # exits, and so fails, on an unknown word


def test_programs_are_the_ones_that_the_package_installs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {command[0] for command in commands()} == set(scripts)


def test_the_image_runs_as_an_ordinary_user_and_without_an_embedded_server() -> None:
    for name in ("tollgate", "sandbox"):
        base = next(rest for word, rest in stages()[name] if word == "FROM").split()[0]
        users = [rest for word, rest in [*stages()[base], *stages()[name]] if word == "USER"]
        assert users
        assert users[-1] not in ("root", "0")
    assert "embedded" not in re.sub(r"^#.*$", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in stages()["build"] if word == "COPY"]
    for name in [name for names in copied for name in names]:
        assert (ROOT / name).exists()
        assert name in allowed


def test_every_service_that_stays_is_watched_and_waits_for_the_migration() -> None:
    for name, service in services().items():
        assert ("healthcheck" in service) == (name != "migrate")
        if name in ("web", "worker"):
            assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_the_environment_is_one_that_the_settings_read() -> None:
    for name in ("web", "worker", "migrate"):
        given = {key: re.sub(r"\$\{\w+(?::[-?]([^}]*))?\}", r"\1", value) for key, value in services()[name]["environment"].items()}
        settings = Settings.from_environment(given)
        assert settings.database_url is not None
        assert (settings.database_owner_url is not None) == (name == "migrate")
        assert settings.smtp_url == "smtp://mail:2525"
