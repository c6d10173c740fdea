"""The documents and the code say the same, and the code keeps to the rules that the documents state."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import pytest

from batchscribe import errors, upload_errors
from batchscribe.domain.job import TRANSITIONS
from batchscribe.settings import PREFIX, Settings

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "batchscribe"
MODULES = sorted(SOURCE.rglob("*.py"))
FOLDERS = ("docs", "benchmarks", "deploy")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.md"))])
#: Without the contract, which is not ours to mend.
OWN_DOCUMENTS = [path for path in DOCUMENTS if path.name != "contract.md"]
LONGEST_MODULE_LINES = 300

#: Libraries that one folder of ours alone may import.
LIBRARY_OWNERS = {
    "av": "decoding",
    "boto3": "engines",
    "botocore": "engines",
    "cryptography": "engines",
    "dbos": "workflow",
    "faster_whisper": "engines",
    "ctranslate2": "engines",
    "huggingface_hub": "engines",
    "httpx2": "client",
    "httpcore2": "egress.py",
}
#: Where else a library is imported for the names of its errors alone.
LIBRARY_GUESTS = {("httpx2", "engines/hub_models.py")}

#: What the clients may read from the environment.
CLIENT_VARIABLES = {"BATCHSCRIBE_URL", "BATCHSCRIBE_API_KEY"}


def read(name: str) -> str:
    """Return a document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def relative(path: Path) -> str:
    """Return a path as the tests' names show it."""
    return path.relative_to(ROOT).as_posix()


def error_codes() -> dict[str, str]:
    """Return the code of every class of the tree of errors."""
    modules = (errors, upload_errors)
    classes = [each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)]
    return {each.__name__: each.code for each in classes if issubclass(each, errors.BatchScribeError)}


def commands(command: click.Command, name: str) -> Iterator[str]:
    """Yield every command below one, as it is typed."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from commands(below, f"{name} {below.name}")
    else:
        yield name


def links(text: str) -> Iterator[str]:
    """Yield the targets of a document's links, outside of code."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for match in re.finditer(r"\]\(([^)\s]+)\)", prose):
        yield match.group(1)


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def imported(tree: ast.Module) -> set[str]:
    """Return the top names of everything that a module imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def environment_reads(tree: ast.Module) -> list[str]:
    """Return what a module reads from the environment: a variable's name, or the source where it is no plain name."""
    inner = {id(child) for node in ast.walk(tree) for child in ast.iter_child_nodes(node) if is_environment(node)}
    reads = []
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            if not is_environment(node) or id(node) in inner:
                continue
            if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.BitOr):
                continue  # Passed on to a child process, whole.
            reads.append(variable_read(tree, node))
    return reads


def is_environment(node: ast.AST) -> bool:
    """Whether a piece of code is ``os.environ``, ``os.environb`` or ``os.getenv``, however it was imported."""
    names = {"environ", "environb", "getenv", "getenvb"}
    return (isinstance(node, ast.Attribute) and node.attr in names) or (isinstance(node, ast.Name) and node.id in names)


def variable_read(tree: ast.Module, environment: ast.AST) -> str:
    """Return the name of the variable that is read, or where it is read."""
    for node in ast.walk(tree):
        is_get = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.value is environment
        is_getenv = isinstance(node, ast.Call) and node.func is environment
        if isinstance(node, ast.Call) and (is_get or is_getenv) and node.args:
            argument: ast.expr = node.args[0]
        elif isinstance(node, ast.Subscript) and node.value is environment:
            argument = node.slice
        else:
            continue
        if isinstance(argument, ast.Constant):
            return str(argument.value)
    return f"line {getattr(environment, 'lineno', '?')}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    """A setting has a row in the README's table and a section of its own in docs/settings.md."""
    variable = PREFIX + name.upper()
    assert re.search(rf"^\| `{variable}` \| .+ \| .+ \|$", read("README.md"), flags=re.MULTILINE)
    assert f"\n## {variable}\n" in read("docs/settings.md")


#: Variables that only tests and measurements read.
TEST_VARIABLES = {"BATCHSCRIBE_SHARED", "BATCHSCRIBE_KILLS", "BATCHSCRIBE_SEED", "BATCHSCRIBE_TEST_POSTGRES_URL"}


