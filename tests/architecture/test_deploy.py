"""The deployment examples fit the program: their settings, commands, routes and files exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
import yaml

from batchscribe import __version__
from batchscribe.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.name != ".env")
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text(encoding="utf-8"))
KUSTOMIZATION = "kustomization.yaml"
OUR_IMAGE = f"batchscribe:{__version__}"
#: How long the api gives uploads to end (``web/front.py``), and its proxy to hear of it.
DRAIN_SECONDS = 30 + 5


def relative(path: Path) -> str:
    """Return a path as the tests' names show it."""
    return path.relative_to(ROOT).as_posix()


def documents() -> Iterator[dict[str, Any]]:
    """Yield every Kubernetes object of the manifests."""
    for path in MANIFESTS:
        if path.name != KUSTOMIZATION:
            yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def pods() -> dict[str, dict[str, Any]]:
    """Return the description of every kind of pod, by the name of what makes it."""
    makers = [each for each in documents() if each["kind"] in {"Deployment", "Job"}]
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in makers}


def containers() -> dict[str, dict[str, Any]]:
    """Return the one container of each kind of pod."""
    found = {}
    for name, pod in pods().items():
        (container,) = pod["containers"]
        found[name] = container
    return found


def our_services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file that run our image."""
    return {name: each for name, each in COMPOSE["services"].items() if each["image"] == OUR_IMAGE}


def command_lines() -> dict[str, list[str]]:
    """Return every command that our image is given, by who gives it."""
    lines = {f"compose {name}": service["command"] for name, service in our_services().items()}
    lines |= {f"kubernetes {name}": container["args"] for name, container in containers().items()}
    return lines | {"image": json.loads(re.findall(r"^CMD (.+)$", DOCKERFILE, flags=re.MULTILINE)[0])}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix == ".yaml" and path.parent.name != "aws"], ids=relative
)
def test_every_file_of_yaml_can_be_read(path: Path) -> None:
    """A file holds objects with a kind, or is a compose file. AWS's template has a reader of its own."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert "services" in document or {"apiVersion", "kind"} <= document.keys()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_variable_is_a_setting(path: Path) -> None:
    """What begins with BATCHSCRIBE_ is read by somebody."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    mentioned = set(re.findall(r"\bBATCHSCRIBE_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert mentioned <= known


def test_every_value_of_a_setting_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image, the compose file and the manifests set only what the settings take."""
    from batchscribe import settings

    given = dict(re.findall(r"\b(BATCHSCRIBE_\w+)=(\S+)", DOCKERFILE))
    for service in our_services().values():
        given |= {
            name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for name, value in service["environment"].items()
        }
    for document in documents():
        given |= document.get("data", {}) | document.get("stringData", {})
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert loaded.is_scale_out
    assert loaded.require_sandbox
    assert loaded.storage_url.startswith("s3://")


@pytest.mark.parametrize(("giver", "words"), command_lines().items())
def test_every_command_exists(giver: str, words: list[str]) -> None:
    """The words after the image's name are a command of the command line, with options that it has."""
    from batchscribe.cli import commands

    command: click.Command = commands
    rest = list(words)
    while rest and isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    assert not isinstance(command, click.Group), giver
    command.make_context(shlex.join(words), rest)


def test_each_process_of_a_fleet_is_there() -> None:
    """Both examples run the api and the worker, and bring the tables up to date first."""
    for example in ("compose", "kubernetes"):
        words = {tuple(each) for giver, each in command_lines().items() if giver.startswith(example)}
        assert words == {("api",), ("worker",), ("db", "upgrade")}
    for name, service in our_services().items():
        if name != "upgrade":
            assert service["depends_on"]["upgrade"]["condition"] == "service_completed_successfully"


def test_every_image_is_pinned_by_its_tag() -> None:
    """No image is whatever is newest, and ours is of this version."""
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    images += [service["image"] for service in COMPOSE["services"].values()]
    images += [container["image"] for container in containers().values()]
    for image in images:
        name, _, tag = image.rpartition(":")
        assert name, image
        assert re.match(r"\d+\.\d+", tag), image
    assert {container["image"] for container in containers().values()} == {OUR_IMAGE}
    assert f" -t {OUR_IMAGE} ." in DOCKERFILE
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / KUSTOMIZATION).read_text(encoding="utf-8"))
    assert kustomization["images"][0]["newTag"] == __version__


