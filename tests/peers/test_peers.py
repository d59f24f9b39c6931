# test_peers.py - bench/peers: cases, experts, packed weights, bounds, reports, and a small run of all of it.
# SPDX-License-Identifier: MIT
import csv
import io
import json
import pathlib
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import bounds
import cases
import check
import decode
import measure
import problem
import report
from peer_gathermm import PreparedGathermm
from peer_numpy import PreparedNumPy
from routing import Router

PEERS = pathlib.Path(measure.__file__).parent
FORMAT = {entry.name: entry for entry in cases.FORMATS}
SHAPE = {entry.name: entry for entry in cases.SHAPES}
SEED_SHAPE = SHAPE["seed"]


def test_parse_names_keeps_the_known_order():
    assert [f.name for f in cases.parse_names("bf16, f32", cases.FORMATS)] == ["f32", "bf16"]
    with pytest.raises(ValueError, match="'f64' is not one of: f32, f16"):
        cases.parse_names("f32,f64", cases.FORMATS)


@pytest.mark.parametrize("text", ["", "0", "-1", "1,", "1.5", "x"])
def test_parse_counts_refuses(text):
    with pytest.raises(ValueError, match="is not a number of 1 or more"):
        cases.parse_counts(text)


def test_parse_counts():
    assert cases.parse_counts("32, 1,32") == (32, 1)


def test_make_cases():
    made = cases.make_cases([SEED_SHAPE], [FORMAT["affine4"], FORMAT["f16"]], ["bf16", "f16"], (32, 1))
    assert [(c.format.name, c.activations, c.tokens) for c in made] == [
        ("affine4", "bf16", 1), ("affine4", "bf16", 32), ("f16", "f16", 1), ("f16", "f16", 32)]
    assert str(made[0]) == "seed, 1 token, affine4 weights, bf16 activations"
    layer, = cases.make_cases([SEED_SHAPE], [FORMAT["f32"]], ["f32"], (3,), "layer")
    assert str(layer) == "seed, 3 tokens, f32 weights, f32 activations, whole layer"


@pytest.mark.parametrize("tokens, experts, top_k", [(1, 128, 8), (512, 128, 8), (64, 4, 2), (3, 2, 2)])
def test_experts_are_distinct_in_a_token(tokens, experts, top_k):
    ids = Router(1, experts, top_k).draw(tokens)
    assert ids.shape == (tokens, top_k) and ids.dtype == np.int32
    assert ids.min() >= 0 and ids.max() < experts
    assert all(len(set(row)) == top_k for row in ids.tolist())


def test_experts_are_seeded_new_and_skewed():
    first, again = Router(7, 128, 8), Router(7, 128, 8)
    draws = [first.draw(512) for _ in range(2)]
    assert (draws[0] == again.draw(512)).all()
    assert (draws[0] != draws[1]).any()
    counts = np.sort(np.bincount(draws[0].ravel(), minlength=128))[::-1]
    # 8 draws by 1 / sqrt(rank + 1) without replacement: the first about 5 times, the last half as often as the mean.
    assert 3 < counts[0] / counts.mean() < 7
    assert counts[-1] < 0.9 * counts.mean()


def test_one_token_meets_experts_that_were_left_alone():
    router = Router(3, 128, 8)
    seen = [set(router.draw(1).ravel().tolist()) for _ in range(8)]
    repeated = sum(len(seen[i] & seen[i + 1]) for i in range(7))
    assert repeated <= 7  # of 56; a router of fixed ranks would repeat about a quarter


def test_copies_exceed_the_cache():
    cache = 32 << 20
    assert problem.copies_for(4 * cache, cache) == 1
    for stack in (1, 1000, cache - 1, cache, cache + 1, 4 * cache - 1):
        copies = problem.copies_for(stack, cache)
        assert copies >= 2 and copies * stack >= 2 * cache


def make_problem(format_name, activations="f32", tokens=2, what="product", shape=SEED_SHAPE):
    return problem.Problem(cases.Case(shape, tokens, FORMAT[format_name], activations, what), 1, 1 << 20)


