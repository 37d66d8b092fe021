"""The script configuration: what it means, and what is said about one that is wrong."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pyfreeze._config.problems import ConfigError, Parsed
from pyfreeze._config.script_config import ScriptConfig, parse_script_config, template
from tests.support.facts import assert_facts

LOCATIONS = {"preScriptLocation": "/opt/pre.sh", "postScriptLocation": "/opt/post.sh"}


def parse(**keys: Any) -> Parsed[ScriptConfig]:
    return parse_script_config(json.dumps(LOCATIONS | keys).encode(), "/etc/c.json")


def parse_raw(rest: str) -> Parsed[ScriptConfig]:
    """Parse with keys as literal JSON, for what json.dumps would not write."""
    text = json.dumps(LOCATIONS)[:-1] + ", " + rest + "}"
    return parse_script_config(text.encode(), "/etc/c.json")


def refused(content: bytes | str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_script_config(
            content if isinstance(content, bytes) else content.encode(), "/etc/c.json"
        )
    return checked(caught.value)


def checked(error: ConfigError) -> ConfigError:
    assert error.origin == "/etc/c.json"
    assert str(error).isprintable()
    assert str(error).startswith("/etc/c.json: ")
    assert len(str(error)) < 500
    return error


def refused_keys(**keys: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(**keys)
    return checked(caught.value)


def refused_raw(rest: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_raw(rest)
    return checked(caught.value)


def test_defaults() -> None:
    """With nothing but the locations each value is the documented default."""
    config, notices = parse()
    assert config == ScriptConfig(
        pre_script_location="/opt/pre.sh",
        post_script_location="/opt/post.sh",
        pre_script_params=(),
        post_script_params=(),
        pre_script_retries=0,
        post_script_retries=0,
        timeout_s=30.0,
        continue_backup_on_failure=True,
        fs_freeze_enabled=True,
        app_name=None,
    )
    assert notices == ()


def test_every_key() -> None:
    """Each key arrives as it was written."""
    config, notices = parse(
        pluginName="ScriptRunner",
        preScriptParams=["a b", "$HOME"],
        postScriptParams=[""],
        preScriptNoOfRetries=3,
        postScriptNoOfRetries=1,
        timeoutInSeconds=12.5,
        continueBackupOnFailure=False,
        fsFreezeEnabled=False,
        appName="MySQL für alle",
    )
    assert notices == ()
    assert config == ScriptConfig(
        pre_script_location="/opt/pre.sh",
        post_script_location="/opt/post.sh",
        pre_script_params=("a b", "$HOME"),
        post_script_params=("",),
        pre_script_retries=3,
        post_script_retries=1,
        timeout_s=12.5,
        continue_backup_on_failure=False,
        fs_freeze_enabled=False,
        app_name="MySQL für alle",
    )


def test_the_defaults_of_the_type_are_those_of_the_file() -> None:
    assert parse().value == ScriptConfig(
        pre_script_location="/opt/pre.sh", post_script_location="/opt/post.sh"
    )


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse().value.timeout_s = 1.0  # type: ignore[misc]


def test_the_template_lacks_only_its_locations() -> None:
    error = refused(template())
    assert error.where == "$.preScriptLocation"
    assert "not set yet" in error.found
    filled = json.dumps(json.loads(template()) | LOCATIONS).encode()
    config, notices = parse_script_config(filled, "x")
    assert notices == ()
    assert msgspec.structs.replace(config, pre_script_params=(), post_script_params=()) == (
        parse().value
    )
    assert config.pre_script_params == config.post_script_params == ("", "")


def test_a_byte_order_mark_is_accepted() -> None:
    content = b"\xef\xbb\xbf" + json.dumps(LOCATIONS).encode()
    assert parse_script_config(content, "x").value.pre_script_location == "/opt/pre.sh"


@pytest.mark.parametrize(
    ("content", "where", "found"),
    [
        (b"", "line 1, column 1", "the end of the file"),
        (b'{\n  "a": 1,\n  "b" 2\n}', "line 3, column 7", '"2"'),
        (b'{"a": 1} x', "line 1, column 10", '"x"'),
        (b'{"a": "\n"}', "line 1, column 8", '"\\n"'),
        (b'{\n"a": "\xff"}', "line 2", "the byte 0xff"),
        ('{"a": 1}'.encode("utf-16"), "line 1", "the byte 0xff"),
        (b"[1]", "$", "a list"),
        (b"3", "$", "3"),
        (b'"x"', "$", '"x"'),
        (b"null", "$", "null"),
        (b"NaN", "$", "NaN"),
    ],
)
def test_what_is_no_json_object(content: bytes, where: str, found: str) -> None:
    """The place and what was found there are named."""
    error = refused(content)
    assert_facts(error, where=where, found=found)


def test_duplicate_keys() -> None:
    """A key given twice is refused, at any depth."""
    error = refused_raw('"appName": "a", "appName": "b"')
    assert error.found == 'the key "appName" more than once'
    error = refused_raw('"other": [0, {"x": 1, "y": 2, "x": 1}]')
    assert error.where == "$.other[1]"
    assert '"x"' in error.found


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks(constant: str) -> None:
    """NaN and the infinities are refused, at any depth."""
    error = refused_raw(f'"timeoutInSeconds": {constant}')
    assert_facts(error, where="$.timeoutInSeconds", found=constant)
    assert refused_raw(f'"unknown": [1, {constant}, 2, {constant}]').where == "$.unknown[1]"


@pytest.mark.parametrize("deep", ["[" * 200_000, "[" * 200_000 + "]" * 200_000, '{"a":' * 100_000])
def test_deep_nesting(deep: str) -> None:
    """Any depth is refused without a crash."""
    refused(deep)
    refused_raw(f'"unknown": {deep}')


@pytest.mark.parametrize("key", LOCATIONS)
def test_locations(key: str) -> None:
    """Both locations are required, and have to be absolute paths."""
    document = {name: path for name, path in LOCATIONS.items() if name != key}
    error = refused(json.dumps(document))
    assert_facts(error, where=f"$.{key}", found="nothing")
    assert "absolute path" in error.expected
    assert "empty location" in refused_keys(**{key: ""}).found
    for bad in ("pre.sh", "./pre.sh", " /pre.sh", "~/pre.sh", "/a\0b", "/\ud800", 3, None, ["/x"]):
        assert refused_keys(**{key: bad}).where == f"$.{key}"


def test_plugin_name() -> None:
    """The plugin's name can only be ScriptRunner."""
    for bad in ("scriptrunner", "Other", "", None, 1, ["ScriptRunner"]):
        error = refused_keys(pluginName=bad)
        assert error.where == "$.pluginName"
        assert error.expected == '"ScriptRunner"'


