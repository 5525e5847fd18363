"""Arithmetic with codes by their names: `smiling - neutral + 0.5*me` (DCGAN, arXiv:1511.06434, Section 6.3.2).

Plus and minus stand between spaces, so that names may hold hyphens; a factor goes before a name, with `*`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from asterism.config import ConfigError

_TERM = re.compile(r"(?:(?P<factor>[+-]?(?:\d+\.?\d*|\.\d+))\s*\*\s*)?(?P<name>[^*\s](?:.*\S)?)")


def read_sum(words: str) -> list[tuple[float, str]]:
    """Read a sum of codes: factors and names, in order.

    Raises:
        ConfigError: a term without a name, or nothing at all.
    """
    parts = re.split(r"(?:^|\s+)([+-])(?:\s+|$)", words.strip())
    signs = ["+", *parts[1::2]]
    terms = []
    for number, (sign, text) in enumerate(zip(signs, parts[::2], strict=True)):
        if number == 0 and not text and len(parts) > 1:  # It begins with a sign.
            continue
        found = _TERM.fullmatch(text.strip())
        if found is None or "*" in found["name"]:
            raise ConfigError(f"the code {words!r} has the term {text.strip()!r}; expected names with factors: a - b + 0.5*c")
        terms.append(((-1 if sign == "-" else 1) * float(found["factor"] or 1), found["name"]))
    return terms


def combine(words: str, code_of: Callable[[str], Tensor], *, shorten: bool = False) -> Tensor:
    """Return the code [D] that a sum of named codes describes.

    Args:
        code_of: from a name to its code [D]; raises for names that it does not know.
        shorten: a sum of several codes that is longer than any of them is made as long as the longest, its direction staying:
            the sum of three latents is otherwise longer than any latent that is drawn.
    """
    terms = [(factor, code_of(name)) for factor, name in read_sum(words)]
    total = torch.stack([factor * code for factor, code in terms]).sum(0)
    longest = torch.stack([code.norm() for _, code in terms]).max()
    return total * (longest / total.norm()).clamp(max=1) if shorten and len(terms) > 1 else total
