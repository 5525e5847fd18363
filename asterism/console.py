"""Where messages, tables and bars go: a terminal, a file, or a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def make_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console of standard output or standard error, with colours and moving bars in a terminal only.

    In a notebook it writes plain lines, as into a file: the kernel asks for colours, and would keep every redrawn bar.
    """
    from rich.console import Console

    plain = False if "ipykernel" in sys.modules else None
    return Console(stderr=stderr, soft_wrap=soft_wrap, force_jupyter=False, force_terminal=plain, emoji=False)
