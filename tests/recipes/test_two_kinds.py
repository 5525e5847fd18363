"""Recipes that take pictures of another kind than they make: trained on these, used, exported and served as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.label_maps import colours
from asterism.data.pictures import PictureError, PictureFormat
from asterism.evaluation.evaluate import evaluate
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.grid import draw_grid
from asterism.inference.translator import Translator, load
from asterism.networks.label_maps import edges, planes
from asterism.recipes import RECIPES, recipe_class
from asterism.recipes.model import load_model, save_model
from asterism.recipes.render import translate
from asterism.training import train
from tests.helpers.evaluating import CPU, values
from tests.helpers.label_maps import SIDE, ids, palette, put, write_instances
from tests.helpers.label_maps import write as write_maps
from tests.helpers.recipes import COUNT, SIZE, SPACES, batch_of, tables, tiny, trainer_of

KINDS = {
    "maps": PictureFormat(1, SIZE, SIZE, 0, 4, classes=5),
    "maps with instances": PictureFormat(2, SIZE, SIZE, 0, 34, 16, classes=35),
    "grey": PictureFormat(1, SIZE, SIZE),
}
TAKING = sorted(name for name in RECIPES if recipe_class(name).two_kinds)
SMALL = {"recipe.conv_dim": 4, "recipe.discriminator_conv_dim": 4, "recipe.discriminator_layers": 1, "data.size": 16}
SMALL |= {
    "train.steps": 4,
    "train.decay_steps": 2,
    "train.batch_size": 2,
    "train.evaluate_every": 0,
    "train.precision": "float32",
}
SMALL |= {"data.workers": 0, "train.preview_every": 4}


def test_classes_become_channels_and_instances_edges() -> None:
    x = torch.tensor([[[0.0, 1, 1], [2, 1, 1]], [[9, 9, 4], [9, 9, 4]]])[None]
    seen = planes(x, 3)
    assert seen.shape == (1, 4, 2, 3)
    assert torch.equal(seen[0, :3].argmax(0), x[0, 0].long()) and (seen[0, :3].sum(0) == 1).all()
    assert torch.equal(seen[0, 3], torch.tensor([[0.0, 1, 1], [0, 1, 1]])), "both sides of a border"
    assert torch.equal(edges(x[:, 1:].transpose(2, 3)), seen[:, 3:].transpose(2, 3))
    assert planes(x, 0) is x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TAKING)
def test_every_update_trains_on_sources_of_another_kind(name: str, kind: str) -> None:
    recipe = tiny(name, SPACES["two"], source=KINDS[kind])
    batch = batch_of(recipe)
    for terms in tables(recipe, batch).values():
        assert all(value.shape == (COUNT,) and torch.isfinite(value).all() for _, value in terms.values())
    trainer = trainer_of(recipe)
    for update in recipe.updates:
        before = {k: v.clone() for k, v in recipe.state_dict().items()}
        trainer.apply(update, batch, COUNT, torch.zeros(()))
        assert {k.split(".")[0] for k, v in recipe.state_dict().items() if not torch.equal(v, before[k])} == set(update.trains)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TAKING)
def test_a_model_file_remembers_both_kinds(name: str, kind: str, tmp_path: Path) -> None:
    recipe = tiny(name, SPACES["two"], source=KINDS[kind]).eval()
    save_model(tmp_path / "model.safetensors", recipe, name, recipe.state_dict(), info={})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.picture == recipe.picture
    batch = batch_of(recipe)
    told = torch.full((COUNT,), 1)
    with torch.no_grad():
        assert torch.equal(translate(loaded.recipe, batch.x, told), translate(recipe, batch.x, told))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of four steps: on label maps, and on those with instances; `data` beside each."""
    root = tmp_path_factory.mktemp("kinds")
    for name, write in (("maps", write_maps), ("instances", write_instances)):
        write(root / name / "data")
        train("pix2pix", root / name / "data", root / name / "run", overrides=SMALL)
    return {name: root / name for name in ("maps", "instances")}


