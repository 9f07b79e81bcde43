"""What the text of an exported program may say: ``torch.export.load`` evaluates expressions and calls what it names.

Loading resolves each node's ``target`` to any function of torch, evaluates size expressions as Python (sympy) and imports the modules of
containers. Everything is therefore checked against closed lists first.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+|_operator\.(\w+)")
_OPERATORS = frozenset({
    "getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_",
})  # fmt: skip
ATEN = frozenset(
    """
    abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add addcdiv addcmul addmm alias amax amin arange argmax
    as_strided avg_pool1d avg_pool2d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm broadcast_to cat ceil celu channel_shuffle
    chunk clamp clamp_max clamp_min clone concat constant_pad_nd contiguous conv1d conv2d conv_transpose2d convolution copy cos
    cumsum detach diagonal div dropout einsum elu empty eq erf exp expand expand_as eye feature_dropout fill flatten flip floor floor_divide
    full full_like gather ge gelu getitem glu group_norm gt hardsigmoid hardswish hardtanh im2col index index_select instance_norm
    layer_norm le leaky_relu lift_fresh_copy linalg_vector_norm linear log log1p log2 log_sigmoid log_softmax logical_and logical_not
    logical_or logsumexp lt masked_fill matmul max max_pool2d maximum mean meshgrid min minimum mish mm movedim mul multiply mv narrow native_batch_norm
    native_group_norm native_layer_norm ne neg new_empty new_full new_ones new_zeros norm ones ones_like pad permute pixel_shuffle
    pixel_unshuffle pow prelu prod reciprocal reflection_pad2d relu relu6 remainder repeat repeat_interleave replication_pad2d reshape
    reshape_as rms_norm roll rrelu rsqrt rsub scalar_tensor scaled_dot_product_attention select selu sigmoid silu sin slice softmax
    softplus split split_with_sizes sqrt square squeeze stack std sub sum swapaxes sym_size t tanh tensor_split tile to
    transpose tril triu type_as unbind unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest2d
    upsample_nearest_exact2d var var_mean view view_as where zeros zeros_like _softmax _log_softmax _unsafe_view _to_copy _assert_scalar
    _assert_tensor_metadata _native_batch_norm_legit_no_training sym_constrain_range sym_constrain_range_for_size
    """.split()  # noqa: SIM905 - a list of words reads better
)
"""Operators of classifiers; with an underscore at the end, those that work in place too."""
_CALLS = frozenset({
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv",
    "CeilDiv", "CeilToInt", "FloorToInt", "TruncToInt", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "ModularIndexing", "Abs",
})  # fmt: skip
_SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_REFUSED = ("as_graph", "as_operator", "as_custom_obj", "as_optional_custom_obj")
MAX_EXPRESSION, MAX_NUMBER = 500, 2**40


def problems(value: Any) -> Iterator[str]:
    """Yield what an exported program in JSON has that would run code, or is in no list."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for key, found in item.items():
                yield from _of(key, found)
        if isinstance(item, dict | list):
            stack.extend(item.values() if isinstance(item, dict) else item)


def _of(key: str, value: Any) -> Iterator[str]:
    if key == "target" and not (isinstance(value, str) and _is_operator(value)):
        yield f"the operator {str(value)[:80]!r} is not supported"
    elif key == "expr_str" and not (isinstance(value, str) and is_arithmetic(value)):
        yield f"{str(value)[:80]!r} is no arithmetic of sizes"
    elif key in ("in_spec", "out_spec") and value is not None and not _is_plain_container(value):
        yield "inputs and outputs must be tensors in tuples, lists or dictionaries"
    elif (key in _REFUSED and value is not None) or (
        key in ("custom_obj_values", "treespec_namedtuple_fields") and value
    ):
        yield f"{key} is not supported: control flow and objects of classes"
    elif key == "range_constraints" and not all(_SYMBOL.fullmatch(str(name)) for name in value or ()):
        yield "range_constraints has other keys than symbols"


def _is_operator(target: str) -> bool:
    found = _TARGET.fullmatch(target)
    if found is None:
        return False
    return found[2] in _OPERATORS if found[2] else found[1] in ATEN or found[1].removesuffix("_") in ATEN


def is_arithmetic(text: str) -> bool:
    """Return whether an expression computes with numbers and symbols of sizes only."""
    if len(text) > MAX_EXPRESSION:
        return False
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return _computes(tree)


def _computes(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int() | float() as number):
            return abs(number) <= MAX_NUMBER
        case ast.Name(id=name):
            return _SYMBOL.fullmatch(name) is not None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _computes(operand)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod()):
            return _computes(node.left) and _computes(node.right)
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int() as power)):
            return abs(power) <= 4 and _computes(left)
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str() as name)], keywords=given):
            return _SYMBOL.fullmatch(name) is not None and _are_flags(given)
        case ast.Call(func=ast.Name(id="Pow"), args=[base, ast.Call(func=ast.Name(id="Integer"), args=[power])]):
            return (
                _computes(base)
                and isinstance(power, ast.Constant | ast.UnaryOp)
                and _computes(power)
                and abs(ast.literal_eval(power)) <= 4
            )
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=given):
            return name in _CALLS - {"Symbol", "Pow"} and all(map(_computes, arguments)) and _are_flags(given)
    return False


def _are_flags(given: list[ast.keyword]) -> bool:
    return all(isinstance(word.value, ast.Constant) and isinstance(word.value.value, bool) for word in given)


def _is_plain_container(text: str) -> bool:
    try:
        level = [json.loads(text)[1]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return False
    while level:
        spec = level.pop()
        if not isinstance(spec, dict) or spec.get("type") not in _CONTAINERS or "__" in str(spec.get("context")):
            return False
        level.extend(spec.get("children_spec") or ())
    return True
