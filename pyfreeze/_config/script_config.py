"""The script configuration: the JSON file that names one plugin's pre-script and post-script."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import NamedTuple, NoReturn

import msgspec

from pyfreeze._base.text import quoted, shown
from pyfreeze._config.problems import (
    MAX_TIMEOUT_S,
    MIN_TIMEOUT_S,
    ConfigError,
    Parsed,
    decode_utf8,
    notice_of_long_timeout,
    notice_of_unknown_key,
)

PLUGIN_NAME = "ScriptRunner"
"""The only plugin there is; `pluginName` must say so."""

DEFAULT_TIMEOUT_S = 30.0

_MAX_RETRIES = 2**31 - 1
_MAX_PARAM_BYTES = 128 * 1024 - 1  # execve's MAX_ARG_STRLEN counts the NUL too
_MAX_UNKNOWN_KEYS_NAMED = 20
_NO_JSON = ("NaN", "Infinity", "-Infinity")  # and yet the standard library reads them


class ScriptConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin's scripts and how to run them."""

    pre_script_location: str
    post_script_location: str
    pre_script_params: tuple[str, ...] = ()
    post_script_params: tuple[str, ...] = ()
    pre_script_retries: int = 0
    """How often a failed script is run again."""
    post_script_retries: int = 0
    timeout_s: float = DEFAULT_TIMEOUT_S
    """Seconds for each script, over all its attempts; at most 1800."""
    continue_backup_on_failure: bool = True
    fs_freeze_enabled: bool = True
    app_name: str | None = None


def parse_script_config(content: bytes, origin: str) -> Parsed[ScriptConfig]:
    """Read a script configuration; `origin` is the file's name for messages.

    Raises `ConfigError` and nothing else, whatever the bytes.
    """
    keys = _Keys(origin, _decode(content, origin))
    keys.check_plugin_name()
    config = ScriptConfig(
        pre_script_location=keys.location("preScriptLocation"),
        post_script_location=keys.location("postScriptLocation"),
        pre_script_params=keys.params("preScriptParams"),
        post_script_params=keys.params("postScriptParams"),
        pre_script_retries=keys.retries("preScriptNoOfRetries"),
        post_script_retries=keys.retries("postScriptNoOfRetries"),
        timeout_s=keys.timeout_s(),
        continue_backup_on_failure=keys.flag("continueBackupOnFailure"),
        fs_freeze_enabled=keys.flag("fsFreezeEnabled"),
        app_name=keys.app_name(),
    )
    return Parsed(config, keys.notices())


def template() -> str:
    """Return a script configuration to fill in; its locations are empty, so it is not valid yet."""
    document = {
        "pluginName": PLUGIN_NAME,
        "preScriptLocation": "",
        "postScriptLocation": "",
        "preScriptParams": ["", ""],
        "postScriptParams": ["", ""],
        "preScriptNoOfRetries": 0,
        "postScriptNoOfRetries": 0,
        "timeoutInSeconds": int(DEFAULT_TIMEOUT_S),
        "continueBackupOnFailure": True,
        "fsFreezeEnabled": True,
    }
    return json.dumps(document, indent=4) + "\n"


class _Number(NamedTuple):
    """A number as it is written: nothing is lost by rounding, and no length is too much for it."""

    literal: str

    @property
    def is_whole(self) -> bool:
        return not any(mark in self.literal for mark in ".eE")


