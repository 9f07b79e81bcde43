"""What to type where a PyTorch file contains code instead of weights."""

from __future__ import annotations

ADVICE = (
    "in the program that defines the model, write it as ONNX: model = torch.load('{name}', weights_only=False).eval(); "
    "images = torch.rand(2, 3, 32, 32)  # the size of your images; "
    "torch.onnx.export(model, (images,), 'model.onnx', dynamo=True, dynamic_shapes=({{0: torch.export.Dim.AUTO}},))"
)
SCRIPTED = (
    "with the model before torch.jit.script or trace: images = torch.rand(2, 3, 32, 32)  # the size of your images; "
    "program = torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)); "
    "torch.export.save(program, 'model.pt2')"
)
