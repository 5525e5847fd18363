"""A model's folder stands alone, its card says what the run's files say, and it goes to the hub and comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import asterism
from asterism.cli import main
from asterism.inference.card import hub_licence
from asterism.inference.hub import push_to_hub, save_pretrained
from asterism.recipes.model import save_model
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import SIZE, SPACES, tiny

RECORD = {
    "protocol": "stargan_v2", "version": 1, "parameters": {}, "split": "test", "checkpoint": "best", "step": 1200,
    "precision": "float32", "data": "9f", "extractor": {"name": "classifier", "digest": "0c", "dims": 8},
    "metrics": {"reached": {"better": "higher", "unit": "share", "meaning": "the classifier finds the wanted label"}},
    "rows": [{"name": "translated, all targets", "kind": "translated", "values": {"reached": 0.985, "fid": None}}],
    "classifier": {"accuracy": 0.4, "needed": 0.85, "void": True},
    "cases": [{"title": "held out", "file": "samples/held_out.png", "columns": ["source", "red"], "caption": "sources"}],
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run of imported weights that was trained on and evaluated."""
    recipe, folder = tiny("stargan_v2", SPACES["folders"]), tmp_path / "me" / "discs"
    info = {"step": 1200, "licence": "CC BY-NC 4.0", "data": [{"name": "discs", "pictures": 3000}], "created_from": ["1.ckpt"]}
    save_model(folder / "model.safetensors", recipe, "stargan_v2", recipe.state_dict(), info=info)
    config = {"name": "stargan_v2", "preset": "small", "data": {"sources": ["/home/someone/private/discs"]}}
    (folder / "config.json").write_text(json.dumps(config | {"recipe": {}, "train": {"batch_size": 8}}))
    (folder / "scores.json").write_text(json.dumps({"format": 2, "protocols": {"stargan_v2/classifier/test/best": RECORD}}))
    (folder / "samples").mkdir()
    Image.new("RGB", (66, 32), "red").save(folder / "samples" / "held_out.png")
    return folder


def test_a_saved_folder_is_the_model(run: Path, tmp_path: Path) -> None:
    model = asterism.load(run, "cpu", "float32")
    out = model.save_pretrained(tmp_path / "out")
    again = asterism.Translator.from_pretrained(out, "cpu", "float32")
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(again.translate(x, "red", style=3), model.translate(x, "red", style=3))
    assert (out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    third = again.save_pretrained(tmp_path / "third")  # Nothing is lost on the way.
    assert sorted(p.relative_to(third) for p in third.rglob("*")) == sorted(p.relative_to(out) for p in out.rglob("*"))
    alone = save_pretrained(out / "model.safetensors", tmp_path / "alone")
    assert "3,000 pictures" in (alone / "README.md").read_text()

    (out / "README.md").write_text("better words")
    with pytest.raises(ModelError, match="not empty: give another folder"):
        model.save_pretrained(out)
    assert (out / "README.md").read_text() == "better words"
    model.save_pretrained(out, overwrite=True)
    assert "better words" not in (out / "README.md").read_text()


def test_the_card_says_what_the_run_says(run: Path, tmp_path: Path) -> None:
    save_pretrained(run, tmp_path / "out", name="me/discs")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    front = card.data.to_dict()
    assert (
        front["license"] == "cc-by-nc-4.0" and front["pipeline_tag"] == "image-to-image" and front["library_name"] == "asterism"
    )
    for words in (
        "discs: one of red, green, blue",
        "StarGAN v2: Diverse Image Synthesis for Multiple Domains (arXiv:1912.01865).",
        "| steps | 1,200 |",
        "| data | discs, 3,000 pictures |",
        "| made from | 1.ckpt |",
        "`stargan_v2/classifier/test/best`, test pictures, step 1,200",
        "| translated, all targets | 98.5% |  |",
        "reached: the classifier finds the wanted label",
        "its scores do not count",
        'asterism.load("me/discs")',
        "![Pictures and their translations](samples/held_out.png)",
        "Intended use and limits",
        "The weights are under CC BY-NC 4.0. Commercial use is not allowed.",
    ):
        assert words in card.text, words
    assert (tmp_path / "out" / "samples" / "held_out.png").exists()
    told = (tmp_path / "out" / "config.json").read_text() + card.text
    assert "someone" not in told and '"discs"' in told, "the places of the author's files are nobody's business"


def test_what_is_not_known_is_not_claimed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in ("config.json", "samples/held_out.png"):
        (run / file).unlink()
    (run / "scores.json").write_text(json.dumps({"rows": []}))  # As the first version wrote it.
    recipe = tiny("stargan", SPACES["joint"])
    save_model(run / "model.safetensors", recipe, "stargan", recipe.state_dict(), info={})
    assert main(["export", str(run), "--format", "hub", "--out", str(tmp_path / "out")]) == 0
    assert "the weights have no stated licence: state it with --train.licence" in capsys.readouterr().out
    text = (tmp_path / "out" / "README.md").read_text()
    assert "license: unknown" in text and "No licence of the weights was stated" in text
    assert "This model was not evaluated" in text and "Its quality was not measured" in text and "![" not in text
    assert "faces: one of dark, fair; any of glasses" in text
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "model.safetensors"]


