"""Checks that a model leaves Python: torch.export with a batch of any size, and ONNX."""

import importlib.util
import logging
import warnings
from typing import Any, cast

import torch
from torch.export import Dim, ExportedProgram, ShapesCollection, export
from torch.onnx import ONNXProgram
from torch.utils.flop_counter import FlopCounterMode

from clicksmith.batch.batch import Inputs
from clicksmith.testing.subject import Subject, require_close


def check_exports_with_a_batch_of_any_size(subject: Subject) -> None:
    """The exported program agrees with the model on batches of other sizes."""
    model = subject.model()
    program = exported(model, subject.inputs(4)).module()
    for rows in (1, 7):
        inputs = subject.inputs(rows, seed=rows)
        logits, what = program(inputs).logits, f"logits of the exported model, {rows} rows"
        with FlopCounterMode(display=False):  # a watching mode: torch's operations, those of the program
            require_close(logits, model(inputs).logits, what, 1e-5)
        require_close(logits, model(inputs).logits, f"{what}, beside the kernels")  # they sum in another order


def check_onnx_agrees(subject: Subject) -> None:
    """ONNX Runtime gives the same logits on a batch of another size; passes where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnxscript") is None:
        return
    import onnxruntime

    model = subject.model()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx = torch.onnx.export(exported(model, subject.inputs(4)), dynamo=True, verbose=False)
    content = cast("ONNXProgram", onnx).model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = subject.inputs(6, seed=6)
    feed = {node.name: leaf.numpy() for node, leaf in zip(session.get_inputs(), tensors_of(inputs), strict=True)}
    require_close(torch.from_numpy(session.run(None, feed)[0]), model(inputs).logits, "logits of ONNX Runtime", 1e-4)


def exported(model: torch.nn.Module, inputs: Inputs) -> ExportedProgram:
    """Return the program of a model in evaluation mode, its batch axis free."""
    batch = Dim("batch")
    shapes = ShapesCollection()
    for leaf in tensors_of(inputs):
        shapes[leaf] = {0: batch}
    with torch.no_grad():
        return export(model, (inputs,), dynamic_shapes=cast("Any", shapes), strict=False)


def tensors_of(inputs: Inputs) -> list[torch.Tensor]:
    """Return every tensor of the inputs, in the order in which an exported program takes them."""
    histories: list[Any] = [t for h in inputs.histories.values() for t in (h.ids, h.mask)]
    found = [inputs.ids, inputs.numeric, *inputs.bags.values(), *inputs.vectors.values(), *histories, inputs.domain]
    return [tensor for tensor in found if tensor is not None]
