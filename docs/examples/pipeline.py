"""A pipeline: back up by a snapshot command, and ship the report, whatever came of the backup.

    python pipeline.py CONFIG MOUNT SPOOL URL -- COMMAND [ARG]...

The report is POSTed to URL as JSON. One that cannot be shipped stays in SPOOL, and goes with the
next run's. The exit status is 0 if the backup is application-consistent and its report was shipped,
1 if the backup is not, 75 (EX_TEMPFAIL) if only shipping failed.
"""

from __future__ import annotations

import logging
import os
import sys
import urllib.request
from pathlib import Path

import pyfreeze

FAILED = 1
NOT_SHIPPED = 75

log = logging.getLogger("pipeline")


def keep(report: pyfreeze.Report, spool: Path) -> None:
    """Put a report into the spool: whole or not at all."""
    unfinished = spool / f".{report.run_id}"
    unfinished.write_bytes(report.to_json())
    unfinished.rename(spool / f"{report.run_id}.json")


def ship(spool: Path, url: str) -> bool:
    """Send what is in the spool, the oldest first; returns whether nothing is left."""
    for path in sorted(spool.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        request = urllib.request.Request(  # noqa: S310 - the operator's own URL
            url, data=path.read_bytes(), headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                path.unlink()
        except OSError as error:
            log.warning("%s stays in the spool: %s", path.name, error)
            return False
    return True


def main(config: str, mount: str, spool: str, url: str, *command: str) -> int:
    """Back up and ship."""
    logging.basicConfig(level=logging.INFO)  # `pyfreeze` logs under its own name
    try:
        report = pyfreeze.backup(
            command,
            config=config,
            mounts=[mount],
            max_window=20.0,
            require="application",  # anything less is a failure
            environment=os.environ,  # of the snapshot command: by default it has hardly any
        )
    except pyfreeze.FreezeError as error:
        # Nothing was run, so there is nothing to report: wrong usage, another run, not root.
        log.critical("no backup: %s", error)
        return FAILED
    if report.still_frozen:
        log.critical("may still be frozen: %s", ", ".join(report.still_frozen))
    keep(report, Path(spool))
    shipped = ship(Path(spool), url)
    if report.status != "success":
        log.error("%s %s", report.message, report.action)
        return FAILED
    return 0 if shipped else NOT_SHIPPED


if __name__ == "__main__":
    words = sys.argv[1:]
    words.remove("--")
    sys.exit(main(*words))
