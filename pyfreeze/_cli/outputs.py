"""The files that `pyfreeze run` writes about a backup: a picture, a trace, metrics."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import check_target, read_if_there, save
from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from pyfreeze._model.report import AnyReport, Report

#: For a collector that is not root.
_METRICS_MODE = 0o644


class Outputs(NamedTuple):
    """Where to write what; None: nowhere."""

    report: str | None = None
    trace: str | None = None
    metrics: str | None = None

    def check(self) -> None:
        """Refuse, before anything is run, what could not be written afterwards.

        Raises:
            UsageError: names the option, the file, and what is wrong with it.
        """
        if self.report is not None and not self.report.endswith((".html", ".svg")):
            text = f"--report: found {os.path.basename(self.report)!r}, expected a name that ends "
            raise UsageError(errno.EINVAL, text + "in .html or .svg", self.report)
        for name, path in self._asdict().items():
            if path is not None:
                try:
                    check_target(path)
                except OSError as error:
                    text = f"--{name}: {error.strerror}"
                    raise UsageError(error.errno or 0, text, path) from error
        if self.metrics is not None and find_spec("prometheus_client") is None:
            text = "--metrics needs the Python package prometheus-client: "
            raise UsageError(errno.ENOENT, text + "pip install 'pyfreeze[cli]'", self.metrics)

    def write(self, report: Report) -> list[str]:
        """Write them all; returns what failed, in sentences."""
        failures = []
        for path, make, mode in (
            (self.report, _picture, None),
            (self.trace, _trace, None),
            (self.metrics, _metrics, _METRICS_MODE),
        ):
            if path is not None:
                try:
                    save(path, make(report, path), mode=mode)
                except OSError as error:
                    failures.append(f"{path}: not written: {error.strerror}")
        return failures

    def write_refusal(self, report: AnyReport) -> None:
        """Let the metrics tell of a run that was refused: nobody looks at a night's messages."""
        if self.metrics is None or find_spec("prometheus_client") is None:
            return
        # What refused it may be this very file, and is told already.
        with contextlib.suppress(OSError):
            check_target(self.metrics)
            save(self.metrics, _metrics(report, self.metrics), mode=_METRICS_MODE)


def _picture(report: Report, path: str) -> str:
    from pyfreeze._view.page import as_html, as_svg

    return as_html(report) if path.endswith(".html") else as_svg(report)


def _trace(report: Report, _path: str) -> str:
    from pyfreeze._view.trace import as_trace

    return as_trace(report)


def _metrics(report: AnyReport, path: str) -> str:
    from pyfreeze._view.metrics import as_metrics

    return as_metrics(report, now_s=time.time(), before=read_if_there(path))
