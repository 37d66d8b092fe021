"""Clients that do one transaction after the other, and know how long each took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: One transaction, given its number; it returns when it is acknowledged.
Transaction = Callable[[int], None]


class Load(NamedTuple):
    """What the clients of a database saw over a while."""

    longest_ms: float
    """The longest transaction."""
    per_s: float
    """Transactions in a second."""


def load(
    clients: Sequence[Transaction], span_s: float, at_s: float, act: Callable[[], None]
) -> Load:
    """Have all clients work for a while, and do something meanwhile."""
    begin_s = time.monotonic()
    until_s = begin_s + span_s
    took_s: list[list[float]] = [[] for _ in clients]

    def work(client: Transaction, own: list[float]) -> None:
        now_s = time.monotonic()
        number = 0
        while now_s < until_s:
            client(number)
            before_s, now_s = now_s, time.monotonic()
            own.append(now_s - before_s)
            number += 1

    threads = [threading.Thread(target=work, args=one) for one in zip(clients, took_s, strict=True)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(at_s)
        act()
    finally:
        for thread in threads:
            thread.join()
    every = [one for own in took_s for one in own]
    return Load(max(every) * 1e3, len(every) / (time.monotonic() - begin_s))