def test_no_setting_is_described_that_does_not_exist() -> None:
    """Every variable that README and docs/settings.md list is a setting."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    listed = re.findall(r"^\| `(BATCHSCRIBE_\w+)`", read("README.md"), flags=re.MULTILINE)
    described = re.findall(r"^## (BATCHSCRIBE_\w+)$", read("docs/settings.md"), flags=re.MULTILINE)
    assert set(listed) == set(described) == known
    mentioned = {each for path in DOCUMENTS for each in re.findall(r"BATCHSCRIBE_[A-Z_]+[A-Z]", path.read_text())}
    assert mentioned <= known | CLIENT_VARIABLES | TEST_VARIABLES


@pytest.mark.parametrize(("name", "code"), error_codes().items())
def test_every_error_code_is_described(name: str, code: str) -> None:
    """A code stands in docs/errors.md, beside the class that carries it."""
    lines = [line for line in read("docs/errors.md").splitlines() if f"`{code}`" in line]
    assert any(f"`{name}`" in line for line in lines)


def test_the_statuses_of_refused_requests_are_as_described() -> None:
    """The HTTP status of every code in docs/errors.md is the one that web/errors.py answers with."""
    from batchscribe.web.errors import STATUSES

    rows = re.findall(r"^\| `(\w+)` \| `\w+` \| (\d{3}) \|", read("docs/errors.md"), flags=re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: int(status) for code, status in STATUSES.items()}


def test_every_route_is_described() -> None:
    """Every path of the application stands in docs/http.md, with its methods."""
    from starlette.routing import Mount, Route

    from batchscribe.web.app import create_app

    # No request is made, so the routes never touch the service.
    app = create_app(cast("TranscriptionService", object()), max_upload_bytes=1, upload_stall_seconds=1.0)
    text = read("docs/http.md")
    for route in app.routes:
        assert isinstance(route, (Route, Mount))
        assert f"`{route.path}`" in text, route.path
        if isinstance(route, Route) and route.include_in_schema:
            methods = set(route.methods or ()) - {"HEAD"}
            for method in methods:
                assert re.search(rf"^\| {method} \| .*`{re.escape(route.path)}`", text, flags=re.MULTILINE), route.path


def test_every_command_is_described() -> None:
    """Every command of the command line stands in the README or in docs/."""
    from batchscribe.cli import commands as root

    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS if path.name != "CHANGELOG.md"]
    for name in commands(root, "batchscribe"):
        assert any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts), name


def test_every_decision_is_linked_under_its_own_title() -> None:
    """The index of decisions has one row for each, and each has the same headings."""
    index = read("docs/adr/index.md")
    decisions = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert decisions
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        match = re.match(r"# (\d+)\. (.+)\n", text)
        assert match is not None, path.name
        number, title = match.groups()
        assert path.name.startswith(f"{int(number):04d}-")
        assert f"| {number} | [{title}]({path.name}) |" in index
        headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], path.name
        assert "\n## Decision\n\n**" in text, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """A link to a file of the repository finds it, and a link to a heading finds that."""
    for link in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        assert file.is_relative_to(ROOT), link
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("path", OWN_DOCUMENTS, ids=relative)
def test_every_example_can_be_read(path: Path) -> None:
    """The Python, JSON and shell blocks of a document are Python, JSON and shell."""
    for language, block in re.findall(
        r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        if language == "python":
            ast.parse(block)
        elif language == "json":
            json.loads(block)
        elif language == "bash":
            subprocess.run(["bash", "-n", "-c", block], check=True, timeout=30)


@pytest.mark.parametrize("path", OWN_DOCUMENTS, ids=relative)
def test_every_place_in_the_code_that_a_document_names_exists(path: Path) -> None:
    """References such as ``service.py:TranscriptionService.submit`` name a module and what is defined in it."""
    for module, name in re.findall(r"`([\w/]+\.py)(?:: ?([\w.]+))?`", path.read_text(encoding="utf-8")):
        file = next((each for each in (SOURCE / module, ROOT / module) if each.is_file()), None)
        assert file is not None, module
        body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
        for part in name.split(".") if name else ():
            found = [node for node in body if part in defined(node)]
            assert found, f"{module}:{name}"
            body = getattr(found[0], "body", [])


def defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_the_diagram_of_the_statuses_is_the_transition_table() -> None:
    """The arrows of the diagram in docs/job-way.md are those of the code, with the same events."""
    arrows = re.findall(r"^ +(\[\*\]|\w+) --> (\w+): (\S+)$", read("docs/job-way.md"), flags=re.MULTILINE)
    table = [("[*]" if before is None else before.value, after.value, TRANSITIONS[before, after])
             for before, after in TRANSITIONS]  # fmt: skip
    assert sorted(arrows) == sorted(table)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_module_is_too_long(path: Path) -> None:
    """A module has at most 300 lines: more is where a second thing hides."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    """No other module looks at the environment, except the clients at their own two variables."""
    inside = path.relative_to(SOURCE)
    if inside.as_posix() == "settings.py":
        return
    allowed = CLIENT_VARIABLES if inside.parts[0] == "client" else set()
    assert set(environment_reads(ast.parse(path.read_text(encoding="utf-8")))) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_library_is_imported_in_its_own_folder_alone(path: Path) -> None:
    """Only decoding imports av, only workflow the durable engine, only engines what recognises."""
    inside = path.relative_to(SOURCE)
    for library in imported(ast.parse(path.read_text(encoding="utf-8"))) & LIBRARY_OWNERS.keys():
        is_guest = (library, inside.as_posix()) in LIBRARY_GUESTS
        assert is_guest or inside.parts[0] == LIBRARY_OWNERS[library], library


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("import os\nos.environ['HOME']", ["HOME"]),
        ("import os\nos.environ.get('HOME')", ["HOME"]),
        ("import os\nos.getenv('HOME')", ["HOME"]),
        ("from os import environ\nenviron.get('HOME')", ["HOME"]),
        ("import os\nprint(dict(os.environ))", ["line 2"]),
        ("import os\nrun(env=os.environ | own)", []),
    ],
)
def test_reads_of_the_environment_are_found(source: str, reads: list[str]) -> None:
    """The rule sees a read in every common spelling, and lets the environment be passed on."""
    assert environment_reads(ast.parse(source)) == reads
