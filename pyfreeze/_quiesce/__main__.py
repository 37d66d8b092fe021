"""The program behind the scripts that `pyfreeze init --app` writes; run by its path.

With -I -S: no site directory and no .pth file has a say in it, and it starts three times as fast.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.append(os.path.dirname(package))
    from pyfreeze._quiesce.script import run

    sys.exit(run(sys.argv[1:]))
