"""Benchmarks run in a mount namespace of their own, and tell at the end what they found."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# At the end, so that an installed pyfreeze is found before the tree's.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench.support.comparison import Compare, Result
from bench.support.filesystems import Filesystems
from bench.support.machine import describe
from bench.support.peers import Peers, QemuAgent
from bench.support.picture import draw
from bench.support.summary import markdown, text
from tests.support import namespace

_HERE = Path(__file__).resolve().parent
_RESULTS = _HERE / "results"
_DONE = pytest.StashKey[list[Result]]()
_MACHINE = pytest.StashKey[dict[str, str]]()
_TIMEOUT_S = {"short": 300, "table": 1800, "full": 3600}
_C_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--form",
        choices=("short", "table", "full"),
        default="short",
        help="short: everything in under five minutes; table: 20 rounds of what the README quotes; "
        "full: 40 rounds of every comparison",
    )
    parser.addoption(
        "--disk",
        metavar="DIR",
        default=os.environ.get("PYFREEZE_BENCH_DISK", "/var/tmp"),
        help="where the filesystems under load have their images: on a real disk (/var/tmp)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # As Ctrl-C: what is frozen is thawed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "full_form: takes too long for the short form")
    namespace.enter()
    config.stash[_DONE] = []
    config.stash[_MACHINE] = describe(config.option.disk)
    # Of a test that was interrupted before it began to measure.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
    # Its own table would show how long a round of all contenders took.
    config.option.benchmark_quiet = True
    if config.option.benchmark_json is None:
        _RESULTS.mkdir(exist_ok=True)
        config.option.benchmark_json = _RESULTS / f"{config.option.form}.json"


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)  # the host's name


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: object, output_json: dict[str, Any]
) -> Iterator[None]:
    yield
    output_json["machine"] = config.stash[_MACHINE]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[_DONE]
    if not results:
        return
    machine = config.stash[_MACHINE]
    terminalreporter.section(f"comparisons, {config.option.form} form")
    for line in text(machine, results):
        terminalreporter.write_line(line)
    _RESULTS.mkdir(exist_ok=True)
    form = config.option.form
    (_RESULTS / f"{form}.md").write_text(markdown(machine, results), encoding="utf-8")
    draw(results, _RESULTS / f"{form}.svg")
    draw(results, _RESULTS / f"{form}.png")
    terminalreporter.write_line(f"saved as {_RESULTS}/{form}.json, .md, .svg, .png")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.form != "full":
        items[:] = [item for item in items if not item.get_closest_marker("full_form")]
    for item in items:
        item.add_marker(pytest.mark.timeout(_TIMEOUT_S[config.option.form]))


@pytest.fixture(scope="session", autouse=True)
def able_machine() -> None:
    """A benchmark that cannot run fails: there is nothing to measure by skipping it."""
    if os.geteuid() != 0 or namespace.Session.obstacle:
        pytest.exit(f"benchmarks need root; {namespace.Session.obstacle}", returncode=1)
    missing = [name for name in ("gcc", "fsfreeze", "qemu-ga") if shutil.which(name) is None]
    if missing:
        pytest.exit(f"missing: {', '.join(missing)}; sh ./bootstrap bench installs them", 1)


@pytest.fixture(scope="session")
def form(request: pytest.FixtureRequest) -> str:
    """The form of the run: short, table or full."""
    return str(request.config.option.form)


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: Any, form: str) -> Compare:
    """Runs contenders in turn, and keeps what they found for the table at the end."""
    return Compare(benchmark, form, request.config.stash[_DONE])


@pytest.fixture(scope="session")
def program(
    able_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Compiles bench/NAME.c, once; returns the program's path."""
    directory = tmp_path_factory.mktemp("programs")

    def build(name: str) -> str:
        path = directory / name
        if not path.exists():
            source = str(_HERE / f"{name}.c")
            subprocess.run(["gcc", *_C_FLAGS, "-o", str(path), source], check=True, timeout=120)
        return str(path)

    yield build
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def filesystems(able_machine: None, request: pytest.FixtureRequest) -> Iterator[Filesystems]:
    """The filesystems to freeze."""
    made = Filesystems(request.config.option.disk)
    yield made
    made.close()


@pytest.fixture(scope="session")
def peers(
    able_machine: None, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peers]:
    """Everything else that freezes."""
    with QemuAgent(tmp_path_factory.mktemp("qemu-ga")) as agent:
        yield Peers(program, agent)