def test_a_stack_is_the_base_turned():
    made = make_problem("f32").matrices[0]
    stack = made.stack(made.base)
    assert stack.shape == (4, 544, 512)
    columns = np.array([0, 17, 543])
    for expert in range(4):
        assert (stack[expert][columns] == made.base[made.base_rows(expert, columns)]).all()
        assert expert == 0 or (stack[expert] != stack[0]).any(axis=1).all()


def test_sample_covers_both_ends():
    ids = np.arange(128, dtype=np.int32).reshape(64, 2) % 4
    sample = make_problem("f32", tokens=64).sample(ids)
    assert (sample[0][0], sample[0][1]) == (0, 0) and (sample[-1][0], sample[-1][1]) == (63, 1)
    for token, slot, expert, columns in sample:
        assert expert == ids[token, slot] and {0, 543} <= set(columns.tolist())


def test_the_check_catches_a_wrong_expert():
    made = make_problem("f32", tokens=5)
    prepared = PreparedNumPy(made)
    ids = Router(1, 4, 2).draw(5)
    prepared.load(ids)
    prepared.run(0)
    worst, error = check.reference_check(made, prepared, ids)
    assert worst <= 1 and error < 1e-5
    prepared.load((ids + 1) % 4)
    prepared.run(0)
    assert check.reference_check(made, prepared, ids)[0] > 1000
    prepared.out[0, 0, 0] = np.nan
    assert check.reference_check(made, prepared, ids)[0] == np.inf


def test_a_layer_in_double_precision():
    """check_layer's shortcuts beside the formula, an expert's own matrices throughout."""
    made = make_problem("f32", tokens=5, what="layer")
    gate, up, down = [matrix.stack(matrix.base.astype(np.float64)) for matrix in made.matrices]
    prepared = PreparedNumPy(made)
    ids = Router(1, 4, 2).draw(5)
    prepared.load(ids)
    prepared.run(0)
    expected = np.zeros((5, 512))
    for token, slot in np.ndindex(ids.shape):
        x, expert = made.x[token].astype(np.float64), ids[token, slot]
        g = gate[expert] @ x
        expected[token] += made.weights[token, slot] * (down[expert] @ (g / (1 + np.exp(-g)) * (up[expert] @ x)))
    for got, exact, bound in check.check_layer(made, prepared, ids):
        assert np.abs(expected - exact[0]).min() <= 1e-13 * np.abs(exact[0])
        assert (np.abs(got - exact) <= bound).all()
        assert bound.max() < 0.05 * np.sqrt(np.mean(exact**2))
    assert np.abs(prepared.output() - expected).max() < 1e-5


@pytest.mark.parametrize("spoil", ["gate and up", "weights", "experts"])
def test_the_check_catches_a_wrong_layer(spoil):
    made = make_problem("f32", tokens=5, what="layer")
    prepared = PreparedNumPy(made)
    ids = Router(1, 4, 2).draw(5)
    prepared.load(ids[:, ::-1] if spoil == "weights" else (ids + 1) % 4 if spoil == "experts" else ids)
    if spoil == "gate and up":
        prepared.weights[0][:2] = prepared.weights[0][1::-1]
    prepared.run(0)
    assert check.reference_check(made, prepared, ids)[0] > 10


@pytest.mark.parametrize("spoil", ["nothing", "gate and up", "experts"])
@pytest.mark.parametrize("name", ["affine8", "affine4", "mxfp4", "nvfp4"])
def test_the_check_catches_a_wrong_layer_of_int8(name, spoil):
    """Activations rounded to int8 do not hide it."""
    import gathermm_ctypes as gmm
    made = make_problem(name, tokens=5, what="layer", shape=SHAPE["small"])
    prepared = PreparedGathermm(gmm, made, True)
    ids = Router(1, 4, 2).draw(5)
    prepared.load((ids + 1) % 4 if spoil == "experts" else ids)
    prepared.run(0)
    if spoil == "gate and up":
        prepared.bases[:2] = prepared.bases[1::-1]
    worst, _ = check.reference_check(made, prepared, ids)
    assert worst <= 1 if spoil == "nothing" else worst > 2