@pytest.mark.parametrize(
    ("words", "front"),
    [
        ("CC BY-NC 4.0", {"license": "cc-by-nc-4.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("CC BY-NC-SA 4.0 (authors)", {"license": "cc-by-nc-sa-4.0"}),
        ("MIT License", {"license": "mit"}),
        ("Research only, see LICENSE", {"license": "other", "license_name": "research-only-see-license"}),
        ("the trainer's own; none was stated", {"license": "unknown"}),
        ("", {"license": "unknown"}),
    ],
)
def test_licences_have_the_hubs_names(words: str, front: dict[str, str]) -> None:
    assert hub_licence(words) == front


class FakeHub:
    """A hub in a folder, with the two calls that uploading makes."""

    def __init__(self, root: Path) -> None:
        self.root, self.private = root, None

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        self.private = private
        return f"https://hub.example/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        """Lay the files down as the hub's cache holds them after a download."""
        snapshot = self.root / f"models--{repo_id.replace('/', '--')}" / "snapshots" / ("0" * 40)
        snapshot.parent.mkdir(parents=True)
        Path(folder_path).rename(snapshot)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)


def test_a_model_goes_to_the_hub_and_is_loaded_by_its_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    assert main(["export", str(run), "--format", "hub", "--push", "someone/discs"]) == 0
    assert capsys.readouterr().out == "https://hub.example/someone/discs\n"
    assert hub.private is True, "what nobody asked to publish stays private"

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub.root))
    x = torch.zeros(1, 3, SIZE, SIZE)
    there, here = asterism.load("someone/discs", "cpu", "float32"), asterism.load(run, "cpu", "float32")
    assert torch.equal(there.translate(x, "blue"), here.translate(x, "blue"))
    with pytest.raises(ModelError, match="the hub gave no model.safetensors of that name"):
        asterism.load("someone/else")


def test_a_hub_that_is_not_reached_says_why(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set: unset it, or only write the folder"):
        push_to_hub(run, "someone/discs")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    def refuse(*_: Any, **__: Any) -> None:
        raise huggingface_hub.errors.LocalTokenNotFoundError("no token")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ModelError, match="you are not logged in"):
        push_to_hub(run, "someone/discs")
    for name in ("discs", "some one/discs", "a/b/c"):  # Nothing is asked of the network.
        with pytest.raises(ModelError, match="is not a hub name; expected owner/name"):
            push_to_hub(run, name)


@pytest.mark.parametrize(
    ("status", "said"), [(403, "Log in with `hf auth login`"), (503, "try again later"), (None, "cannot be reached: no")]
)
def test_a_refused_token_is_told_from_a_hub_that_is_down(
    run: Path, monkeypatch: pytest.MonkeyPatch, status: int | None, said: str
) -> None:
    class Answer:
        status_code, headers, request = status, dict[str, str](), None

    def answer(*_: Any, **__: Any) -> None:
        raise huggingface_hub.errors.HfHubHTTPError("no", response=Answer()) if status else ConnectionError("no")  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", answer)
    with pytest.raises(ModelError, match=said):
        push_to_hub(run, "someone/discs")


def test_a_damaged_model_is_not_handed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    assert main(["export", str(tmp_path), "--format", "hub"]) == 1
    assert "model.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_a_translator_made_in_memory_cannot_be_saved(run: Path, tmp_path: Path) -> None:
    from asterism.recipes.model import load_model

    with pytest.raises(ModelError, match="was not loaded from a file"):
        asterism.Translator(load_model(run / "model.safetensors"), "cpu").save_pretrained(tmp_path / "out")
