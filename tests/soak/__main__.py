"""The sweeps' command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# At the end, so that an installed pyfreeze is found before the tree's.
sys.path.append(str(Path(__file__).resolve().parents[2]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/soak", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    kills = commands.add_parser("kills", help="signals at random moments of real runs")
    kills.add_argument("--seed", type=int, default=1)
    kills.add_argument("--first", type=int, default=0, help="the first kill's number")
    kills.add_argument("--count", type=int, default=300)
    kills.add_argument("--repeat", type=int, default=1, help="how often each number is tried")
    kills.add_argument("--jobs", type=int, default=2, help="so many runs side by side")
    kills.add_argument("--patience", type=float, default=30.0, help="seconds until it hangs")
    kills.add_argument(
        "--late", type=float, default=1.0, help="seconds beyond the window that a write may take"
    )
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    from tests.soak.sweep import Options, sweep_kills

    return sweep_kills(
        Options(
            seed=arguments.seed,
            first=arguments.first,
            count=arguments.count,
            jobs=min(arguments.jobs, arguments.count),
            repeat=arguments.repeat,
            patience_s=arguments.patience,
            late_s=arguments.late,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