def test_numbers_in_params_become_text() -> None:
    huge = "9" * 5000
    config, _ = parse_raw(f'"preScriptParams": [1, -0, 1.50, 1e3, {huge}, 0.1, "x"]')
    assert config.pre_script_params == ("1", "-0", "1.5", "1000.0", huge, "0.1", "x")


@pytest.mark.parametrize(
    "bad", ["true", "false", "null", "[]", "{}", '"a\\u0000"', '"\\ud800"', "1e999", "-1e999"]
)
@pytest.mark.parametrize("key", ["preScriptParams", "postScriptParams"])
def test_bad_params(key: str, bad: str) -> None:
    """A parameter that cannot be an argument is refused with its index."""
    assert refused_raw(f'"{key}": ["fine", {bad}]').where == f"$.{key}[1]"


@pytest.mark.parametrize("bad", ['"a b"', "{}", "null", "1", "true"])
def test_params_that_are_no_list(bad: str) -> None:
    """Parameters have to be a list."""
    error = refused_raw(f'"preScriptParams": {bad}')
    assert_facts(error, where="$.preScriptParams", expected="a list of strings")


def test_a_param_longer_than_the_kernel_takes() -> None:
    """The kernel's limit for one argument is the limit in bytes."""
    longest = "ä" * 65535 + "x"
    assert parse(preScriptParams=[longest]).value.pre_script_params == (longest,)
    assert "131072 bytes" in refused_keys(preScriptParams=[longest + "x"]).found


