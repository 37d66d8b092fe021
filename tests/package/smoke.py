"""The installed package, used: every command that runs anywhere, and one real backup."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import pyfreeze
import pyfreeze._native


def command(*words: str) -> str:
    """Run the installed command, which must succeed and say nothing on stderr."""
    program = os.path.join(os.path.dirname(sys.executable), "pyfreeze")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0 or done.stderr:
        sys.exit(f"{' '.join(words)}: {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def main(environment: str) -> None:
    where = os.path.dirname(pyfreeze.__file__)
    if not where.startswith(environment + os.sep):
        sys.exit(f"{where} is not of the wheel just installed")
    if pyfreeze.__version__ not in command("--version"):
        sys.exit("the command is of another version")
    assert "308" in command("explain", "Pre-ScriptTimeout")
    with tempfile.TemporaryDirectory() as root:
        assert "pyfreeze@.service" in command("install", "--root", root)
    # Two filesystems of its own, in a mount namespace of its own: frozen, copied, thawed, proved.
    performance = json.loads(command("demo", "--json"))
    if not performance["holds"]:
        sys.exit(json.dumps(performance, indent=2))
    print(f"Python {sys.version.split()[0]}: imports, commands and the demo work")


if __name__ == "__main__":
    main(sys.argv[1])
