"""The command `pyfreeze`."""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> int:
    """Run the command with the process's arguments; returns its exit status."""
    try:
        return _main()
    except KeyboardInterrupt:  # while importing: nothing has been run yet
        _say(b"ended by SIGINT")
        return 130
    except (MemoryError, SystemError):  # the latter where the interpreter itself ran out of it
        _say(b"out of memory")
        return 1
    except ImportError as error:  # a library needs memory to be loaded, too
        print(f"pyfreeze: {error}", file=sys.stderr)
        return 1


def _say(text: bytes) -> None:
    """Without memory, and whether or not anybody reads it."""
    with contextlib.suppress(OSError):
        os.write(2, b"pyfreeze: %b\n" % text)


def _main() -> int:
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"pyfreeze: the command needs {error.name}, which is not installed: "
            "pip install 'pyfreeze[cli]'",
            file=sys.stderr,
        )
        return 1
    from pyfreeze._cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
