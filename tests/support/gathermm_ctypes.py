# gathermm_ctypes.py - the public C API from NumPy arrays, for tests and bench/peers; the library is $GATHERMM_LIBRARY.
# SPDX-License-Identifier: MIT
import ctypes
import os

import ml_dtypes
import numpy as np

bfloat16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = {
    np.dtype(np.bool_): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.uint16): 4, np.dtype(np.int16): 5,
    np.dtype(np.uint32): 6, np.dtype(np.int32): 7, np.dtype(np.uint64): 8, np.dtype(np.int64): 9,
    np.dtype(np.float16): 10, bfloat16: 11, np.dtype(np.float32): 12, np.dtype(np.float64): 13,
    np.dtype(np.complex64): 14,
}
NUMPY = {number: dtype for dtype, number in DTYPES.items()}
MAX_NDIM = 64

EXPONENT_NEAREST, EXPONENT_UP = 1, 2
TIES_SMALLER, TIES_EVEN = 1, 2


class CArray(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("ndim", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class Spec(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("ndim", ctypes.c_int32), ("shape", ctypes.c_int64 * MAX_NDIM)]

    def empty(self):
        """An array of this shape and type, full of ones in every bit: NaN, or the largest number."""
        if self.ndim < 0:
            return None
        array = np.empty(tuple(self.shape[:self.ndim]), NUMPY[self.dtype])
        array.view(np.uint8).fill(255) if array.ndim else array.fill(np.nan)
        return array


class CQuantized(ctypes.Structure):
    _fields_ = [("w", ctypes.POINTER(CArray)), ("scales", ctypes.POINTER(CArray)), ("biases", ctypes.POINTER(CArray)),
                ("global_scale", ctypes.POINTER(CArray)), ("mode", ctypes.c_char_p), ("group_size", ctypes.c_int32),
                ("bits", ctypes.c_int32)]


class CProduct(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("lhs", ctypes.POINTER(CArray)), ("rhs", ctypes.POINTER(CArray)),
                ("quantized", ctypes.POINTER(CQuantized)), ("prepared", ctypes.c_void_p), ("transpose", ctypes.c_bool),
                ("lhs_indices", ctypes.POINTER(CArray)), ("rhs_indices", ctypes.POINTER(CArray)),
                ("sorted_indices", ctypes.c_bool)]


class CMoeWeights(ctypes.Structure):
    _fields_ = [("rhs", ctypes.POINTER(CArray)), ("quantized", ctypes.POINTER(CQuantized)),
                ("prepared", ctypes.c_void_p), ("each", ctypes.c_void_p), ("each_count", ctypes.c_int64),
                ("bias", ctypes.POINTER(CArray))]


class CMoeProjections(ctypes.Structure):
    _fields_ = [("gate", CMoeWeights), ("up", CMoeWeights), ("gate_up", CMoeWeights), ("down", CMoeWeights),
                ("gate_up_layout", ctypes.c_int)]


class CMoeLayer(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("experts", CMoeProjections), ("shared", CMoeProjections),
                ("shared_gate", CMoeWeights), ("activation", ctypes.c_int), ("alpha", ctypes.c_float),
                ("limit", ctypes.c_float), ("routing", ctypes.c_void_p), ("progress", ctypes.c_void_p),
                ("progress_user", ctypes.c_void_p)]


class CQuantizeOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("mode", ctypes.c_char_p), ("group_size", ctypes.c_int32),
                ("bits", ctypes.c_int32), ("global_scale", ctypes.POINTER(CArray)), ("exponent_rule", ctypes.c_int),
                ("tie_rule", ctypes.c_int)]


class CContextOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_int32), ("cpu_mask", ctypes.c_char_p),
                ("parallel_for", ctypes.c_void_p), ("parallel_for_user", ctypes.c_void_p), ("arithmetic", ctypes.c_int),
                ("blas", ctypes.c_char_p)]


ARITHMETIC_INT8 = 2


class Error(Exception):
    """A status other than GMM_OK; .status is the number."""

    def __init__(self, status):
        super().__init__(f"{lib.gmm_status_text(status).decode()}: {lib.gmm_error_detail().decode()}")
        self.status = status


lib = ctypes.CDLL(os.environ["GATHERMM_LIBRARY"])
lib.gmm_status_text.restype = ctypes.c_char_p
lib.gmm_error_detail.restype = ctypes.c_char_p


def check(status):
    if status:
        raise Error(status)


