"""Pictures of latents: a seed is a picture, in Python and as files; who cannot generate says what it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.inference.generator import read_seeds
from asterism.labels import LabelError, LabelSpace
from asterism.storage.model_file import ModelError
from tests.helpers.generating import painter, save_dcgan


def pixels(picture: object) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_a_seed_is_a_picture_whatever_the_batch(tmp_path: Path) -> None:
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    together = model.generate(count=5)
    assert [picture.size for picture in together] == [(16, 16)] * 5
    alone = [model.generate(seeds=[seed])[0] for seed in range(5)]
    in_twos = model.generate(seeds=range(5), batch_size=2)
    for a, b, c in zip(together, alone, in_twos, strict=True):
        assert np.abs(pixels(a) - pixels(b)).max() <= 1 and np.abs(pixels(a) - pixels(c)).max() <= 1  # Rounding.
    (third, first) = model.generate(seeds=(3, 0))
    assert np.abs(pixels(third) - pixels(together[3])).max() <= 1
    assert np.abs(pixels(first) - pixels(third)).mean() > 5


def test_how_many_or_which_but_not_both(tmp_path: Path) -> None:
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    assert len(model.generate()) == 16
    for arguments, words in (
        ({"count": 2, "seeds": (1,)}, "the number of pictures or their seeds, not both"),
        ({"count": 0}, "the number of pictures is 0; expected at least 1"),
        ({"seeds": (2**63,)}, f"a seed is {2**63}; expected at most"),
        ({"count": 1, "batch_size": 0}, "the batch size is 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            model.generate(**arguments)


def test_seeds_in_words() -> None:
    assert read_seeds("7") == [7] and read_seeds("1,5, 9") == [1, 5, 9] and read_seeds("0..3,8") == [0, 1, 2, 3, 8]
    for words, said in (
        ("a", "such as 7, 1,5,9 or 0..31"),
        ("1..", "expected whole numbers"),
        ("5..2", "smaller end first"),
        ("0..99999999999", "at most"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_seeds(words)


def test_a_model_that_is_told_labels_makes_what_the_target_says() -> None:
    model = painter()
    means = {to: pixels(model.generate(count=3, to=to)[2]).mean((0, 1)) for to in ("Red", "Green", "Blue")}
    assert [int(mean.argmax()) for mean in means.values()] == [0, 1, 2]
    assert np.array_equal(pixels(model.generate(1, to={"Red": True})[0]), pixels(model.generate(1, to="Red")[0]))
    with pytest.raises(LabelError, match="is told labels: name a target"):
        model.generate(1)
    with pytest.raises(LabelError, match="no label 'red': did you mean Red"):
        model.generate(1, to="red")
    joint = painter(LabelSpace.from_text("faces:binary:Old;discs:one_of:Red,Green,Blue"))
    with pytest.raises(LabelError, match="is of one dataset, and Old,Red names labels of 2"):
        joint.generate(1, to="Old,Red")


def test_each_verb_says_which_models_it_is_for(tmp_path: Path, trained: Path) -> None:
    generating, translating = asterism.load(save_dcgan(tmp_path), device="cpu"), asterism.load(trained, device="cpu")
    with pytest.raises(ModelError, match="generates pictures and translates none: use generate, not translate"):
        generating.translate(np.zeros((16, 16, 3), np.uint8), "Red")
    with pytest.raises(ModelError, match="translates pictures and generates none: use translate, not generate"):
        translating.generate(1)
    with pytest.raises(LabelError, match="is told no labels: leave out the target, Red"):
        generating.generate(1, to="Red")


def test_files_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out, sheet = save_dcgan(tmp_path / "run"), tmp_path / "out", tmp_path / "sheet.png"
    command = ["generate", str(run), "--seeds", "0..2,7", "--out", str(out), "--sheet", str(sheet), "--device", "cpu"]
    assert main(command) == 0
    assert sorted(path.name for path in out.iterdir()) == ["seed0.png", "seed1.png", "seed2.png", "seed7.png"]
    model = asterism.load(run, device="cpu")
    (seven,) = model.generate(seeds=[7])
    assert np.abs(pixels(Image.open(out / "seed7.png")) - pixels(seven)).max() <= 1
    drawn = pixels(Image.open(sheet))  # A square of 2 x 2, each picture with its margin.
    assert drawn.shape == (48, 48, 3)
    assert np.array_equal(drawn[28:44, 28:44], pixels(Image.open(out / "seed7.png")))
    assert main(command) == 1
    assert "seed0.png, " in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_a_sheet_alone_and_a_row_for_each_target(tmp_path: Path) -> None:
    from asterism.inference.generated_files import generate_files

    summary = generate_files(painter(), range(4), to=["Red", "Blue"], sheet=tmp_path / "sheet.png")
    assert summary.written == [tmp_path / "sheet.png"]
    drawn = pixels(Image.open(tmp_path / "sheet.png"))
    assert drawn.shape == (32, 64, 3)
    assert drawn[8, 8].argmax() == 0 and drawn[24, 8].argmax() == 2
    generate_files(painter(), [5], tmp_path / "files", to=["Red", "Blue"])
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["seed5__Blue.png", "seed5__Red.png"]


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    run = save_dcgan(tmp_path / "run", depth=16)
    float32 = ["--device", "cpu", "--precision", "float32"]  # bfloat16 has too few values to fill 16 bits.
    assert main(["generate", str(run), "--count", "2", "--out", str(tmp_path / "out"), *float32]) == 0
    written = tifffile.imread(tmp_path / "out" / "seed1.tif")
    made = asterism.load(run, "cpu", "float32").generate(count=2)[1]  # An array, since Pillow holds no 16-bit colour.
    assert written.dtype == made.dtype == np.uint16 and np.abs(written.astype(int) - made).max() <= 64
    assert len(np.unique(written % 256)) > 50
    assert main(["generate", str(run), "--count", "2", "--out", str(tmp_path / "npy"), "--format", "npy"]) == 0
    assert np.load(tmp_path / "npy" / "seed1.npy").dtype == np.uint16
    assert main(["generate", str(run), "--out", str(tmp_path / "jpg"), "--format", "jpg"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "3", "--seeds", "1", "--out", "o"], "not allowed with argument"),
        (["--count", "3"], "give an output: --out DIR"),
    ],
)
def test_a_misspelt_command_says_what_is_missing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "run", *words])
    assert said in capsys.readouterr().err


def test_the_commands_and_the_card_say_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = save_dcgan(tmp_path / "run")
    assert main(["info", str(run)]) == 0
    told = capsys.readouterr().out
    assert f"asterism generate {run} --count 16" in told and "translate" not in told and "Red" not in told
    card = (asterism.load(run, device="cpu").save_pretrained(tmp_path / "folder") / "README.md").read_text()
    assert "pipeline_tag: unconditional-image-generation" in card and "model.generate(seeds=(1, 2))" in card
    assert "ransla" not in card and "Makes colour pictures of 16 x 16 pixels from noise." in card
