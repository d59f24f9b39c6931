# test_package_torch.py - gathermm.torch: tensors without copying, gradients, torch.compile, what is refused.
# SPDX-License-Identifier: MIT
import doctest
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; GATHERMM_TEST_TORCH names a Python with it")

import gathermm  # noqa: E402
import gathermm.torch as gt  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
PATTERNS = {  # lhs_indices, rhs_indices for 3 matrices of a and 5 of b
    "rhs": (None, [4, 0, 4]),
    "lhs": ([0, 2, 2, 1, 0], None),
    "both": ([[0], [2], [0], [1]], [3, 1]),
}


def integers(*shape, dtype=torch.float32, seed=0, most=3):
    """Small enough for every sum here to be exact in any of the types."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, shape, generator=generator).to(dtype)


def index(given, dtype=torch.int64):
    return None if given is None else torch.tensor(given, dtype=dtype)


def wanted(a, b, lhs, rhs):
    """The product by PyTorch, in double."""
    a, b = a.double(), b.double()
    lhs = torch.arange(len(a)) if lhs is None else lhs
    rhs = torch.arange(len(b)) if rhs is None else rhs
    return a[lhs] @ b[rhs]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_gather_mm_and_its_gradients(pattern, dtype):
    a, b = (integers(*shape, dtype=dtype, seed=i, most=2).requires_grad_() for i, shape in enumerate([(3, 2, 6), (5, 6, 4)]))
    lhs, rhs = map(index, PATTERNS[pattern])
    a2, b2 = (t.detach().clone().requires_grad_() for t in (a, b))
    exact = wanted(a2, b2, lhs, rhs)
    y = gt.gather_mm(a, b, lhs, rhs)
    assert y.dtype == dtype and torch.equal(y.double(), exact)
    seed = integers(*y.shape, dtype=dtype, seed=7, most=1)
    y.backward(seed)
    exact.backward(seed.double())
    assert a.grad.dtype == b.grad.dtype == dtype
    assert torch.equal(a.grad, a2.grad) and torch.equal(b.grad, b2.grad)
    with torch.no_grad():
        assert torch.equal(gathermm.gather_mm(a.detach(), b.detach(), lhs, rhs), y)  # the plain function too
        out = torch.empty(y.shape, dtype=torch.float32)
        assert gt.gather_mm(a, b, lhs, rhs, out=out) is out and torch.equal(out.double(), exact)


@pytest.mark.parametrize("shapes", [((6,), (6, 4)), ((2, 6), (6,)), ((6,), (6,)), ((2, 1, 2, 6), (5, 6, 4)), ((2, 6), (3, 6, 4)),
                                    ((0, 2, 6), (6, 4)), ((2, 2, 0), (2, 0, 4))], ids=str)
def test_as_matmul(shapes):
    a, b = (integers(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))
    a2, b2 = (t.detach().clone().requires_grad_() for t in (a, b))
    y, exact = gt.gather_mm(a, b), a2 @ b2
    assert y.shape == exact.shape and torch.equal(y, exact)
    seed = integers(*y.shape, seed=7)
    y.backward(seed)
    exact.backward(seed)
    assert torch.equal(a.grad, a2.grad) and torch.equal(b.grad, b2.grad)


def test_mixed_types_and_only_one_gradient():
    a, b = integers(3, 2, 6, dtype=torch.float16), integers(5, 6, 4, dtype=torch.bfloat16).requires_grad_()
    y = gt.gather_mm(a, b, None, index([4, 0, 4]))
    assert y.dtype == torch.float32
    y.sum().backward()
    assert b.grad.dtype == torch.bfloat16 and a.grad is None
    b2 = b.detach().float().requires_grad_()
    (a.float() @ b2[[4, 0, 4]]).sum().backward()
    assert torch.equal(b.grad.float(), b2.grad)
    twice = integers(2, 3).requires_grad_()
    first, = torch.autograd.grad(gt.gather_mm(twice, integers(3, 2)).sum(), twice, create_graph=True)
    with pytest.raises(RuntimeError):
        first.sum().backward()


FORMS = [("affine", 32, 4), ("affine", 64, 8), ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]


def packed(mode, group_size, bits, *shape):
    """Weights of few bits that the format has exactly."""
    w = integers(*shape, seed=3, most=1)
    w[..., ::16], w[..., 8::16] = -1, 1  # every group goes from -1 to 1: affine's steps hit both, and not 0
    if mode == "affine":
        w[w == 0] = 1
    form = {"mode": mode, "group_size": group_size, "bits": bits}
    parts = gt.quantize(w, **form)
    assert parts[0].dtype == torch.uint32
    values = gt.dequantize(*parts, **form, dtype=torch.float32)
    assert torch.equal(values, gt.dequantize(*parts, **form, dtype="float32"))
    return parts, form, values


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_gather_qmm_and_its_gradient(pattern, transpose, form):
    parts, form, values = packed(*form, 5, *((8, 64) if transpose else (64, 64)))
    values = values.double()
    x = integers(3, 2, 64).requires_grad_()
    x2 = x.detach().double().requires_grad_()
    lhs, rhs = (index(i, torch.int32) for i in PATTERNS[pattern])
    y = gt.gather_qmm(x, parts[0], parts[1], *(parts[2:] or (None,)), lhs, rhs, transpose, **form)
    exact = wanted(x2, values.mT if transpose else values, lhs, rhs)
    # 64 terms of one rounding each, and with affine weights another (docs/numerics.md).
    bound = 72 * 2.0**-24 * (wanted(x2.abs(), (values.mT if transpose else values).abs(), lhs, rhs)).detach()
    assert ((y.double() - exact).abs() <= bound).all()
    y.sum().backward()
    exact.sum().backward()
    size = values.abs().amax() * values.shape[-2] * y.shape.numel()
    assert ((x.grad.double() - x2.grad).abs() <= 72 * 2.0**-24 * size).all()
    words = parts[0].view(torch.int32)
    again = gt.gather_qmm(x.detach(), words, parts[1], *(parts[2:] or (None,)), lhs, rhs, transpose, **form)
    assert torch.equal(again, y)


def test_quantized_matmul():
    parts, form, values = packed("mxfp8", 32, 8, 8, 64)
    for shape in ((64,), (3, 64), (2, 3, 64), (0, 64)):
        x = integers(*shape).requires_grad_()
        y = gt.quantized_matmul(x, *parts, **form)
        assert torch.equal(y, x @ values.T) and y.shape == (x @ values.T).shape
        y.sum().backward()
        assert torch.equal(x.grad, values.sum(0).expand(shape))
        out = torch.empty(y.shape)
        assert gt.quantized_matmul(x.detach(), *parts, **form, out=out) is out and torch.equal(out, y)
    scale = 3.0
    parts = gt.quantize(values, mode="nvfp4", global_scale=torch.tensor(scale))
    eye = torch.eye(64)
    assert torch.equal(gt.quantized_matmul(eye, *parts, mode="nvfp4", global_scale=scale).T,
                       gt.dequantize(*parts, mode="nvfp4", global_scale=scale, dtype=torch.float32))


def test_nothing_is_copied():
    one = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    many = one.expand(2**40, 2, 2)  # 16 TB if it were copied
    assert torch.equal(gt.gather_mm(one, many, None, torch.tensor(2**39)), one @ one)
    view = torch.arange(24.0).reshape(4, 6).T[1::2, ::2]
    assert torch.equal(gt.gather_mm(view, view.T.flip(0).flip(0)), view @ view.T)
    out = torch.zeros(4, 4)[::2, ::2]
    assert gt.gather_mm(one, one, out=out) is out and torch.equal(out, one @ one)


def layer(dtype=torch.float32):
    rng = np.random.default_rng(1)
    return [torch.from_numpy(rng.normal(size=shape).astype(np.float32)).to(dtype) for shape in ((4, 32, 64), (4, 32, 64), (4, 64, 32))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moe_and_route(dtype):
    gate, up, down = layer(dtype)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(2)).to(dtype)
    ids, weights = gt.route(x[:, :4].float(), gt.Routing(2))
    assert ids.dtype == torch.int32 and weights.dtype == torch.float32
    for experts in (gt.Experts(down, gate, up), gt.Experts(down, gt.quantize(gate.float()), gt.quantize(up.float())),
                    gt.Experts(down, list(gate), gt.Projection(up, bias=up[:, :, 0]))):
        y = gt.moe(x, experts, ids, weights)
        assert y.dtype == dtype and torch.equal(y, gathermm.moe(x, experts, ids, weights))
        assert torch.equal(gt.moe(x, experts, ids=ids.long(), weights=weights), y)
    packed_up = gt.quantize(up.float())
    words = gt.Experts(down, gate, (packed_up[0].view(torch.int32), *packed_up[1:]))
    assert torch.equal(gt.moe(x, words, ids, weights), gt.moe(x, gt.Experts(down, gate, packed_up), ids, weights))


def test_compiled_and_meta():
    a, b, rhs = integers(3, 2, 6).requires_grad_(), integers(5, 6, 4).requires_grad_(), index([4, 0, 4])
    parts, form, values = packed("mxfp4", 32, 4, 5, 8, 64)
    x = integers(3, 2, 64).requires_grad_()

    def both(a, b, x):
        y = gt.gather_mm(a * 2, b, None, rhs, context=context).sum()
        return y + gt.gather_qmm(x, *parts, None, None, rhs, **form).square().sum()

    context = gathermm.Context(threads=1)
    want = torch.autograd.grad(both(a, b, x), (a, b, x))
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    assert all(map(torch.equal, torch.autograd.grad(compiled(a, b, x), (a, b, x)), want))
    checks = [(torch.ops.gathermm.gather_mm, (a, b, None, rhs, False, "")), (torch.ops.gathermm.gather_mm, (a, b, index([0, 1]), rhs[:2], True, "")),
              (torch.ops.gathermm.gather_qmm, (x, *parts, None, None, rhs, True, 32, 4, "mxfp4", None, False, "1 f32 "))]
    for op, args in checks:
        torch.library.opcheck(op.default, args)
    on_meta = [t.detach().to("meta") for t in (a, b, x, *parts)]
    y = gt.gather_mm(*on_meta[:2], None, rhs.to("meta"))
    assert y.device.type == "meta" and y.shape == (3, 2, 4)
    assert gt.gather_qmm(on_meta[2], *on_meta[3:], None, None, rhs.to("meta"), **form).shape == (3, 2, 8)
    broken = torch.compile(lambda t: gt.dequantize(*gt.quantize(t * 2), dtype=torch.float32) * 2, backend="aot_eager")
    w = integers(4, 64)
    assert torch.equal(broken(w), gt.dequantize(*gt.quantize(w * 2), dtype=torch.float32) * 2)


def test_refused():
    a, b = integers(3, 2, 64), integers(5, 64, 32)
    parts = gt.quantize(integers(4, 64))
    with FakeTensorMode(allow_non_fake_inputs=True):
        elsewhere = torch.empty(3, 2, 64, device="cuda")
    for call in (lambda: gt.gather_mm(elsewhere, b), lambda: gt.gather_qmm(elsewhere, *parts), lambda: gt.quantize(elsewhere),
                 lambda: gt.moe(elsewhere, gt.Experts(b)), lambda: gt.route(elsewhere, gt.Routing(1))):
        with pytest.raises(ValueError, match=r"is on cuda:0; gathermm computes on the CPU"):
            call()
    meta = torch.empty(4, 64, device="meta")
    with pytest.raises(ValueError, match='w is on "meta", and quantize has none of such'):
        gt.quantize(meta)
    with pytest.raises(ValueError, match="F64"):
        gt.gather_mm(a.double(), b.double())
    with pytest.raises(TypeError, match="a is a ndarray, not a torch.Tensor"):
        gt.gather_mm(a.numpy(), b)
    with pytest.raises(TypeError, match="context is a gathermm.Context"):
        gt.gather_mm(a, b, context=1)
    with pytest.raises(IndexError, match=r"rhs_indices\[1\] is 5"):
        gt.gather_mm(a, b, None, index([0, 5, 1]))
    wants = integers(4, 64).requires_grad_()
    with pytest.raises(ValueError, match="with out= there are none"):
        gt.gather_mm(wants, b[0], out=torch.empty(4, 32))
    with pytest.raises(ValueError, match="scales requires gradients, and only x may"):
        gt.quantized_matmul(a, parts[0], parts[1].clone().requires_grad_(), parts[2])
    for call in (lambda: gt.quantize(wants), lambda: gt.moe(wants, gt.Experts(b)), lambda: gt.route(wants, gt.Routing(1)),
                 lambda: gt.moe(wants.detach(), gt.Experts(up=b.mT, down=b.clone().requires_grad_())),
                 lambda: gt.dequantize(parts[0], parts[1].clone().requires_grad_(), parts[2])):
        with pytest.raises(ValueError, match=r"requires gradients, and \w+ has none: detach\(\) it"):
            call()
    with torch.no_grad():
        assert len(gt.quantize(wants)) == 3
    sparse = torch.eye(3).to_sparse()
    with pytest.raises((ValueError, TypeError, BufferError, RuntimeError)):
        gt.gather_mm(sparse, torch.eye(3))


def test_only_on_request():
    done = subprocess.run([sys.executable, "-c", "import sys, gathermm; raise SystemExit('torch' in sys.modules)"], timeout=60)
    assert done.returncode == 0
    result = doctest.testmod(gt)
    assert result.attempted > 20 and result.failed == 0
    old = "import torch; del torch.library.custom_op; import gathermm.torch"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, timeout=60)
    assert f"PyTorch 2.4 or newer, for torch.library.custom_op; this is {torch.__version__}" in done.stderr


def test_beside_mlx():
    """gathermm.mlx and gathermm.torch in one process, and operands of both in one call."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed here", exc_type=ImportError)
    import gathermm.mlx
    a, b, rhs = integers(3, 2, 64).requires_grad_(), integers(5, 64, 4), [4, 0, 4]
    theirs = [mx.array(t.detach().numpy()) for t in (a, b)]
    gathermm.mlx.install()
    try:
        z = mx.gather_mm(*theirs, rhs_indices=mx.array(rhs))
        y = gt.gather_mm(a, b, None, index(rhs))
        y.sum().backward()
        gradient = mx.grad(lambda a: mx.gather_mm(a, theirs[1], rhs_indices=mx.array(rhs)).sum())(theirs[0])
    finally:
        gathermm.mlx.uninstall()
    assert np.array_equal(np.array(z), y.detach().numpy()) and np.array_equal(np.array(gradient), a.grad.numpy())
    mixed = gathermm.gather_mm(a.detach(), theirs[1], None, mx.array(rhs)), gathermm.gather_mm(theirs[0], b, None, index(rhs))
    assert isinstance(mixed[0], torch.Tensor) and isinstance(mixed[1], mx.array)
    assert torch.equal(mixed[0], y) and mx.array_equal(mixed[1], z).item()
