"""The C core with a sanitizer: a library, and a supervisor that writes down its findings."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
#: The C programs that drive it.
PROGRAMS = ROOT / "tests" / "c"
SUPERVISOR_MAIN = CSRC / "supervisor" / "loop.c"

MEMORY = "address,undefined"
THREADS = "thread"

FLAGS = [
    "-std=gnu11",
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=all",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Werror",
    f"-I{CSRC}",
    f"-I{PROGRAMS}",
]


def _compile(*words: str | Path) -> None:
    command = ["gcc", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"


@dataclass(frozen=True)
class Build:
    """Everything compiled with one sanitizer."""

    sanitizer: str
    directory: Path

    @property
    def flags(self) -> list[str]:
        return [*FLAGS, f"-fsanitize={self.sanitizer}"]

    @property
    def library(self) -> Path:
        return self.directory / "libpyfreeze.a"

    @property
    def supervisor(self) -> Path:
        return self.directory / "supervisor"

    @property
    def actor(self) -> Path:
        return self.directory / "actor"

    def make(self) -> None:
        """Compile csrc into a library, and the supervisor and the actor from it."""
        sources = sorted(path for path in CSRC.glob("*/*.c") if path != SUPERVISOR_MAIN)
        objects = [self.directory / f"{path.parent.name}-{path.stem}.o" for path in sources]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(self._make_object, sources, objects):
                pass
        subprocess.run(["ar", "rcs", self.library, *objects], check=True, timeout=60)
        log = f'-DLOG_PATH="{self.directory}/finding"'
        _compile(
            *self.flags, log, SUPERVISOR_MAIN, PROGRAMS / "sanitizer_options.c",
            self.library, "-o", self.supervisor,
        )  # fmt: skip
        _compile("-std=gnu11", "-O1", "-Wall", "-Wextra", PROGRAMS / "actor.c", "-o", self.actor)

    def _make_object(self, source: Path, output: Path) -> None:
        _compile(*self.flags, "-c", source, "-o", output)

    def program(self, name: str, options: list[str]) -> Path:
        """Compile one test program, unless it has been."""
        return self._link(PROGRAMS / f"{name}.c", self.directory / name, options)

    def program_of(self, text: str) -> Path:
        """Compile a test program that is no file, unless it has been."""
        source = self.directory / "program.c"
        source.write_text(text, encoding="utf-8")
        return self._link(source, self.directory / "program", [])

    def _link(self, source: Path, output: Path, options: list[str]) -> Path:
        failure = output.with_suffix(".failure")  # of which every case tells, and one compiles
        if failure.exists():
            raise AssertionError(failure.read_text(encoding="utf-8"))
        if not output.exists():
            try:
                _compile(*self.flags, source, self.library, *options, "-o", output)
            except AssertionError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise
        return output

    def take_findings(self) -> str:
        """What the sanitizers had to say of supervisors and reapers since the last look."""
        found = []
        for path in sorted(self.directory.glob("finding.*")):
            found.append(path.read_text(encoding="utf-8", errors="replace"))
            path.unlink()
        return "".join(found)