@pytest.fixture(scope="module")
def translators(runs: dict[str, Path]) -> dict[str, Translator]:
    return {name: load(path / "run", device="cpu", precision="float32") for name, path in runs.items()}


def test_one_map_gives_one_picture_however_it_comes(translators: dict[str, Translator], tmp_path: Path) -> None:
    model, array = translators["maps"], ids(3)
    path = put(palette(array), tmp_path / "map.png")
    made = np.asarray(model.translate(path, to="B"))
    assert made.shape == (SIDE, SIDE, 3)
    for given in (palette(array), array, array.astype(np.int64)[:, :, None], torch.from_numpy(array)):
        assert np.array_equal(np.asarray(model.translate(given, to="B")), made)
    floats = model.translate(array.astype(np.float32)[None], to="B")
    assert np.abs((floats.transpose(1, 2, 0) + 1) * 127.5 - made).max() <= 0.5 + 1e-4
    assert np.asarray(model.translate(array, to="B", fit="crop")).shape == (SIDE, SIDE, 3)


def test_instances_come_beside_a_map_or_in_it(translators: dict[str, Translator], tmp_path: Path) -> None:
    model, array = translators["instances"], ids(3)
    instances = array.astype(np.uint16) + 30_000
    made = model.translate(np.stack([array, instances], 2), to="img")
    beside = model.translate(palette(array), to="img", instances=Image.fromarray(instances))
    assert np.array_equal(made, np.asarray(beside))
    files = [put(palette(array), tmp_path / "map.png"), put(Image.fromarray(instances), tmp_path / "inst.png")]
    assert np.array_equal(made, np.asarray(model.translate(files[0], to="img", instances=files[1])))
    np.save(tmp_path / "both.npy", np.stack([array, instances], 2).astype(np.uint16))
    assert np.array_equal(made, np.asarray(model.translate(tmp_path / "both.npy", to="img")))
    assert not np.array_equal(made, model.translate(np.stack([array, instances * 0], 2), to="img")), "they matter"
    with pytest.raises(PictureError, match="no instance map"):
        model.translate(files[0], to="img")
    with pytest.raises(ConfigError, match="2 label maps come with 1"):
        model.translate([files[0]] * 2, to="img", instances=[files[1]])


def test_what_a_model_of_maps_cannot_take_is_said(translators: dict[str, Translator], tmp_path: Path) -> None:
    model = translators["maps"]
    with pytest.raises(PictureError, match=r"holds the id 9; expected 0 to 4, the ids of 5 classes"):
        model.translate(np.full((SIDE, SIDE), 9, np.uint8), to="B")
    with pytest.raises(PictureError, match=r"photo\.jpg: it is a JPEG"):
        model.translate(put(palette(ids(0)).convert("RGB"), tmp_path / "photo.jpg"), to="B")
    with pytest.raises(PictureError, match="whole numbers from 0 to 4"):
        model.translate(np.full((1, SIDE, SIDE), 0.5, np.float32), to="B")


def test_folders_of_maps_are_translated_and_drawn(
    runs: dict[str, Path], translators: dict[str, Translator], tmp_path: Path
) -> None:
    data = runs["instances"] / "data"
    summary = translate_folder(
        translators["instances"], [data / "train_label"], ["img"], tmp_path / "out", instances=data / "train_inst"
    )
    assert len(summary.written) == 8 and not summary.skipped and Image.open(summary.written[0]).mode == "RGB"
    with pytest.raises(FolderError, match="holds no instance map for label maps: 8"):
        translate_folder(
            translators["instances"], [data / "train_label"], ["img"], tmp_path / "no", instances=data / "test_inst"
        )
    with pytest.raises(FolderError, match="takes no instance maps"):
        translate_folder(translators["maps"], [data / "train_label"], ["B"], tmp_path / "no", instances=data / "train_inst")
    with pytest.raises(ConfigError, match="no changes to draw"):
        translate_folder(translators["maps"], [data / "train_label"], ["B"], tmp_path / "no", changes=0.25)
    draw_grid(translators["maps"], [runs["maps"] / "data" / "test" / "A"], tmp_path / "grid.png", side=SIDE)
    drawn, shown = np.asarray(Image.open(tmp_path / "grid.png")), (colours(5) + 1) * 127.5
    assert {tuple(c) for c in shown.round().int().tolist()} <= {tuple(c) for c in drawn[:, :32].reshape(-1, 3).tolist()}
    preview = np.asarray(Image.open(next((runs["maps"] / "run" / "previews").glob("*4.png"))))
    assert preview.shape[2] == 3 and tuple(shown[1].round().int().tolist()) in {
        tuple(c) for c in preview.reshape(-1, 3).tolist()
    }