def test_the_kustomization_lists_every_file() -> None:
    """No manifest lies beside the others without being applied."""
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / KUSTOMIZATION).read_text(encoding="utf-8"))
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS if path.name != KUSTOMIZATION]


def test_probes_ask_for_routes_that_exist() -> None:
    """Every probe, health check and proxy asks the api for a path that it answers, at the port that it listens on."""
    from batchscribe.service import TranscriptionService
    from batchscribe.web.app import create_app

    # No request is made, so the routes never touch the service.
    app = create_app(cast("TranscriptionService", object()), max_upload_bytes=1, upload_stall_seconds=1.0)
    routes = {getattr(route, "path", "") for route in app.routes}
    api = containers()["batchscribe-api"]
    assert api["livenessProbe"]["httpGet"]["path"] == "/health"
    assert api["readinessProbe"]["httpGet"]["path"] == "/readyz"
    ports = {port["name"]: port["containerPort"] for port in api["ports"]}
    default_port = Settings.model_fields["port"].default
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = api[probe]["httpGet"]
        assert asked["path"] in routes
        assert ports[asked["port"]] == default_port
    checks = [each["healthcheck"]["test"][-1] for each in our_services().values() if "healthcheck" in each]
    caddyfile = (DEPLOY / "docker" / "Caddyfile").read_text(encoding="utf-8")
    paths = re.findall(rf"http://127\.0\.0\.1:{default_port}(/\w+)", " ".join(checks))
    paths += re.findall(r"health_uri (\S+)", caddyfile)
    assert paths
    assert set(paths) <= routes
    upstreams = re.findall(r"(\S+):(\d+)", re.findall(r"reverse_proxy (.+) \{", caddyfile)[0])
    apis = {name for name, service in our_services().items() if service["command"] == ["api"]}
    assert {name for name, _ in upstreams} == apis
    assert {int(port) for _, port in upstreams} == {default_port}
    assert f"EXPOSE {default_port}\n" in DOCKERFILE


@pytest.mark.parametrize("name", pods())
def test_pods_are_closed(name: str) -> None:
    """A pod has no privilege to lose: no root, no capability, no writable root, no token, the runtime's own profile."""
    pod, container = pods()[name], containers()[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    # A Service named `batchscribe` would otherwise set BATCHSCRIBE_PORT to its own address.
    assert pod["enableServiceLinks"] is False
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    data_folder = re.findall(r"BATCHSCRIBE_DATA_DIR=(\S+)", DOCKERFILE)[0]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", data_folder}  # noqa: S108 - the container's


@pytest.mark.parametrize("name", our_services())
def test_containers_of_the_compose_file_are_closed(name: str) -> None:
    """The same, as far as a compose file can say it; nothing but the proxy is reachable, and that from here alone."""
    service = our_services()[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] == re.findall(r"^USER (\d+):", DOCKERFILE, flags=re.MULTILINE)[0]
    assert {each for each, others in COMPOSE["services"].items() if "ports" in others} == {"proxy"}
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["proxy"]["ports"])


def test_an_api_has_time_for_uploads_that_are_under_way() -> None:
    """Whoever stops an api waits longer than the api does, and a worker is not waited for."""
    api = pods()["batchscribe-api"]
    asleep_seconds = int(api["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert api["terminationGracePeriodSeconds"] > DRAIN_SECONDS
    assert asleep_seconds <= DRAIN_SECONDS - 30
    for service in our_services().values():
        if service["command"] == ["api"]:
            assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_engine_processes_follow_the_limit_of_cores() -> None:
    """A container sees every core of its machine: how many it may use must be said."""
    (variable,) = containers()["batchscribe-worker"]["env"]
    assert variable["name"] == f"{PREFIX}ENGINE_PROCESSES"
    assert variable["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
    assert all(f"{PREFIX}ENGINE_PROCESSES" in service["environment"] for service in our_services().values())


def test_selectors_find_their_pods() -> None:
    """Every Service and budget selects the labels of pods that there are."""
    makers = [each for each in documents() if each["kind"] in {"Deployment", "Job"}]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in makers]
    for each in documents():
        if each["kind"] in {"Service", "PodDisruptionBudget", "Deployment"}:
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert sum(wanted.items() <= those.items() for those in labels) == 1, each["metadata"]["name"]
