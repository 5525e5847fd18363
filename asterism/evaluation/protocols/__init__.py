"""The protocols, one small file each; a new protocol needs a file and a line here."""

from __future__ import annotations

from asterism.config import ConfigError, closest
from asterism.evaluation.protocols import generation, pairs, quick, repeated, stargan, stargan_v2, truth, voice
from asterism.evaluation.protocols.base import Protocol

MODULES = (stargan, stargan_v2, truth, pairs, repeated, generation, voice, quick)
PROTOCOLS = {module.PROTOCOL.name: module.PROTOCOL for module in MODULES}


def protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        ConfigError: no such protocol; names the closest.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}: {closest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
