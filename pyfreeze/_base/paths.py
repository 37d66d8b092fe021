"""Where pyfreeze keeps what outlives a process."""

from __future__ import annotations

STATE_DIRECTORY = "/run/pyfreeze"
