"""Whatever a configuration file holds: a valid value, or one ConfigError."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import find as find_example
from hypothesis import strategies as st

from pyfreeze._base.text import quoted, shown
from pyfreeze._base.trust import SCRIPT_CONFIG, TrustError, check
from pyfreeze._config.freeze_config import parse_freeze_config
from pyfreeze._config.host_config import MAX_PLUGINS, parse_host_config
from pyfreeze._config.ini import parse_ini
from pyfreeze._config.problems import ConfigError, Parsed
from pyfreeze._config.script_config import parse_script_config
from pyfreeze._model.codes import CODES, find
from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGIN = "/etc/some\nfile"

JSON_KEYS = (
    "pluginName",
    "preScriptLocation",
    "postScriptLocation",
    "preScriptParams",
    "postScriptParams",
    "preScriptNoOfRetries",
    "postScriptNoOfRetries",
    "timeoutInSeconds",
    "continueBackupOnFailure",
    "fsFreezeEnabled",
    "appName",
    "ScriptsExecutionPollTimeSeconds",
)

# Surrogates too: JSON escapes can spell them.
texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["", "/", "/opt/pre.sh", "pre.sh", "ScriptRunner", "a\0b", "\ud800"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 3)
    | st.floats()
    | texts
    | st.sampled_from([10**400, 1800, 1801, 1e308])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
locations = st.fixed_dictionaries(
    {"preScriptLocation": st.just("/pre"), "postScriptLocation": st.just("/post")}
)
documents = st.dictionaries(st.sampled_from(JSON_KEYS) | texts, values, max_size=6)
likely_documents = st.builds(
    lambda base, rest: base | rest,
    locations,
    st.dictionaries(
        st.sampled_from(JSON_KEYS), scalars | st.lists(scalars, max_size=3), max_size=3
    ),
)
# A valid document and one change of it, for what is nearly right.
good_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
good_values = {
    "pluginName": st.just("ScriptRunner"),
    "preScriptLocation": good_texts.map(lambda text: "/" + text),
    "postScriptLocation": good_texts.map(lambda text: "/" + text),
    "preScriptParams": st.lists(good_texts | st.integers(), max_size=4),
    "postScriptParams": st.lists(
        good_texts | st.floats(allow_nan=False, allow_infinity=False), max_size=4
    ),
    "preScriptNoOfRetries": st.integers(0, 2**31 - 1),
    "postScriptNoOfRetries": st.integers(0, 5),
    "timeoutInSeconds": st.floats(0.001, 1e6) | st.integers(1, 10**6),
    "continueBackupOnFailure": st.booleans(),
    "fsFreezeEnabled": st.booleans(),
    "appName": good_texts | st.none(),
}
good_documents = st.fixed_dictionaries(
    {key: good_values.pop(key) for key in ("preScriptLocation", "postScriptLocation")},
    optional=good_values,
)

ini_words = st.sampled_from(
    [
        "[pre_post]",
        "[SnapshotThread]",
        "[DEFAULT]",
        "[other]",
        "[",
        "]",
        "timeoutInSeconds",
        "numberOfPlugins",
        "pluginName0",
        "pluginPath0",
        "pluginConfigPath0",
        "pluginConfigPath1",
        "timeout",
        "MountsToSkip",
        "SafeFreezeWaitInSeconds",
        "=",
        ":",
        "#",
        ";",
        "%",
        "\n",
        "\r\n",
        "\r",
        "\n ",
        "\t",
        "/etc/a.json",
        "1",
        "0",
        "2",
        "-1",
        "1e5",
        "nan",
        ",",
        "\0",
    ]
)
ini_texts = st.lists(ini_words | texts, max_size=25).map("".join)
ini_lines = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "[pre_post]\n", "[SnapshotThread]\n", "[DEFAULT]\n"]),
        st.sampled_from(
            ["timeoutInSeconds", "numberOfPlugins", "pluginConfigPath0", "timeout", "mountstoskip"]
        ),
        st.sampled_from(["=", ":", " "]),
        texts | st.integers(-1, 3).map(str) | st.floats().map(str) | st.just("/a,/b/"),
        st.just("\n"),
    ).map("".join),
    max_size=8,
).map("".join)
ini_contents = (
    st.binary(max_size=60)
    | (ini_texts | ini_lines).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | ini_lines.map(
        lambda text: "[pre_post]\nnumberOfPlugins=1\npluginConfigPath0=/a\n" + text
    ).map(lambda text: text.encode("utf-8", "replace"))
    | ini_lines.map(lambda text: "[SnapshotThread]\n" + text).map(
        lambda text: text.encode("utf-8", "replace")
    )
)


def outcome(parse: Callable[[bytes, str], Parsed[Any]], content: bytes) -> Parsed[Any] | None:
    """Return what was parsed, or None after a ConfigError that is as it must be."""
    try:
        parsed = parse(content, ORIGIN)
    except ConfigError as error:
        assert error.origin == ORIGIN
        assert error.found
        assert error.expected
        assert str(error).isprintable()
        assert len(str(error)) < 2000
        return None
    assert all(notice.isprintable() for notice in parsed.notices)
    assert len(parsed.notices) < 100
    return parsed


def check_script_config(content: bytes) -> Parsed[Any] | None:
    parsed = outcome(parse_script_config, content)
    if parsed is not None:
        config = parsed.value
        for path in (config.pre_script_location, config.post_script_location):
            assert path.startswith("/")
            assert "\0" not in path
            path.encode()
        for param in config.pre_script_params + config.post_script_params:
            assert type(param) is str
            assert "\0" not in param
            assert len(param.encode()) < 128 * 1024
        for retries in (config.pre_script_retries, config.post_script_retries):
            assert type(retries) is int
            assert 0 <= retries < 2**31
        assert type(config.timeout_s) is float
        assert 0.001 <= config.timeout_s <= 1800
        assert type(config.continue_backup_on_failure) is bool
        assert type(config.fs_freeze_enabled) is bool
        assert config.app_name is None or type(config.app_name) is str
    return parsed


@given(st.binary(max_size=80))
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
@example(b'{"a": -}')
def test_any_bytes_as_script_config(content: bytes) -> None:
    """Any bytes are a value or one ConfigError."""
    check_script_config(content)


@given(values | documents | likely_documents, st.booleans())
@settings(max_examples=400)
def test_any_json_as_script_config(document: object, ascii_only: bool) -> None:
    """Any JSON document is a value or one ConfigError."""
    text = json.dumps(document, ensure_ascii=ascii_only)
    check_script_config(text.encode("utf-8", "surrogatepass"))


@given(good_documents)
def test_a_good_script_config_is_always_accepted(document: dict[str, Any]) -> None:
    parsed = check_script_config(json.dumps(document).encode())
    assert parsed is not None
    config = parsed.value
    assert config.pre_script_location == document["preScriptLocation"]
    assert config.timeout_s == min(1800.0, document.get("timeoutInSeconds", 30))
    given_params = document.get("preScriptParams", [])
    assert config.pre_script_params == tuple(str(param) for param in given_params)
    for text, param in zip(
        config.post_script_params, document.get("postScriptParams", []), strict=True
    ):
        assert text == (param if isinstance(param, str) else repr(param))


@given(good_documents, st.sampled_from(JSON_KEYS), scalars)
def test_one_key_changed(document: dict[str, Any], key: str, value: object) -> None:
    """A good document with one key changed is a value or one ConfigError."""
    check_script_config(json.dumps(document | {key: value}).encode())


@given(good_documents, st.data())
def test_a_repeated_key_is_never_accepted(document: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    again = json.dumps(document)[:-1] + f", {json.dumps(key)}: {json.dumps(document[key])}}}"
    assert check_script_config(again.encode()) is None


@given(good_documents, st.data())
def test_a_cut_script_config_is_never_accepted(
    document: dict[str, Any], data: st.DataObject
) -> None:
    content = json.dumps(document).encode()
    end = data.draw(st.integers(0, len(content) - 1))
    assert check_script_config(content[:end]) is None


@given(ini_contents)
@settings(max_examples=400)
@example(b"[]\n")
@example(b"[s]\n:\n")
@example(b" [s]\n x\n")
@example(b"[pre_post]\nnumberOfPlugins\n 3\n")
@example(b"[s]\nx\n y\n")
def test_any_ini(content: bytes) -> None:
    """Any bytes are sections with lower-case keys, or one ConfigError that can be printed."""
    try:
        sections = parse_ini(content, ORIGIN)
    except ConfigError as error:
        assert str(error).isprintable()
        return
    for section in sections.values():
        assert all(key == key.lower() for key in section.values)
        assert "\0" not in "".join(section.values.values())


@given(ini_contents)
@settings(max_examples=400)
def test_any_host_config(content: bytes) -> None:
    """An accepted host configuration keeps its bounds, and its plugins' names differ."""
    parsed = outcome(parse_host_config, content)
    if parsed is not None:
        config = parsed.value
        assert 0 < config.timeout_s <= 1800
        assert len(config.plugins) <= MAX_PLUGINS
        assert len({plugin.name for plugin in config.plugins}) == len(config.plugins)
        for plugin in config.plugins:
            assert plugin.name
            assert plugin.config_path.startswith("/")
            assert not set("\0\n") & set(plugin.name + plugin.config_path)


