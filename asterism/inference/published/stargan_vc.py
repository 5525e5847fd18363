"""StarGAN-VC's published checkpoints: `{epoch}.gen.pt` and `{epoch}.dis.pt`, each a dict with `model_state_dict`.

Their parameters have the names and shapes of ours. They say nothing of the log-mels that they were trained on, whose means and
deviations lie beside them in `stat.pkl`: an imported model takes features, the normalised log-mels [F, T], and makes such. The
scores that a generator was trained with cannot be told from its file either; `wgan` is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asterism.inference.published.containers import Weights, read_networks
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

HELD = "model_state_dict"
FRAMES = 256
"""Columns of the features, where the caller does not say; any multiple of 4 is taken later."""


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from discriminator and infer what they were built with.

    Args:
        files: one or two of them, in any order.
        space: the speakers, in the order of training: that of their folders' sorted names; none: numbered.
        size: rows and columns of the features; none takes the rows of the file.

    Raises:
        ModelError: files that are not StarGAN-VC's, or another number of speakers or of rows.
    """
    networks: dict[str, tuple[Path, Weights]] = {}
    for path in files:
        weights = read_networks(path, [HELD]).get(HELD, {})
        name = "generator" if "le10.weight" in weights else "discriminator" if "le_adv.weight" in weights else ""
        if not name:
            raise ModelError(
                f"{path} is no StarGAN-VC file: its {HELD} has neither le10.weight, as that of a .gen.pt file, nor "
                "le_adv.weight, as that of a .dis.pt file"
            )
        if name in networks:
            raise ModelError(f"{networks[name][0]} and {path} are both a {name}: give one .gen.pt and at most one .dis.pt file")
        networks[name] = path, weights
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the .gen.pt file, and the .dis.pt file as well")
    path, generator = networks["generator"]
    speakers, embedding = generator["eb1.weight"].shape
    space = space or LabelSpace([LabelGroup("voices", tuple(f"speaker{i + 1}" for i in range(speakers)), "one_of")])
    if space.code_size != speakers:
        raise ModelError(
            f"{path} knows {speakers} speakers, and these are {space.code_size}: {', '.join(space.names)}; name all that it "
            "was trained on, in that order: --labels voices:one_of:A,B"
        )
    rows, width, _ = generator["le10.weight"].shape
    config: dict[str, Any] = {
        "conv_dim": width - embedding,
        "bottleneck": generator["le6.conv1.weight_v"].shape[0] - embedding,
        "embedding": embedding,
        "source_conditioning": "eb0.weight" in generator,
    }
    if "discriminator" in networks:
        config["discriminator_conv_dim"] = networks["discriminator"][1]["le_adv.weight"].shape[1]
    if size is not None and size[0] != rows:
        raise ModelError(f"{path} takes features of {rows} rows, not {size[0]}")
    return Found(config, space, size or (rows, FRAMES), 1, networks, features=True)


def write(model: Model) -> dict[str, dict[str, Any]]:
    """Return the published files of a model: file name -> content; optimisers are not kept in model files."""
    epoch = int(model.info.get("step", 0))
    files = {}
    for name, short in (("generator", "gen"), ("discriminator", "dis")):
        if name not in model.missing:
            weights = {key: t.detach().cpu().contiguous() for key, t in model.recipe.networks[name].state_dict().items()}
            files[f"{epoch}.{short}.pt"] = {"epoch": epoch, HELD: weights, "optimizer_state_dict": {}}
    return files