def view(array):
    """A pointer to the gmm_array of a NumPy array, which it keeps alive; None for None."""
    if array is None:
        return None
    shape = (ctypes.c_int64 * MAX_NDIM)(*array.shape)
    strides = (ctypes.c_int64 * MAX_NDIM)(*[s // array.itemsize for s in array.strides])
    c_array = CArray(array.ctypes.data, DTYPES[array.dtype], array.ndim, shape, strides, 0)
    c_array.keep = array
    pointer = ctypes.pointer(c_array)
    pointer.keep = c_array
    return pointer


def scalar_view(number):
    return None if number is None else view(np.array(number, np.float32))


class Quantized:
    """Packed weights, as gmm_quantized has them."""

    def __init__(self, w, scales, biases=None, mode="affine", group_size=0, bits=0, global_scale=None):
        self.w, self.scales, self.biases = w, scales, biases
        self.mode, self.group_size, self.bits, self.global_scale = mode, group_size, bits, global_scale

    def pointer(self):
        views = [view(self.w), view(self.scales), view(self.biases), scalar_view(self.global_scale)]
        pointer = ctypes.pointer(CQuantized(*views, self.mode.encode(), self.group_size, self.bits))
        pointer.keep = views
        return pointer


def quantize(w, mode="affine", group_size=0, bits=0, global_scale=None, exponent_rule=0, tie_rule=0):
    """A Quantized; .biases is None for modes without."""
    global_view = scalar_view(global_scale)
    options = CQuantizeOptions(ctypes.sizeof(CQuantizeOptions), mode.encode(), group_size, bits, global_view,
                               exponent_rule, tie_rule)
    specs = [Spec(), Spec(), Spec()]
    check(lib.gmm_quantize_spec(view(w), ctypes.byref(options), *[ctypes.byref(s) for s in specs]))
    outputs = [spec.empty() for spec in specs]
    check(lib.gmm_quantize(None, view(w), ctypes.byref(options), *[view(o) for o in outputs]))
    return Quantized(*outputs, mode, group_size, bits, global_scale)


def dequantize(quantized, dtype=None):
    pointer = quantized.pointer()
    spec = Spec()
    check(lib.gmm_dequantize_spec(pointer, ctypes.byref(spec)))
    if dtype is not None:
        spec.dtype = DTYPES[np.dtype(dtype)]
    out = spec.empty()
    check(lib.gmm_dequantize(None, pointer, view(out)))
    return out


def to_fp8(x):
    out = np.empty(x.shape, np.uint8)
    check(lib.gmm_to_fp8(view(x), view(out)))
    return out


def from_fp8(x, dtype=bfloat16):
    out = np.empty(x.shape, dtype)
    check(lib.gmm_from_fp8(view(x), view(out)))
    return out


def context(**options):
    """A gmm_context, for good."""
    pointer = ctypes.c_void_p()
    check(lib.gmm_context_create(ctypes.byref(CContextOptions(ctypes.sizeof(CContextOptions), **options)),
                                 ctypes.byref(pointer)))
    return pointer


class Product:
    """A gmm_product of arrays, which it keeps alive, to be run more than once; indices may change in place."""

    def __init__(self, lhs, rhs=None, quantized=None, transpose=False, lhs_indices=None, rhs_indices=None,
                 sorted_indices=False):
        self.views = [view(lhs), view(rhs), quantized and quantized.pointer(), view(lhs_indices), view(rhs_indices)]
        left, right, packed, left_indices, right_indices = self.views
        self.product = CProduct(ctypes.sizeof(CProduct), left, right, packed, None, transpose, left_indices,
                                right_indices, sorted_indices)
        self.pointer = ctypes.byref(self.product)

    def empty(self):
        """An array for the result, full of NaN."""
        spec = Spec()
        check(lib.gmm_result_spec(self.pointer, ctypes.byref(spec)))
        return spec.empty()

    def run(self, out_view, context=None):
        """gmm_run, into view(an array)."""
        check(lib.gmm_run(context, self.pointer, out_view))


class Layer:
    """A gmm_moe_plan of three stacks, each an array (E, N, K) or Quantized, with SiLU; ids may change in place. It
    keeps the arrays alive."""

    def __init__(self, x, gate, up, down, ids, weights, context=None):
        self.x = x
        self.views = [view(x), view(ids), view(weights)]
        self.stacks = [stack.pointer() if isinstance(stack, Quantized) else view(stack) for stack in (gate, up, down)]
        layer = CMoeLayer(ctypes.sizeof(CMoeLayer))
        for name, stack, pointer in zip(("gate", "up", "down"), (gate, up, down), self.stacks):
            setattr(getattr(layer.experts, name), "quantized" if isinstance(stack, Quantized) else "rhs", pointer)
        self.plan = ctypes.c_void_p()
        check(lib.gmm_moe_plan_create(context, ctypes.byref(layer), ctypes.c_int64(len(x)), ids.shape[1],
                                      ctypes.byref(self.plan)))

    def empty(self):
        return np.full(self.x.shape, np.nan, self.x.dtype)

    def run(self, out_view, context=None):
        """gmm_moe_plan_run, in the plan's own context."""
        check(lib.gmm_moe_plan_run(self.plan, *self.views, out_view))

    def __del__(self):
        lib.gmm_moe_plan_destroy(self.plan)


def product(lhs, **operands):
    """gmm_run, into an output that held NaN."""
    call = Product(lhs, **operands)
    out = call.empty()
    call.run(view(out))
    return out


def gather_mm(a, b, lhs_indices=None, rhs_indices=None):
    return product(a, rhs=b, lhs_indices=lhs_indices, rhs_indices=rhs_indices)


def gather_qmm(x, quantized, lhs_indices=None, rhs_indices=None, transpose=True):
    return product(x, quantized=quantized, transpose=transpose, lhs_indices=lhs_indices, rhs_indices=rhs_indices)


def quantized_matmul(x, quantized, transpose=True):
    return product(x, quantized=quantized, transpose=transpose)
