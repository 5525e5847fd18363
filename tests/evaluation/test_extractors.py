"""Networks whose features are compared: the user's own, the published ones, and what is said where they are missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.evaluation import evaluate as evaluating
from asterism.evaluation.cache import weights_folder
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.extractors import ALEXNET, INCEPTION, LPIPS, extractor, load_lpips, perceptual
from asterism.machine import Machine
from asterism.metrics.alexnet import CHANNELS, LEAST_SIDE, AlexNet
from asterism.runs.scores import read_scores, why_not_comparable
from tests.helpers.evaluating import CPU, values


class Means(nn.Module):
    """An extractor of a user's own: mean colours."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_an_exported_program_is_an_extractor(run: Path, tmp_path: Path) -> None:
    example = torch.zeros(2, 3, 32, 32)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(Means(), (example,), dynamic_shapes={"x": {0: batch}})
    torch.export.save(program, tmp_path / "means.pt2")
    record = evaluate(run, protocols=["quick"], features=str(tmp_path / "means.pt2"), **CPU)["quick/means.pt2/test/last"]
    assert record["extractor"]["dims"] == 3 and record["extractor"]["digest"]
    named = evaluate(run, protocols=["quick"], features="tests.evaluation.test_extractors:Means", **CPU)
    other = next(iter(named.values()))
    assert values(record, "copy")["fid"] == pytest.approx(values(other, "copy")["fid"], rel=1e-4)


def test_extractors_that_are_not_there_are_refused_with_the_remedy(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "trained_judge", lambda *_: pytest.fail("minutes of training come after the refusal"))
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    for name, words in (
        ("inception", r"pip install \"asterism\[inception\]\"|weights of the inception extractor are not at"),
        ("incepton", "no extractor 'incepton': classifier, inception, a file written by torch.export.save"),
        (str(tmp_path / "none.pt2"), "there is no extractor file"),
        (str(tmp_path / "bad.pt2"), "is not an exported program"),
        ("tests.evaluation.test_extractors:Missing", "expected an importable module:Class"),
        ("tests.evaluation.test_extractors:Path", "is not a torch.nn.Module"),
        ("torch.nn:Linear", "missing 2 required .*expected an importable module:Class that takes no"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(run, features=name, **CPU)
    for parameters, words in (({"pictures": -1}, "pictures is -1; expected at least 0"), ({"outputs": 0}, "at least 1")):
        with pytest.raises(ConfigError, match=words):
            evaluate(run, parameters=parameters, **CPU)


class PublishedInception(nn.Module):
    """The interface of torch-fidelity's network: a list of features wanted, a file; a tuple for bytes, strictly RGB."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str) -> None:
        super().__init__()
        assert features_list == ["2048"]
        self.layer = nn.Linear(3, 2048, bias=False)
        self.load_state_dict(torch.load(feature_extractor_weights_path))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        return (self.layer(x.float().mean((2, 3))),)


def test_inception_is_asked_as_torch_fidelity_wants_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, network = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    network.FeatureExtractorInceptionV3 = PublishedInception  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, network.__name__, network)
    machine, weights = Machine.choose("cpu", "float32"), weights_folder() / INCEPTION
    with pytest.raises(ConfigError, match=f"Put the file from github.com/toshas/torch-fidelity/.*{INCEPTION} there"):
        extractor("inception", machine, PictureFormat(3, 32, 32))
    weights.parent.mkdir(parents=True, exist_ok=True)
    layer = torch.zeros(2048, 3)
    layer[:3] = torch.eye(3)
    try:
        torch.save({"layer.weight": layer}, weights)
        compute = extractor("inception", machine, PictureFormat(1, 32, 32))
        made = compute(torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8))
        assert made[:, :3].tolist() == [[0.0] * 3, [128.0] * 3, [255.0] * 3] and compute.dims == made.shape[1] == 2048
        weights.write_bytes(b"cut short")
        with pytest.raises(ConfigError, match="cannot be read from .*: take the file from github.com/toshas"):
            extractor("inception", machine, PictureFormat(3, 32, 32))
    finally:
        weights.unlink()


def test_lpips_weights_are_read_from_the_published_files_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = AlexNet()
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    weights_folder().mkdir()
    backbone, linear = weights_folder() / ALEXNET, weights_folder() / LPIPS
    torch.save(network.state_dict() | {"classifier.1.weight": torch.zeros(2)}, backbone)  # It holds more than is used.
    layers = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS)}
    torch.save(layers, linear, _use_new_zipfile_serialization=False)  # As old as the published file.
    read, weights = load_lpips(backbone, linear)
    assert torch.equal(read.features[0].weight, network.features[0].weight) and [len(w) for w in weights] == list(CHANNELS)
    judge: Any = SimpleNamespace(digest="0c55", network=SimpleNamespace(stages=None))
    for side, name in ((LEAST_SIDE, "lpips"), (LEAST_SIDE - 1, "classifier")):
        assert perceptual(judge, Machine.choose("cpu", "float32"), PictureFormat(3, side, 64)).name == name
    assert len(read(torch.zeros(1, 3, LEAST_SIDE, 64))) == len(CHANNELS)
    with pytest.raises(RuntimeError, match="too small"):
        read(torch.zeros(1, 3, LEAST_SIDE - 1, 64))
    torch.save({}, linear)
    with pytest.raises(ConfigError, match="lpips/weights/v0.1/alex.pth"):
        load_lpips(backbone, linear)


def test_records_of_other_protocols_and_extractors_stand_beside_one_another(run: Path) -> None:
    evaluate(run, protocols=["quick"], **CPU)
    evaluate(run, protocols=["quick"], features="tests.evaluation.test_extractors:Means", **CPU)
    records = read_scores(run / "scores.json")
    one, two = records["quick/classifier/test/last"], records["quick/tests.evaluation.test_extractors:Means/test/last"]
    assert two["extractor"]["dims"] == 3 and values(one, "copy")["fid"] != values(two, "copy")["fid"]
    assert "extractor classifier" in (why_not_comparable(one, two) or "") and why_not_comparable(one, one) is None
    evaluate(run, protocols=["quick"], parameters={"pictures": 6}, **CPU)
    fewer = read_scores(run / "scores.json")["quick/classifier/test/last"]
    assert why_not_comparable(one, fewer) == "pictures 64 and 6"