class _Object(dict[str, object]):
    """A JSON object that remembers whether a key was repeated, which a dict cannot show."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        keys = Counter(key for key, _ in pairs)
        self.repeated = next((key for key in keys if keys[key] > 1), None)


def _decode(content: bytes, origin: str) -> _Object:
    text = decode_utf8(content, origin)
    try:
        document = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        found = quoted(text[error.pos]) if error.pos < len(text) else "the end of the file"
        raise ConfigError(origin, where, found, f"valid JSON ({error.msg})") from None
    except RecursionError:
        found = "objects or lists nested too deeply"
        raise ConfigError(origin, "", found, "a flat object") from None
    _reject_what_json_does_not_allow(document, origin)
    if not isinstance(document, _Object):
        raise ConfigError(origin, "$", _in_words(document), "an object")
    return document


def _reject_what_json_does_not_allow(document: object, origin: str) -> None:
    # Not by recursion: the decoder may nest deeper than Python code may call.
    pending: list[tuple[str, object]] = [("$", document)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, _Number) and value.literal in _NO_JSON:
            raise ConfigError(origin, where, value.literal, "a value that JSON has")
        if isinstance(value, _Object):
            if value.repeated is not None:
                found = f"the key {quoted(value.repeated)} more than once"
                raise ConfigError(origin, where, found, "every key once")
            pending.extend((f"{where}.{key}", item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((f"{where}[{i}]", item) for i, item in reversed([*enumerate(value)]))


class _Keys:
    """The top-level keys, each taken by what it must be."""

    def __init__(self, origin: str, document: _Object) -> None:
        self._origin = origin
        self._document = document
        self._known = ["ScriptsExecutionPollTimeSeconds"]
        self._notices: list[str] = []

    def check_plugin_name(self) -> None:
        value = self._take("pluginName", PLUGIN_NAME)
        if value != PLUGIN_NAME:
            self._fail("pluginName", _in_words(value), quoted(PLUGIN_NAME))

    def location(self, key: str) -> str:
        expected = "the absolute path of a script"
        value = self._take(key, None)
        if key not in self._document:
            self._fail(key, "nothing", expected)
        path = self._text(key, value, expected)
        if not path:
            self._fail(key, "an empty location: it is not set yet", expected)
        if not path.startswith("/"):
            self._fail(key, quoted(path), expected)
        return path

    def params(self, key: str) -> tuple[str, ...]:
        value = self._take(key, [])
        if not isinstance(value, list):
            self._fail(key, _in_words(value), "a list of strings")
        return tuple(self._param(f"{key}[{index}]", item) for index, item in enumerate(value))

    def _param(self, key: str, value: object) -> str:
        if isinstance(value, _Number):
            # As written where that is exact; a fraction in its shortest form, the same however
            # it is spelled.
            text = value.literal if value.is_whole else repr(float(value.literal))
            if text.lstrip("-") == "inf":
                self._fail(key, _in_words(value), "a finite number")
        else:
            text = self._text(key, value, "a string or a number")
        size_bytes = len(text.encode())
        if size_bytes > _MAX_PARAM_BYTES:
            self._fail(key, f"{size_bytes} bytes", f"at most {_MAX_PARAM_BYTES} bytes")
        return text

    def retries(self, key: str) -> int:
        value = self._take(key, _Number("0"))
        if (
            not isinstance(value, _Number)
            or not value.is_whole
            # The length first: int() refuses thousands of digits, with another kind of error.
            or len(value.literal) > len(str(_MAX_RETRIES))
            or not 0 <= int(value.literal) <= _MAX_RETRIES
        ):
            self._fail(key, _in_words(value), f"a whole number from 0 to {_MAX_RETRIES}")
        return int(value.literal)

    def timeout_s(self) -> float:
        key = "timeoutInSeconds"
        value = self._take(key, _Number(repr(DEFAULT_TIMEOUT_S)))
        timeout_s = float(value.literal) if isinstance(value, _Number) else math.nan
        if not math.isfinite(timeout_s) or timeout_s < MIN_TIMEOUT_S:
            expected = f"a number of seconds, at least {MIN_TIMEOUT_S:g}"
            self._fail(key, _in_words(value), expected)
        if timeout_s > MAX_TIMEOUT_S:
            self._notices.append(notice_of_long_timeout(_in_words(value)))
        return min(timeout_s, MAX_TIMEOUT_S)

    def flag(self, key: str) -> bool:
        value = self._take(key, True)
        if not isinstance(value, bool):
            self._fail(key, _in_words(value), "true or false")
        return value

    def app_name(self) -> str | None:
        value = self._take("appName", None)
        return None if value is None else self._text("appName", value, "a string")

    def notices(self) -> tuple[str, ...]:
        """Return what came up so far, and what there is to say about keys that nothing takes."""
        notices = self._notices
        if "ScriptsExecutionPollTimeSeconds" in self._document:
            notices.append("ScriptsExecutionPollTimeSeconds is ignored: nothing here polls")
        unknown = [key for key in self._document if key not in self._known]
        named = unknown[:_MAX_UNKNOWN_KEYS_NAMED]
        notices += [notice_of_unknown_key(key, self._known) for key in named]
        if len(unknown) > len(named):
            notices.append(f"{len(unknown) - len(named)} more unknown keys are ignored")
        return tuple(shown(f"{self._origin}: {notice}") for notice in notices)

    def _take(self, key: str, default: object) -> object:
        self._known.append(key)
        return self._document.get(key, default)

    def _text(self, key: str, value: object, expected: str) -> str:
        """Return a string that can be handed to another program and written to a report."""
        if not isinstance(value, str):
            self._fail(key, _in_words(value), expected)
        if "\0" in value:
            self._fail(key, quoted(value), f"{expected} without a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            self._fail(key, quoted(value), f"{expected} without half a surrogate pair")
        return value

    def _fail(self, key: str, found: str, expected: str) -> NoReturn:
        raise ConfigError(self._origin, f"$.{key}", found, expected)


def _in_words(value: object) -> str:
    if isinstance(value, _Number):
        return quoted(value.literal).strip('"')
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return json.dumps(value)  # true, false, null
