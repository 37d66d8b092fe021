"""The freeze configuration: the part of an INI file that says how long and what not to freeze."""

from __future__ import annotations

import re

import msgspec

from pyfreeze._base.text import nearest, quoted, shown
from pyfreeze._config.ini import Section, parse_ini
from pyfreeze._config.problems import Parsed
from pyfreeze._model.options import DAY_S, resolve

SECTION = "SnapshotThread"

_KEYS = ("timeout", "MountsToSkip", "SafeFreezeWaitInSeconds")
_NEAR_MISS = 0.8
_DEFAULT = resolve()


class FreezeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How long filesystems may be frozen, and which are not to be."""

    timeout_s: float = _DEFAULT.max_window_s
    """Seconds a filesystem may stay frozen, counted from the first freeze."""
    mounts_to_skip: tuple[str, ...] = ()
    """Mount points, without a slash at the end."""
    safe_freeze_wait_s: float = _DEFAULT.freeze_timeout_s
    """Seconds that freezing all of them may take."""


def parse_freeze_config(content: bytes, origin: str) -> Parsed[FreezeConfig]:
    """Read a freeze configuration; `origin` is the file's name for messages.

    The file is shared with other programs, so their sections and keys are none of our business;
    a notice is given only of those that look like one of ours misspelled. Raises `ConfigError` and
    nothing else, whatever the bytes.
    """
    sections = parse_ini(content, origin)
    section = sections.get(SECTION) or Section(origin, SECTION, {})
    mounts = _mounts(section.values.get("mountstoskip", ""))
    config = FreezeConfig(
        timeout_s=section.seconds("timeout", default_s=_DEFAULT.max_window_s, most_s=DAY_S),
        mounts_to_skip=mounts,
        safe_freeze_wait_s=section.seconds(
            "SafeFreezeWaitInSeconds", default_s=_DEFAULT.freeze_timeout_s, most_s=DAY_S
        ),
    )
    known_keys = {key.lower() for key in _KEYS}
    notices = [
        f"the section [{name}] is ignored; did you mean [{SECTION}]?"
        for name in sections
        if name != SECTION and nearest(name, (SECTION,), cutoff=_NEAR_MISS)
    ]
    notices += [
        f"MountsToSkip: {quoted(mount)} is no absolute path: it skips nothing"
        for mount in mounts
        if not mount.startswith("/")
    ]
    notices += [
        f"the key {quoted(key)} is ignored; did you mean {like}?"
        for key in section.values
        if key not in known_keys and (like := nearest(key, _KEYS, cutoff=_NEAR_MISS))
    ]
    return Parsed(config, tuple(shown(f"{origin}: {notice}") for notice in notices))


def _mounts(value: str) -> tuple[str, ...]:
    # A value that goes on over several lines is a list too, whether commas end the lines or not.
    items = (item.strip() for item in re.split(r"[,\n]", value))
    # "/data/" is the mount point /data; "/" stays what it is.
    return tuple(dict.fromkeys(item.rstrip("/") or "/" for item in items if item))
