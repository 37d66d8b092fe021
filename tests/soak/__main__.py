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
    faults = commands.add_parser("faults", help="each system call fails once, by strace")
    faults.add_argument("--brief", action="store_true", help="first and last of each, one error")
    faults.add_argument("--role", choices=("client", "supervisor", "below"), default="")
    faults.add_argument("--only", default="", metavar="CALL:ERROR:WHEN")
    faults.add_argument("--jobs", type=int, default=2, help="so many runs side by side")
    faults.add_argument("--patience", type=float, default=40.0, help="seconds until it hangs")
    faults.add_argument("--late", type=float, default=1.0, help="as for kills")
    faults.add_argument("--table", default="", metavar="FILE", help="where to write the table")
    return parser.parse_args()


def _sweep_kills(arguments: argparse.Namespace) -> int:
    from tests.soak.kills import Options, sweep_kills

    return sweep_kills(
        Options(
            seed=arguments.seed,
            first=arguments.first,
            kills=arguments.count,
            jobs=min(arguments.jobs, arguments.count),
            repeat=arguments.repeat,
            patience_s=arguments.patience,
            late_s=arguments.late,
        )
    )


def _sweep_faults(arguments: argparse.Namespace) -> int:
    from tests.soak.fault_sweep import Options, sweep_faults

    return sweep_faults(
        Options(
            jobs=1 if arguments.only else arguments.jobs,
            brief=arguments.brief,
            role=arguments.role,
            only=arguments.only,
            patience_s=arguments.patience,
            late_s=arguments.late,
            table=arguments.table,
        )
    )


def main() -> int:
    arguments = _arguments()
    return _sweep_kills(arguments) if arguments.what == "kills" else _sweep_faults(arguments)


if __name__ == "__main__":
    sys.exit(main())
