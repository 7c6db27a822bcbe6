//! The global names that a pickle may use, and their meaning here.

/// The meaning of a global name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::checkpoint::state) enum Global<'a> {
    /// `torch._utils._rebuild_tensor_v2` and its predecessor.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`, for types without their own storage class.
    RebuildTypedTensor,
    /// A function for tensors without plain numbers.
    RebuildOther(Unusable),
    /// A wrapper of its first argument, such as `torch._utils._rebuild_parameter`.
    First,
    /// `torch._tensor._rebuild_from_type_v2`: a function, a type, and the function's arguments.
    RebuildFromType,
    /// A dictionary: `collections.OrderedDict`.
    Dict,
    /// An object with named values: `argparse.Namespace`.
    Namespace,
    /// A tuple, list or set of the argument's values.
    Sequence,
    /// `torch.FloatStorage` and the like: the type's name.
    Storage(&'a str),
    /// `torch.float32` and the like: the name behind the dot.
    Dtype(&'a str),
    /// Something harmless that holds no weights.
    Opaque,
}

/// Tensors without plain numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::checkpoint::state) enum Unusable {
    Quantised,
    Sparse,
    Nested,
    /// On PyTorch's meta device: no numbers.
    Meta,
    /// Tensor subclasses that wrap several tensors, such as distributed ones.
    Wrapped,
    /// On an accelerator, saved as a numpy array.
    Device,
}

impl Unusable {
    /// Its name in messages, in place of a dtype.
    pub(in crate::checkpoint::state) fn name(self) -> &'static str {
        match self {
            Self::Quantised => "quantised",
            Self::Sparse => "sparse",
            Self::Nested => "nested",
            Self::Meta => "without numbers",
            Self::Wrapped => "wrapped",
            Self::Device => "of another device",
        }
    }
}

/// PyTorch's names of dtypes, layouts and the like.
const TYPES: [&str; 34] = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "qint8",
    "quint8",
    "qint32",
    "quint4x2",
    "quint2x4",
    "per_tensor_affine",
    "per_channel_affine",
    "per_tensor_symmetric",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
    "contiguous_format",
    "channels_last",
];

impl<'a> Global<'a> {
    /// The meaning of `module.name`, or `None` for a name that no checkpoint of weights needs.
    pub(super) fn known(module: &'a str, name: &'a str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTypedTensor,
            ("torch._utils", "_rebuild_qtensor") => Self::RebuildOther(Unusable::Quantised),
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
                Self::RebuildOther(Unusable::Sparse)
            }
            ("torch._utils", "_rebuild_nested_tensor") => Self::RebuildOther(Unusable::Nested),
            ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
                Self::RebuildOther(Unusable::Meta)
            }
            ("torch._utils", "_rebuild_wrapper_subclass") => Self::RebuildOther(Unusable::Wrapped),
            ("torch._utils", "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor") => {
                Self::RebuildOther(Unusable::Device)
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::First,
            ("torch.nn.parameter", "Parameter" | "Buffer") => Self::First,
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => {
                Self::RebuildFromType
            }
            ("collections", "OrderedDict" | "defaultdict") => Self::Dict,
            ("argparse", "Namespace") | ("types", "SimpleNamespace") => Self::Namespace,
            ("torch", "Size") => Self::Sequence,
            ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") => Self::Sequence,
            ("torch" | "torch.cuda" | "torch.storage", _) if name.ends_with("Storage") => {
                Self::Storage(name)
            }
            ("torch", name) if TYPES.contains(&name) => Self::Dtype(name),
            // What training scripts store beside the weights: settings, counters, sizes, paths.
            ("_codecs", "encode")
            | ("collections", "Counter")
            | ("datetime", "date" | "datetime" | "timedelta")
            | ("torch", "device" | "Tensor" | "Generator")
            | ("torch.serialization", "_get_layout")
            | (
                "pathlib" | "pathlib._local",
                "Path" | "PosixPath" | "WindowsPath" | "PurePosixPath",
            )
            | ("numpy", "dtype" | "ndarray")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
            | ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::Opaque,
            ("numpy.dtypes", name) if name.ends_with("DType") => Self::Opaque,
            (
                "builtins" | "__builtin__",
                "int" | "float" | "bool" | "str" | "complex" | "slice",
            ) => Self::Opaque,
            _ => return None,
        })
    }
}
