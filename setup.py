"""Build the cffi extension, and link the supervisor program into the package beside it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))

import build_native  # noqa: E402 - found by the path set above

PROGRAM = "pyfreeze-supervisor"


class build_ext_and_supervisor(build_ext):  # noqa: N801 - setuptools' own spelling
    """The extension as ever; then the supervisor, with the same compiler, next to it."""

    @property
    def _program(self) -> Path:
        return Path(self.build_lib) / "pyfreeze" / PROGRAM

    def build_extensions(self) -> None:
        super().build_extensions()
        objects = self.compiler.compile(
            build_native.sources(build_native.SUPERVISOR_ROOMS),
            output_dir=str(Path(self.build_temp) / "supervisor"),
            include_dirs=["csrc"],
            extra_postargs=[*build_native.COMPILE_ARGS, "-fPIE"],
        )
        self._program.parent.mkdir(parents=True, exist_ok=True)
        # -z now: every symbol is bound at the start; a lazy one would be looked up in the window.
        self.compiler.link_executable(
            objects,
            PROGRAM,
            output_dir=str(self._program.parent),
            extra_postargs=["-pthread", "-pie", "-Wl,-z,relro,-z,now"],
        )

    def copy_extensions_to_source(self) -> None:
        """For an editable install the program has to be in the tree, like the extension."""
        super().copy_extensions_to_source()
        target = ROOT / "pyfreeze" / PROGRAM
        # By renaming: the program may be running, and then cannot be written to (ETXTBSY).
        fresh = target.with_suffix(".new")
        shutil.copy2(self._program, fresh)
        fresh.replace(target)

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(self._program)]


options: dict[str, Any] = {"bdist_wheel": {"py_limited_api": "cp311"}}

setup(
    cffi_modules=["csrc/build_native.py:ffibuilder"],
    cmdclass={"build_ext": build_ext_and_supervisor},
    options=options,
)