def test_silu_product_bound():
    """It covers what f32 does to numbers that are off by as much as is said, and is not far from that."""
    rng = np.random.default_rng(8)
    gate, up = rng.standard_normal((2, 100000)) * 4
    gate_error, up_error = np.abs(gate) * 1e-4, np.abs(up) * 1e-4
    value, bound = bounds.silu_product(gate, gate_error, up, up_error, "f32")
    g = (gate + gate_error * rng.choice([-1, 1], gate.size)).astype(np.float32)
    u = (up + up_error * rng.choice([-1, 1], up.size)).astype(np.float32)
    share = np.abs((g / (1 + np.exp(-g)) * u).astype(np.float64) - value) / bound
    assert 0.8 < share.max() <= 1


def test_e4m3_is_ml_dtypes():
    codes = np.array([code for code in range(256) if code & 127 != 127], np.uint8)
    assert (decode.e4m3(codes) == codes.view(ml_dtypes.float8_e4m3fn).astype(np.float64)).all()


@pytest.mark.parametrize("name", ["affine8", "affine4", "mxfp4", "nvfp4"])
def test_decoding_agrees_with_the_library(name):
    import gathermm_ctypes as gmm
    rows = np.random.default_rng(5).standard_normal((6, 256)).astype(np.float32)
    packed = gmm.quantize(rows, FORMAT[name].mode, FORMAT[name].group_size, FORMAT[name].bits)
    values, terms = decode.mlx(packed.w, packed.scales, packed.biases, FORMAT[name])
    assert (values.astype(np.float32) == gmm.dequantize(packed, np.float32)).all()
    assert (terms >= np.abs(values)).all()


def half(number):
    return np.array(number, np.float16).tobytes()


def row_of(*parts):
    return np.frombuffer(b"".join(bytes(part) for part in parts), np.uint8)[None, :]


def test_ggml_blocks():
    """Blocks written by hand from ggml-common.h."""
    codes = np.arange(-16, 16, dtype=np.int8)
    values, _ = decode.ggml(row_of(half(0.5), codes.tobytes()), "q8_0")
    assert (values == 0.5 * codes).all()

    low_high = bytes(j | (15 - j) << 4 for j in range(16))
    values, _ = decode.ggml(row_of(half(-2), low_high), "q4_0")
    assert values.tolist() == [[-2.0 * (j - 8) for j in range(16)] + [-2.0 * (7 - j) for j in range(16)]]

    values, _ = decode.ggml(row_of([129], low_high), "mxfp4")
    assert values[0, :8].tolist() == [0, 2, 4, 6, 8, 12, 16, 24] and values[0, 16] == -24

    # Four scales 1, 2, 0.5, 2^-9; in each group of 8 bytes the low halves come first.
    values, _ = decode.ggml(row_of([0x38, 0x40, 0x30, 1], bytes([0x72] * 32)), "nvfp4")
    assert values[0, [0, 8, 16, 24, 32, 40, 48, 56]].tolist() == [1, 6, 2, 12, 0.5, 3, 2**-9, 6 * 2**-9]


def test_ggml_q4_k():
    scales, mins = [1, 2, 3, 4, 37, 38, 39, 63], [0, 5, 6, 7, 8, 33, 62, 63]
    packed = [scales[j] | (scales[j + 4] >> 4) << 6 for j in range(4)]
    packed += [mins[j] | (mins[j + 4] >> 4) << 6 for j in range(4)]
    packed += [scales[j + 4] & 15 | (mins[j + 4] & 15) << 4 for j in range(4)]
    codes = np.random.default_rng(2).integers(0, 16, (8, 32))
    pairs = codes.reshape(4, 2, 32)
    nibbles = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)
    values, terms = decode.ggml(row_of(half(0.25), half(0.125), packed, nibbles.tobytes()), "q4_K")
    product, offset = 0.25 * np.array(scales)[:, None] * codes, 0.125 * np.array(mins)[:, None]
    assert (values == (product - offset).reshape(1, 256)).all()
    assert (terms == (product + offset).reshape(1, 256)).all()


