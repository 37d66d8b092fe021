"""A directory of one test, safe enough for scripts and configuration: root's, all the way up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


class ScriptDir:
    """Makes scripts (mode 700) and configurations (mode 600) in a directory on a tmpfs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)

    def path(self, name: str) -> Path:
        return self.directory / name

    def read(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8")

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def script(self, name: str, body: str, first_line: str = "#!/bin/sh\n") -> str:
        """A script; `$D` in a shell's body is this directory."""
        path = self.path(name)
        shell = f"D='{self.directory}'\n" if first_line == "#!/bin/sh\n" else ""
        path.write_text(f"{first_line}{shell}{body}\n", encoding="utf-8")
        path.chmod(0o700)
        return str(path)

    def config(
        self,
        pre: str | None = None,
        post: str | None = None,
        *,
        name: str = "config.json",
        **keys: object,
    ) -> str:
        """A script configuration; scripts not given are made, and note that they ran."""
        content = {
            "pluginName": "ScriptRunner",
            "preScriptLocation": pre or self.script("pre", 'echo ran >>"$D/pre.ran"'),
            "postScriptLocation": post
            or self.script("post", 'echo "$PYFREEZE_OUTCOME" >>"$D/post.ran"'),
            **keys,
        }
        path = self.path(name)
        path.write_text(json.dumps(content), encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    @property
    def outcomes(self) -> list[str]:
        """What the standard post-script was told, each time it ran."""
        return self.read("post.ran").split("\n")[:-1] if self.exists("post.ran") else []

    # ---- a snapshot command that stays ---------------------------------------------------------

    def blocking_command(self) -> list[str]:
        """A command that says when it runs, and then stays, with a child that has detached."""
        detached = "trap '' TERM; echo $$ >$D/detached; mv $D/detached $D/detached.pid; sleep 600"
        script = self.script(
            "stay",
            f"export D\nsetsid sh -c '{_quoted(detached)}' &\n"
            'while [ ! -e "$D/detached.pid" ]; do sleep 0.01; done\n'
            'echo $$ >"$D/stay"; mv "$D/stay" "$D/stay.pid"\n'
            "sleep 600 & wait",
        )
        # Written before it runs, so not under the name that tells that it runs.
        return [script]

    def waiting_script(self, name: str = "held") -> str:
        """A script that says that it runs, and goes on when `release()` is called."""
        wait = 'while [ ! -e "$D/go" ]; do sleep 0.01; done'
        return self.script(name, f'echo $PYFREEZE_OUTCOME >"$D/holds"\n{wait}')

    @property
    def holds(self) -> bool:
        return self.exists("holds")

    def release(self) -> None:
        self.path("go").touch()

    @property
    def stays(self) -> bool:
        return self.exists("stay.pid")

    def blocking_pids(self) -> Sequence[int]:
        return [int(self.read("stay.pid")), int(self.read("detached.pid"))]


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")
