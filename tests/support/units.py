"""The package's unit files, read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "pyfreeze" / "_setup" / "systemd"
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
