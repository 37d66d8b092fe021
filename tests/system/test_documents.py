"""The documents' commands are run as they stand, each document on a machine of its own.

That machine is tests/support/ownroot.py's: its `/` and all that can be frozen are the tests' own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pyfreeze._cli.main import pyfreeze as command_group
from pyfreeze._config.freeze_config import parse_freeze_config
from pyfreeze._config.host_config import parse_host_config
from pyfreeze._config.problems import ConfigError
from pyfreeze._config.script_config import parse_script_config
from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks
from tests.support.documents import DOCUMENTS, ROOT, Block, all_blocks, blocks, shown_in
from tests.support.foreign import FOREIGN
from tests.support.machine import Machine
from tests.support.ownroot import OwnRoot, thawed_at_last
from tests.support.script_dir import ScriptDir
from tests.support.systemd import Systemd

_MARK = "\x1e"
#: Commands that install and test: a test of theirs is the whole of CI, which has this very line.
_RUN_BY_CI = {"sh ./bootstrap test": ".ci/run"}
#: What documents suppose beside a bare machine: a filesystem on /srv/data, where backups go, and
#: scripts at the default place.
_MACHINE = """
cp /run/outside/etc/* /etc/
mkdir -p /mnt /root /var/tmp /srv/data /backup
mount -t tmpfs none /var/tmp
mount -t tmpfs none /backup
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/usr/local,upperdir=/run/upper,workdir=/run/work none /usr/local
truncate -s 64M /var/tmp/data.img
mkfs.ext4 -q /var/tmp/data.img
mount -o loop /var/tmp/data.img /srv/data
echo important >/srv/data/ledger
pyfreeze init --directory /etc/azure >/dev/null
trap 'fsfreeze -u /srv/data 2>/dev/null || :' EXIT
exec 2>&1
"""
#: What the Python of documents supposes, and what it must have come to.
_PYTHON = """def take_the_snapshot(): pass
{}
if "report" in globals():
    assert report.status == "success", report.message
"""

RUNNABLE = [one for one in DOCUMENTS if any(b.language in ("sh", "python") for b in blocks(one))]


def test_every_block_is_of_a_known_kind() -> None:
    """One of any other language would be run by nobody."""
    known = {"sh", "python", "json", "ini", "text"}
    strange = [b.place for one in DOCUMENTS for b in blocks(one) if b.language not in known]
    assert strange == []


def test_no_command_hides_in_a_text_block() -> None:
    command = re.compile(r"^\s*([$#] |pyfreeze |sudo |apt)", re.MULTILINE)
    assert [b.place for b in all_blocks("text") if command.search(b.text)] == []


@pytest.fixture
def own_root(disks: Disks) -> Iterator[OwnRoot]:
    disk = disks.make("root", "ext4")
    files = disks.directory / "etc"
    files.mkdir(exist_ok=True)
    for name in ("passwd", "group", "mke2fs.conf"):
        (files / name).write_bytes(Path("/etc", name).read_bytes())
    with thawed_at_last(disk, 120):
        yield OwnRoot(disk)
    disks.drop("root")


def _as_script(block: Block) -> str:
    """A block as a part of its document's one script."""
    elsewhere = _is_for_systemd(block) or _is_for_machine(block)
    if block.needs or block.text.strip() in _RUN_BY_CI or elsewhere:
        return ""
    if block.language == "sh":
        return re.sub(r"^sh \./bootstrap demo$", "pyfreeze demo", block.text, flags=re.MULTILINE)
    if block.language == "python":
        return f"\"$PYTHON\" - <<'PYTHON'\n{_PYTHON.format(block.text)}PYTHON\n"
    return ""


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: str(path.name))
def test_commands(document: Path, own_root: OwnRoot) -> None:
    """All of a document's commands in one shell, in their order; then what it says they print."""
    found = blocks(document)
    script = "".join(
        f"echo {_MARK}{index}\n{_as_script(block)}" for index, block in enumerate(found)
    )
    path = f"PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH\nexport PATH"
    running = own_root.sh(f"set -eu\n{path}\n{_MACHINE}cd {shlex.quote(str(ROOT))}\n{script}")
    done = running.finish(90)
    outputs: dict[int, str] = {}
    for part in done.out.split(_MARK)[1:]:
        number, _, text = part.partition("\n")
        outputs[int(number)] = text
    last = found[max(outputs)].place if outputs else "its beginning"
    assert done.status == 0, f"{last}\n{done.out}\n{done.err}"
    for index, block in enumerate(found):
        if block.language == "text" and index and _as_script(found[index - 1]):
            printed = outputs[index - 1]
            assert shown_in(block.text, printed), f"{block.place} shows other than\n{printed}"


def _is_for_systemd(block: Block) -> bool:
    return re.search(r"^systemctl ", block.text, re.MULTILINE) is not None


def test_commands_for_systemd(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, systemd: Systemd
) -> None:
    """Those of the guide, after its installation: no other document has any."""
    (asking,) = [block for block in all_blocks("sh") if _is_for_systemd(block)]
    guide = [block for block in blocks(asking.document) if block.language == "sh"]
    installing = guide[guide.index(asking) - 1]
    assert installing.text.startswith("pyfreeze install\n")
    script_dir.script("take-snapshot", "true")
    systemd.boot()
    systemd.sh(
        f"PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH\n"
        f"CONFIG={script_dir.config()} MOUNT={ext4.mount_point}\n"
        f"install {script_dir.path('take-snapshot')} /usr/local/sbin\n"
        f"{installing.text}{asking.text}"
    )
    assert script_dir.outcomes == ["success"]
    assert systemd.show("pyfreeze@data.timer", "ActiveState") == "active"
    assert systemd.show("pyfreeze-thaw.service", "UnitFileState") == "enabled"


def _is_for_machine(block: Block) -> bool:
    return re.search(r"\b(lvcreate|lvremove|qemu-nbd|zfs)\b", block.text) is not None


@FOREIGN
def test_commands_for_lvm_and_nbd_and_zfs(machine: Machine) -> None:
    """Those of the recipes, on a machine whose kernel has both, and which has what they suppose."""
    image, volume, volumes, restoring, dataset = (
        block.text for block in all_blocks("sh") if _is_for_machine(block)
    )
    done = machine.sh(f"""
pyfreeze init --directory /etc/azure
mkdir -p /srv/data /srv/log /backup /var/lib/images /var/tmp

truncate -s 64M /var/tmp/raw
mkfs.ext4 -q /var/tmp/raw
qemu-img convert -f raw -O qcow2 /var/tmp/raw /var/lib/images/data.qcow2
{image}
qemu-img convert -f qcow2 -O raw /var/lib/images/data-snapshot.qcow2 /var/tmp/raw
e2fsck -fn /var/tmp/raw
umount /srv/data

pvcreate --quiet /dev/ubda
vgcreate --quiet vg /dev/ubda
for name in data log; do
    lvcreate --quiet --size 32M --name "$name" vg
    mkfs.ext4 -q "/dev/vg/$name"
    mount "/dev/vg/$name" "/srv/$name"
done
echo important >/srv/data/ledger
{volume}
{restoring}
tar -xOf /backup/data.tar ./ledger
{volumes}
for name in data log; do
    e2fsck -fn "/dev/vg/$name-snapshot"
done

truncate -s 64M /var/tmp/disk
zfs-fuse --no-kstat-mount
until zpool list; do sleep 0.1; done
zpool create tank /var/tmp/disk
zfs create tank/data
echo first >/tank/data/ledger
{dataset}
echo second >/tank/data/ledger
zfs rollback tank/data@backup
cat /tank/data/ledger
""")
    assert done.status == 0, done.err
    assert "important" in done.out
    assert done.out.splitlines()[-1] == "first"


def test_what_ci_runs_is_what_the_documents_say() -> None:
    for line, path in _RUN_BY_CI.items():
        assert line in (ROOT / path).read_text(encoding="utf-8")


def test_the_demo_by_bootstrap() -> None:
    """The README's first command, if this environment was made by it: then it has nothing to do."""
    environment = {**os.environ, "VENV": sys.prefix}
    words = ["sh", "./bootstrap", "demo"]
    if not Path(sys.prefix, ".bootstrap-stamp").exists():
        words = [sys.executable, "-m", "pyfreeze", "demo"]
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "application-consistent" in done.stdout


# ---- what is not run ----------------------------------------------------------------------------


NOT_RUN = [block for block in all_blocks("sh") if block.needs]


def test_only_what_cannot_be_run_here_is_not_run() -> None:
    """Few words, all of them seen: whoever adds one has to add it here."""
    reasons = {block.needs for block in NOT_RUN}
    assert reasons <= {
        "an EC2 instance, and the aws command",
        "an Azure virtual machine, and the az command",
        "a Compute Engine instance, and the gcloud command",
    }


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: str(block.place))
def test_commands_that_are_not_run_are_well_formed(block: Block) -> None:
    """The shell parses them, and pyfreeze its own options."""
    subprocess.run(["sh", "-n"], input=block.text, text=True, check=True, timeout=60)
    joined = block.text.replace("\\\n", " ")
    for line in re.findall(r"^pyfreeze (.*?)(?:$|(?<= )-- )", joined, re.MULTILINE):
        name, *options = shlex.split(line)
        command = command_group.get_command(click.Context(command_group), name)
        assert command is not None, line
        command.make_context(name, [*options, *(["--", "true"] if name == "run" else [])])


def test_blocks_that_are_not_shell_are_never_left_out() -> None:
    for language in ("python", "json", "ini"):
        assert [block.place for block in all_blocks(language) if block.needs] == []


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", all_blocks("json"), ids=lambda block: str(block.place))
def test_script_configurations(block: Block) -> None:
    """Every JSON block is a script configuration without a notice."""
    assert parse_script_config(block.text.encode(), block.place).notices == ()


@pytest.mark.parametrize("block", all_blocks("ini"), ids=lambda block: str(block.place))
def test_ini_files(block: Block) -> None:
    """Every INI block is one of the two configurations, without a notice."""
    parse = parse_host_config if "[pre_post]" in block.text else parse_freeze_config
    assert "[pre_post]" in block.text or "[SnapshotThread]" in block.text
    assert parse(block.text.encode(), block.place).notices == ()


# ---- the tests themselves -----------------------------------------------------------------------


def test_a_block_that_fails_is_seen(own_root: OwnRoot, tmp_path: Path) -> None:
    document = tmp_path / "failing.md"
    document.write_text("```sh\ntrue\n```\n\n```sh\nfalse\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"failing\.md:5"):
        test_commands(document, own_root)


def test_an_output_that_differs_is_seen() -> None:
    output = "success: done (code 0 x)\n  window 12.3 ms\n  a ▒██▒ 3\n"
    assert shown_in("success: … (code 0 x)\n window 1.25 ms\n", output)
    assert shown_in("success: done (code 0 x)\n…\na ▒▒████ 3\n", output)
    assert shown_in("window 1.2 s\n", output)
    assert not shown_in("success: done (code 1 x)\n", output)
    assert not shown_in("window\n", output)


def test_a_configuration_with_a_misspelled_key_is_seen() -> None:
    with pytest.raises(ConfigError):
        parse_script_config(b'{"preScriptLocation": "/a"}', "x")
