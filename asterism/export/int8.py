"""Static quantisation of an ONNX file to 8 bits: the ranges of activations come from calibration pictures.

Convolutions compute in integers, all but the first and the last, which see and make the picture itself: their rounding would
show. Where that is not enough, more of them stay in float32 (`exemptions`). Transposed convolutions, norms and linear layers
stay there too, as onnxruntime's processors have no integer kernels for them. Weights have a scale per channel and 7 bits,
since the products of processors without VNNI overflow on 8.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from asterism.export.onnx_file import silence
from asterism.storage.model_file import ModelError
from asterism.storage.whole import write_whole


def exemptions(source: Path) -> list[list[str]]:
    """Return which convolutions of a float32 file may stay in float32, ever more of them.

    First those that see and make the picture; then those of one pixel, which carry the sum that blocks add to and no norm
    ever evens out; then their neighbours at both ends.

    Raises:
        ModelError: there are no others.
    """
    import onnx

    graph = onnx.load(source).graph
    sizes = {weights.name: list(weights.dims) for weights in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    names = [node.name for node in nodes]
    if len(names) < 3:
        raise ModelError(
            "int8 computes convolutions in integers, all but the first and the last, and this model has "
            f"{len(names) or 'none'} (transposed ones do not count): take --precision float16"
        )
    points = [node.name for node in nodes if sizes.get(node.input[1], [0])[2:] == [1, 1]]
    ends = {names[0], names[-1]}
    steps = [ends, ends | set(points), ends | set(points) | {*names[:2], *names[-4:]}]
    distinct = [step for i, step in enumerate(steps) if step not in steps[:i]]
    return [[name for name in names if name in step] for step in distinct]


def quantize(
    source: Path, path: Path, calibration: Sequence[Mapping[str, Tensor]], facts: Mapping[str, str], kept: Sequence[str]
) -> None:
    """Write the int8 form of an ONNX file.

    Args:
        source: the float32 file.
        path: the file to write.
        calibration: inputs, a batch each.
        facts: the metadata of the new file.
        kept: convolutions that stay in float32, one of `exemptions`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Mapping[str, Tensor]] = iter(calibration)

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: x.numpy() for name, x in batch.items()}

    with tempfile.TemporaryDirectory() as folder, silence():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            source,
            file,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=list(kept),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        proto = onnx.load(file)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(facts))
    proto.producer_name = "asterism"
    write_whole(path, proto.SerializeToString(), sync=True)