@pytest.mark.parametrize("key", ["preScriptNoOfRetries", "postScriptNoOfRetries"])
def test_retries(key: str) -> None:
    """Whole numbers from 0 to 2**31 - 1, and nothing else."""
    for bad in (
        "-1",
        "true",
        "2.0",
        "1e2",
        '"3"',
        "null",
        "[]",
        "9" * 5000,
        str(2**31),
        "-" + "9" * 9,
    ):
        assert refused_raw(f'"{key}": {bad}').where == f"$.{key}"
    config, _ = parse_raw(f'"{key}": {2**31 - 1}')
    assert 2**31 - 1 in (config.pre_script_retries, config.post_script_retries)


def test_timeout() -> None:
    """A number of seconds from 0.001 on becomes a float, and nothing else does."""
    for bad in ("0", "-1", "0.0", "1e-400", "1e-4", "1e999", "9" * 5000, "true", '"30"', "null"):
        assert refused_raw(f'"timeoutInSeconds": {bad}').where == "$.timeoutInSeconds"
    for good in (0.001, 1, 30, 0.5, 1800):
        config, notices = parse(timeoutInSeconds=good)
        assert config.timeout_s == good
        assert type(config.timeout_s) is float
        assert notices == ()


def test_a_timeout_above_the_cap() -> None:
    """It is lowered to 1800 s, with a notice."""
    config, notices = parse(timeoutInSeconds=7200)
    assert config.timeout_s == 1800.0
    assert len(notices) == 1
    assert "7200" in notices[0]
    assert "1800" in notices[0]


@pytest.mark.parametrize("key", ["continueBackupOnFailure", "fsFreezeEnabled"])
def test_flags(key: str) -> None:
    """Only true and false are flags."""
    flags: list[Any] = ["true", 1, 0, None, []]
    for bad in flags:
        error = refused_keys(**{key: bad})
        assert_facts(error, where=f"$.{key}", expected="true or false")


def test_app_name() -> None:
    """Any printable text or null."""
    assert parse(appName=None).value.app_name is None
    assert parse(appName="").value.app_name == ""
    names: list[Any] = [1, True, [], "a\0", "\udc80"]
    for bad in names:
        assert refused_keys(appName=bad).where == "$.appName"


def test_an_unknown_key_is_noticed_with_the_nearest() -> None:
    _, notices = parse(timeoutInSecond=5, zzz=1)
    assert len(notices) == 2
    assert "timeoutInSecond" in notices[0]
    assert "did you mean timeoutInSeconds?" in notices[0]
    assert "did you mean" not in notices[1]
    assert all(notice.startswith("/etc/c.json: ") for notice in notices)


def test_many_unknown_keys_make_few_notices() -> None:
    _, notices = parse(**{f"x{i}": 0 for i in range(50_000)}, **{"y\n" * 100_000: 0})
    assert len(notices) == 21
    assert "49981 more" in notices[-1]


def test_as_many_unknown_keys_as_are_named() -> None:
    """Twenty are named, and the others counted."""
    assert len(parse(**{f"x{i}": 0 for i in range(20)}).notices) == 20
    assert "1 more" in parse(**{f"x{i}": 0 for i in range(21)}).notices[-1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("[0]", "a list"),
        ("{}", "an object"),
        ('"x"', '"x"'),
        ("-1.50", "-1.50"),
        ("9" * 5000, "9" * 80 + "..."),
    ],
)
def test_what_was_found_is_said_as_json_spells_it(value: str, words: str) -> None:
    assert refused_raw(f'"preScriptNoOfRetries": {value}').found == words


def test_the_poll_interval_is_ignored_with_a_notice() -> None:
    _, notices = parse(ScriptsExecutionPollTimeSeconds="whatever")
    assert len(notices) == 1
    assert "polls" in notices[0]
