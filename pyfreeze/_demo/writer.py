"""The demo's application: a shop that writes every order into two databases, without a rest.

A process of its own, and nothing of pyfreeze in it: it knows only how to pause when it is told to,
as any application does that can be backed up. It is run as a program, by its path.

    writer.py ORDERS_DB AUDIT_DB CONTROL ANSWER WITNESS

On the FIFO CONTROL it is told "pause" and "resume", and answers on the FIFO ANSWER when that is
done. For each order it adds its number and the time of its commit (CLOCK_MONOTONIC, ns) to the
file WITNESS, which lies on neither database's filesystem. On stdout it says when it is WARM, and
when it WENT_ON after a pause. It ends when its stdin does, and removes CONTROL: so it cannot
outlive its parent.
"""

from __future__ import annotations

import os
import select
import sqlite3
import sys
import time

WARM = "warm"
WENT_ON = "went on"
ORDERS_UNTIL_WARM = 500
ORDERS_UNTIL_WENT_ON = 100


class Shop:
    """Two databases in WAL mode; an order is in both, or it is not taken."""

    def __init__(self, orders_path: str, audit_path: str) -> None:
        self.orders = _connect(orders_path)
        self.audit = _connect(audit_path)
        self.orders.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, cents INT, item TEXT)")
        self.audit.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, cents INT, seen_ns INT)")
        self.number = 0

    def take_order(self) -> None:
        """Take the next order; when this returns, it is committed to disk twice."""
        self.number += 1
        cents = self.number * 7919 % 100_000
        item = f"item {self.number % 97}, {cents % 5 + 1} pieces"
        self.orders.execute("INSERT INTO orders VALUES (?, ?, ?)", (self.number, cents, item))
        self.audit.execute(
            "INSERT INTO orders VALUES (?, ?, ?)", (self.number, cents, time.time_ns())
        )

    def settle(self) -> None:
        """Bring all that is in the write-ahead logs into the databases themselves."""
        for database in (self.orders, self.audit):
            busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise RuntimeError("a checkpoint found the database busy")


def _connect(path: str) -> sqlite3.Connection:
    # No isolation level: each statement is a transaction.
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    return database


def main(arguments: list[str]) -> int:
    """Take orders until stdin ends."""
    orders_path, audit_path, control_path, answer_path, witness_path = arguments
    shop = Shop(orders_path, audit_path)
    # For reading and writing: neither an open nor a write ever waits for the other side.
    control = os.open(control_path, os.O_RDWR | os.O_CLOEXEC)
    answer = os.open(answer_path, os.O_RDWR | os.O_CLOEXEC)
    witness = os.open(witness_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    milestones = {ORDERS_UNTIL_WARM: WARM}
    paused = False
    while True:
        ready, _, _ = select.select([control, stdin], [], [], None if paused else 0)
        if stdin in ready:
            os.unlink(control_path)  # nobody need wait here for an answer
            return 0
        if control in ready:
            for word in os.read(control, select.PIPE_BUF).decode().split():
                if word == "pause":
                    shop.settle()
                    paused = True
                    os.write(answer, f"paused after order {shop.number}\n".encode())
                elif word == "resume":
                    paused = False
                    milestones[shop.number + ORDERS_UNTIL_WENT_ON] = WENT_ON
                    os.write(answer, f"resumed after order {shop.number}\n".encode())
            continue
        shop.take_order()
        os.write(witness, f"{shop.number} {time.monotonic_ns()}\n".encode())
        if shop.number in milestones:
            os.write(stdout, f"{milestones[shop.number]}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