def test_gamma():
    assert bounds.gamma(1) == pytest.approx(2.0**-24)
    with pytest.raises(AssertionError):
        bounds.gamma(512, 2.0**-8)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_activation_error_of_a_float(dtype):
    x = np.random.default_rng(3).standard_normal(4096) * np.exp2(np.arange(4096) % 12)
    rounded = x.astype(problem.DTYPES[dtype]).astype(np.float64)
    share = np.abs(rounded - x) / bounds.activation_error(x, dtype)
    assert 0.9 < share.max() <= 1


@pytest.mark.parametrize("kind, block, scale_type", [
    ("q8_0", 32, np.float16), ("q8_2", 32, ml_dtypes.bfloat16), ("q8_K", 256, np.float32)])
def test_activation_error_of_codes(kind, block, scale_type):
    """The bound holds, and is not far from what does happen."""
    x = np.random.default_rng(4).standard_normal((400, 2048)).astype(np.float32)
    blocks = x.reshape(-1, block)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    stored = scale.astype(scale_type).astype(np.float32)
    codes = np.rint(blocks / (stored if kind == "q8_2" else scale)).clip(-127, 127)
    error = np.abs((stored.astype(np.float64) * codes).reshape(x.shape) - x)
    bound = np.stack([bounds.activation_error(row.astype(np.float64), kind) for row in x])
    assert 0.85 < (error / bound).max() <= 1


def test_rounded_each_step_covers_bf16():
    """4096 ones add up to 256 in bf16."""
    bound = bounds.rounded_each_step(np.ones(4096), np.ones((1, 4096)), "bf16")
    assert 4096 - 256 < bound[0]


def test_what_random_signs_carry():
    rng = np.random.default_rng(9)
    values, error = rng.standard_normal((500, 2048)), rng.random(2048)
    sums = np.abs(values @ (error * rng.choice([-1, 1], 2048)))
    one, many = [bounds.carried(values, error, signs) for signs in (bounds.ONE, bounds.MANY)]
    assert 0.25 < np.max(sums / one) <= 1
    assert np.sqrt(np.mean(sums**2) / np.mean(many**2)) == pytest.approx(0.5, rel=0.1)
    assert (bounds.carried(values[:, :1], error[:1], bounds.ONE) == np.abs(values[:, 0]) * error[0]).all()


def test_contract_bound_catches_a_lost_term():
    x = np.random.default_rng(6).standard_normal(2048)
    w = np.random.default_rng(7).standard_normal((3, 2048))
    bound = bounds.contract(x, w, 0)
    assert (np.abs(x[5] * w[:, 5]) > bound).all()


ROW = {"what": "product", "shape": "seed", "k": 512, "n": 544, "experts": 4, "top_k": 2, "tokens": 64, "format": "f32",
       "activations": "f32", "threads": 1, "library": "gathermm", "variant": "gathermm", "version": "1",
       "repetitions": 3, "median_s": 1e-3, "min_s": 9e-4, "spread": 0.015, "ratio": 1.0, "gflop_s": 71.3,
       "error": 3e-7, "error_over_bound": 0.01}


