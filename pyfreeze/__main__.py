"""The command `pyfreeze`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command with the process's arguments; returns its exit status."""
    try:
        return _main()
    except KeyboardInterrupt:  # while importing: nothing has been run yet
        os.write(2, b"pyfreeze: ended by SIGINT\n")
        return 130
    except (MemoryError, SystemError):  # the latter where the interpreter itself ran out of it
        os.write(2, b"pyfreeze: out of memory\n")
        return 1
    except ImportError as error:  # a library needs memory to be loaded, too
        print(f"pyfreeze: {error}", file=sys.stderr)
        return 1


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
