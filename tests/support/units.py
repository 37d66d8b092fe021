"""What systemd makes of a unit, as far as ours use it: COMMAND LINES in systemd.service(5)."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "pyfreeze" / "_systemd"
#: Where this environment has the program; units name it without a path.
PROGRAM = str(Path(sys.executable).with_name("pyfreeze"))


class Unit:
    """A unit file of the package, perhaps a template, with its instance's name put in."""

    def __init__(self, name: str, instance: str = "") -> None:
        self.text = (UNITS / name).read_text(encoding="utf-8")
        self._instance = instance

    def values(self, key: str) -> list[str]:
        """A setting's values, one for each of its lines."""
        plain = re.sub(r"^[#;].*\n", "", self.text, flags=re.MULTILINE)
        joined = re.sub(r"\\\n\s*", " ", plain)
        found = re.findall(rf"^{key}=(.*)$", joined, flags=re.MULTILINE)
        return [value.strip().replace("%i", self._instance) for value in found]

    def value(self, key: str) -> str:
        (one,) = self.values(key)
        return one

    def capabilities(self) -> list[str]:
        names = " ".join(self.values("CapabilityBoundingSet")).split()
        return [name.removeprefix("CAP_").lower() for name in names]

    def command(self, key: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """A command line's words, with variables put in."""
        words: list[str] = []
        for word in shlex.split(self.value(key)):
            if re.fullmatch(r"\$\w+", word):
                words += shlex.split((environment or {}).get(word[1:], ""))
            else:
                words.append(word.replace("$$", "$"))
        return [PROGRAM if word == "pyfreeze" else word for word in words]


def environment_file(path: Path) -> dict[str, str]:
    """The variables of an EnvironmentFile=."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;")
    return {name: value[1:-1] if value[:1] in "'\"" else value for name, _, value in pairs}