def test_table_and_csv():
    slow = {**ROW, "library": "mlx", "variant": "mlx", "median_s": 23.456, "min_s": 0.0123456, "ratio": None}
    lines = report.table([slow, ROW]).splitlines()
    assert lines[1] == "seed, 64 tokens, f32 weights, f32 activations, 1 thread"
    assert lines[3].split() == ["gathermm", "1000", "us", "2", "%", "900", "us", "1.00", "71.3", "3e-07"]
    assert lines[4].split() == ["mlx", "23.46", "s", "2", "%", "12.3", "ms", "71.3", "3e-07"]
    file = io.StringIO()
    report.write_csv([slow, ROW], file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert rows[0]["ratio"] == "" and float(rows[1]["median_s"]) == 1e-3


def test_markdown():
    slow = {**ROW, "library": "mlx", "variant": "mlx loop", "ratio": 23.0}
    fast = {**ROW, "library": "ggml", "variant": "ggml f32", "ratio": 0.5}
    alone = {**ROW, "format": "bf16", "activations": "bf16", "threads": 2}
    assert report.markdown([slow, ROW, fast, alone]).splitlines() == [
        "Threads: 1", "", "| shape, tokens | f32 x f32 | bf16 x bf16 |", "|---|---|---|",
        "| seed, 64 | 1000 us; ggml f32 0.50 | - |", "",
        "Threads: 2", "", "| shape, tokens | f32 x f32 | bf16 x bf16 |", "|---|---|---|", "| seed, 64 | - | 1000 us |"]


def test_reports_name_layers():
    row = {**ROW, "what": "layer"}
    assert report.table([row]).splitlines()[1].startswith("seed layer, 64 tokens, f32")
    assert report.markdown([row]).splitlines()[-1] == "| seed layer, 64 | 1000 us |"


def test_markdown_of_int8():
    int8 = {**ROW, "variant": "gathermm int8", "median_s": 5e-4, "ratio": 0.5}
    other = {**ROW, "library": "ggml", "variant": "ggml q4_0", "ratio": 0.75}
    lines = report.markdown([ROW, int8, other]).splitlines()
    assert lines[-1] == "| seed, 64 | 1000 us, int8 500 us; ggml q4_0 0.75, 1.50 |"


def run(*arguments):
    return subprocess.run([sys.executable, PEERS / "run.py", *arguments], capture_output=True, text=True, check=False)


def test_run():
    """What the environment of these tests has: every library is right, and is timed."""
    done = run("--shapes", "seed", "--tokens", "1,3", "--threads", "1", "--repetitions", "2", "--libraries",
               "gathermm,mlx,numpy", "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document["libraries"]) == {"gathermm", "mlx", "numpy"}
    variants = {}
    for row in document["results"]:
        assert 0 < row["min_s"] <= row["median_s"] and row["error_over_bound"] <= 1 and row["repetitions"] == 2
        variants.setdefault((row["format"], row["activations"], row["tokens"]), []).append(row["variant"])
    assert len(variants) == 2 * 11
    assert variants["f32", "f32", 3] == ["gathermm", "mlx", "mlx loop", "numpy"]
    assert variants["nvfp4", "bf16", 1] == ["gathermm", "gathermm int8", "mlx", "mlx loop"]


def test_run_of_layers():
    done = run("--layers", "--shapes", "small,seed", "--tokens", "3", "--threads", "1", "--repetitions", "2",
               "--libraries", "gathermm,mlx,numpy", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "the case: an expert's size 544 is not a multiple of the 64 of a group (4 cases)" in done.stderr
    variants = {}
    for row in json.loads(done.stdout)["results"]:
        assert row["what"] == "layer" and row["error_over_bound"] <= 1
        assert row["gflop_s"] * row["median_s"] == pytest.approx(6 * 3 * 2 * row["k"] * row["n"] / 1e9)
        variants.setdefault((row["shape"], row["format"], row["activations"]), []).append(row["variant"])
    assert len(variants) == 11 + 7
    assert variants["small", "f32", "f32"] == ["gathermm", "mlx", "mlx loop", "numpy"]
    assert variants["small", "affine4", "bf16"] == ["gathermm", "gathermm int8", "mlx", "mlx loop"]


def test_run_names_what_is_left_out(tmp_path):
    done = run("--shapes", "seed", "--formats", "f32", "--tokens", "1", "--threads", "1,4096", "--repetitions", "1",
               "--libraries", "gathermm,ggml", "--folder", str(tmp_path / "none"), "--csv", str(tmp_path / "out.csv"))
    assert done.returncode == 0, done.stderr
    assert "ggml is left out: " in done.stderr and "4096 threads are left out" in done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("arguments, text", [
    (["--formats", "f64"], "'f64' is not one of"), (["--tokens", "0"], "'0' is not a number"),
    (["--repetitions", "0"], "'0' is not a number"), (["--plot", "a.txt"], "does not end in one of: .svg"),
    (["--formats", "f32", "--activations", "bf16"], "no format here takes these activations")])
def test_run_refuses(arguments, text):
    done = run(*arguments)
    assert done.returncode == 2 and text in done.stderr
