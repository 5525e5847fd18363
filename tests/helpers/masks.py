"""StarGAN v2 with face masks, small."""

from __future__ import annotations

import dataclasses

import torch

from asterism.data.pictures import PictureFormat
from asterism.networks.fan import FAN
from asterism.recipes.stargan_v2 import StarGANv2
from tests.helpers.recipes import SPACES, TINY

OWN = {"high_pass": 1.0, "capacity": 128, "max_width": 8, "mapping_width": 8, "style_dim": 4, "latent_dim": 4}


def build(size: int = 32, channels: int = 3, **config) -> StarGANv2:
    torch.manual_seed(0)
    picture = PictureFormat(channels, size, size)
    own = {k: v for k, v in TINY.items() if k in {f.name for f in dataclasses.fields(StarGANv2.config_type)}}
    return StarGANv2(StarGANv2.config_type(**(own | OWN | config)), SPACES["folders"], picture)


def fill(fan: FAN) -> FAN:
    """Give a landmark network random weights that keep its maps in range."""
    rng = torch.Generator().manual_seed(0)
    for key, tensor in fan.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=rng) * 0.05
            tensor.copy_(values + ("var" in key or ("bn" in key and "weight" in key)))
    return fan
