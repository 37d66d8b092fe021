"""The command `pyfreeze`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command with the process's arguments; returns its exit status."""
    try:
        return _main()
    except KeyboardInterrupt:  # while importing: nothing has been run yet
        return 130
    except (MemoryError, ImportError) as error:  # a library needs memory to be loaded, too
        print(f"pyfreeze: {error or 'out of memory'}", file=sys.stderr)
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
