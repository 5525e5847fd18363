"""The programs in examples/ do what they say."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.recipes.model import save_model
from tests.helpers.recipes import SIZE, tiny

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_one_instance_gets_another_look_and_the_others_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PictureFormat(2, SIZE, SIZE, 0, 2, 16, classes=3)
    made = tiny("pix2pixhd", LabelSpace.from_text("two:one_of:map,photo"), source=source, features=2, num_downs=1).eval()
    save_model(tmp_path / "model.safetensors", made, "pix2pixhd", made.state_dict(), info={})
    # Exact on every processor: the program takes bfloat16 where one multiplies it.
    monkeypatch.setattr(asterism, "load", partial(asterism.load, device="cpu", precision="float32"))
    model = asterism.load(tmp_path / "model.safetensors")
    side = made.picture.height
    classes, instances = np.zeros((2, side, side), np.uint16)
    classes[:, side // 2 :], instances[:, side // 2 :] = 2, 26001
    instances[: side // 2, side // 2 :] = 26002  # Two things of class 2, one above the other.
    Image.fromarray(classes).save(tmp_path / "map.png")
    Image.fromarray(instances).save(tmp_path / "instances.png")

    def run(*words: str) -> np.ndarray:
        files = [tmp_path / name for name in ("model.safetensors", "map.png", "instances.png", "out.png")]
        monkeypatch.setattr("sys.argv", ["instance_looks.py", *map(str, files), *words])
        runpy.run_path(str(EXAMPLES / "instance_looks.py"), run_name="__main__")
        return np.asarray(Image.open(tmp_path / "out.png"))

    plain = np.asarray(model.translate(tmp_path / "map.png", "photo", style=7, instances=tmp_path / "instances.png"))
    for words in ((), ("--instance", "26002=7")):
        np.testing.assert_array_equal(run("--style", "7", *words), plain)
    x = torch.tensor(np.stack([classes, instances])[None].astype(np.float32))
    first, second = (
        made.spread(x, made.draw_style(torch.randn(1, 3, generator=torch.Generator().manual_seed(seed)), torch.tensor([1])))
        for seed in (7, 8)
    )
    assert not torch.equal(first, second)
    with torch.no_grad():
        y = made.render(x, torch.where(x[:, 1:] == 26002, second, first))[0].permute(1, 2, 0)
    wanted = ((y.clamp(-1, 1) + 1) * 127.5).numpy()
    for more in ((), ("--fit", "full")):
        found = run("--style", "7", "--instance", "26002=8", *more)
        assert (found != plain).any() and np.abs(found - wanted).max() <= 0.51
    with pytest.raises(SystemExit):
        run("--instance", "26003=8")
