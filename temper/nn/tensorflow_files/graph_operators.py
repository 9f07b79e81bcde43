"""The closed list of TensorFlow operators that a SavedModel's graph may contain: they compute from their inputs alone."""

from __future__ import annotations

_MATHEMATICS = """
Abs Acos Acosh AddN AddV2 Add AdjustContrastv2 AdjustHue AdjustSaturation All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool
BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Ceil ClipByValue Conv2D
Conv2DBackpropInput Cos Cosh CropAndResize CudnnRNN CudnnRNNBackprop Cumprod Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu
Erf Erfc Exp Expm1 Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Greater GreaterEqual
HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 Inv InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less
LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul
Neg NotEqual Equal OneHot Pad PadV2 Pow Prod RGBToHSV RealDiv Reciprocal Relu Relu6 ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2
Round Roll Rsqrt ScaleAndTranslate Select SelectV2 Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign SpaceToBatchND
SpaceToDepth Sqrt Square SquaredDifference Sub Sum Tan Tanh TopKV2 Xdivy Xlogy
"""
_SHAPES = """
Bitcast Cast ConcatOffset ConcatV2 Const EnsureShape ExpandDims Fill Gather GatherNd GatherV2 LinSpace OnesLike Pack ParallelConcat Rank
Range Reshape ScatterNd Shape ShapeN Size Slice Split SplitV Squeeze StridedSlice StridedSliceGrad TensorListElementShape
TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack TensorScatterUpdate Tile Transpose Unpack
Where ZerosLike
"""
_FLOW = """
Assert Case Identity IdentityN If IteratorGetNext NoOp PartitionedCall Placeholder PlaceholderWithDefault PreventGradient
StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient While
"""
_VARIABLES = """
AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather VarHandleOp VarIsInitializedOp
"""
_RANDOM = """
RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip StatelessRandomGetKeyCounter StatelessRandomNormalV2
StatelessRandomUniform StatelessRandomUniformFullIntV2 StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormalV2
TruncatedNormal
"""

PURE = frozenset(" ".join((_MATHEMATICS, _SHAPES, _FLOW, _VARIABLES, _RANDOM)).split())
"""Operators without effects outside of the model; control flow calls functions of the same graph only."""
SAVING = frozenset(
    {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"}
)
"""Operators with which TensorFlow saves and restores variables; never run here."""