@given(st.lists(st.sampled_from(["a", "a#0", "a#1", "a#0#0", ""]), max_size=6))
def test_plugin_names_are_always_told_apart(names: list[str]) -> None:
    lines = [f"pluginName{i}={name}\npluginConfigPath{i}=/{i}\n" for i, name in enumerate(names)]
    text = f"[pre_post]\nnumberOfPlugins={len(names)}\n" + "".join(lines)
    plugins = parse_host_config(text.encode(), ORIGIN).value.plugins
    assert len({plugin.name for plugin in plugins}) == len(names)


@given(ini_contents)
@settings(max_examples=400)
def test_any_freeze_config(content: bytes) -> None:
    """An accepted freeze configuration has finite times within bounds and tidy paths."""
    parsed = outcome(parse_freeze_config, content)
    if parsed is not None:
        config = parsed.value
        assert math.isfinite(config.timeout_s)
        assert 0.001 <= config.timeout_s <= 86400
        assert 0.001 <= config.safe_freeze_wait_s <= 86400
        for mount in config.mounts_to_skip:
            assert mount == mount.strip()
            assert mount == "/" or not mount.endswith("/")
            assert not set(",\n\0") & set(mount)


@given(
    st.text(st.characters()) | st.lists(st.sampled_from(["/", ".", "..", "x", "\0"])).map("".join)
)
def test_any_path_passes_or_is_a_trust_error(path: str) -> None:
    try:
        trusted = check(path, SCRIPT_CONFIG)
    except TrustError as error:
        assert error.path == path
        assert str(error).isprintable()
    else:
        assert trusted.path.startswith("/")


@given(st.text(st.characters()))
def test_any_code_is_found_or_refused(text: str) -> None:
    try:
        found = find(text)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert all(row in CODES.values() for row in found)


@given(st.text(st.characters()))
def test_what_is_shown_can_be_printed_anywhere(text: str) -> None:
    assert shown(text).isprintable()
    shown(text).encode()
    assert len(quoted(text)) <= 10 * 83 + 2


def test_the_documents_are_not_all_refused() -> None:
    """Guards the strategies themselves: properties over nothing but errors say little."""
    accepted = find_example(
        likely_documents | documents,
        lambda document: outcome_or_none(document) is not None,
    )
    assert "preScriptLocation" in accepted


def outcome_or_none(document: object) -> Parsed[Any] | None:
    return check_script_config(json.dumps(document).encode())
