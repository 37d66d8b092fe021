"""A window driven from asyncio, by a pair of descriptors.

    python asyncio_window.py MOUNT SOURCE TARGET

The event loop hears that everything is frozen, does its work asynchronously, and answers. The
supervisor itself writes and reads the descriptors: freezing and thawing wait for no Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pyfreeze


class Failed(Exception):  # noqa: N818 - it is caught here, and named as one says it
    """The snapshot failed."""


async def readable(fd: int) -> None:
    """Wait until a descriptor can be read from."""
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_reader(fd, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(fd)


async def take_snapshot(source: str, target: str) -> None:
    """Whatever takes the snapshot: here a copy that shares blocks where the filesystem can."""
    words = ("cp", "--reflink=auto", "--sparse=always", source, target)
    process = await asyncio.create_subprocess_exec(*words)
    if await process.wait() != 0:
        raise Failed(f"cp exited with status {process.returncode}")


async def back_up(mount: str, source: str, target: str) -> pyfreeze.Report:
    """Freeze, let the event loop take the snapshot, thaw."""
    with contextlib.ExitStack() as descriptors:
        told_fd, notify_fd = os.pipe()
        done_fd, answer_fd = os.pipe()
        for fd in (told_fd, notify_fd, done_fd, answer_fd):
            descriptors.callback(os.close, fd)
        peer = pyfreeze.Peer(notify_fd, done_fd)
        # backup() blocks: it gets a thread of its own, and the loop goes on.
        running = asyncio.create_task(
            asyncio.to_thread(pyfreeze.backup, peer, mounts=[mount], scripts=False, max_window=20.0)
        )
        told = asyncio.create_task(readable(told_fd))
        # If freezing fails nobody is told anything, and the report is all there is.
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not running.done():
                await take_snapshot(source, target)
        finally:
            os.write(answer_fd, b"\n")  # thaw, whatever happened
            told.cancel()
            report = await running
    return report


def main(mount: str, source: str, target: str) -> int:
    """Back up, and say what came of it."""
    try:
        report = asyncio.run(back_up(mount, source, target))
    except Failed as error:
        Path(target).unlink(missing_ok=True)
        print(error, file=sys.stderr)
        return 1
    print(f"{report.status}: consistency {report.consistency}, code {report.code} {report.name}")
    if report.status != "success":
        Path(target).unlink(missing_ok=True)
        print(report.message, report.action, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