def test_a_run_on_maps_is_measured(runs: dict[str, Path]) -> None:
    """Against the true partner, and beside the map in its colours."""
    (record,) = evaluate(runs["maps"] / "run", protocols=["truth"], split="train", **CPU).values()
    assert values(record, "real")["psnr"] == 100 and 0 < values(record, "translated")["psnr"] < 100
    assert 0 < values(record, "copy")["psnr"] < 100


def test_what_is_told_of_a_model_names_both_kinds(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(runs["instances"] / "run")]) == 0
    assert "label maps of 5 classes with instances" in capsys.readouterr().out
    assert main(["report", str(runs["instances"] / "run")]) == 0
    assert "label maps of 5 classes with instances" in (runs["instances"] / "run" / "report.html").read_text()


def test_an_onnx_file_takes_ids(runs: dict[str, Path], translators: dict[str, Translator], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    from asterism.export import job

    exported = job.export(runs["instances"] / "run", out=tmp_path / "maps.onnx")
    session = onnxruntime.InferenceSession(str(exported.files["translator"]), providers=["CPUExecutionProvider"])
    told = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert "channel 0: class ids, whole numbers from 0 to 4; channel 1: ids of instances" in told["inputs"]["image"]
    assert told["normalization"]["tensor"] == [0, 4] and told["output_normalization"]["tensor"] == [-1, 1]
    x = np.stack([ids(5, 16), ids(5, 16).astype(np.int64) + 65_000])[None].astype(np.float32)
    style = np.array([told["mean_styles"][1]], np.float32)
    given = {i.name: {"image": x, "style": style}[i.name] for i in session.get_inputs()}
    (y,) = session.run(None, given)
    assert np.abs(y[0] - translators["instances"].translate(x[0], to="img")).max() < 1e-4


def test_the_service_takes_maps(translators: dict[str, Translator]) -> None:
    pytest.importorskip("fastapi", reason="serving needs the extra: asterism[serve]")
    import io

    from tests.helpers.serving import client, service

    def png(image: Image.Image, kind: str = "PNG") -> bytes:
        file = io.BytesIO()
        image.save(file, kind)
        return file.getvalue()

    array = ids(4)
    instances = array.astype(np.uint16) + 30_000
    with client(service(**translators)) as asked:
        about = asked.get("/api/models/instances").json()
        assert about["takes"] == "label maps of 5 classes with instances"
        path, files = "/api/models/instances/translate", {"image": ("a.png", png(palette(array)))}
        answer = asked.post(path, data={"to": "img"}, files=files | {"instances": ("b.png", png(Image.fromarray(instances)))})
        assert answer.status_code == 200
        made = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert np.array_equal(made, translators["instances"].translate(np.stack([array, instances], 2), to="img"))
        assert "no instance map" in asked.post(path, data={"to": "img"}, files=files).json()["error"]
        path = "/api/models/maps/translate"
        assert asked.post(path, data={"to": "B"}, files=files).status_code == 200
        jpeg = {"image": ("a.jpg", png(palette(array).convert("L"), "JPEG"))}
        assert "blends ids" in asked.post(path, data={"to": "B"}, files=jpeg).json()["error"]
        both = files | {"instances": ("b.png", png(Image.fromarray(instances)))}
        assert "takes no instance map" in asked.post(path, data={"to": "B"}, files=both).json()["error"]
