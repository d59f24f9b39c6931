#!/usr/bin/env python3
"""make_models.py - tiny random models of every family, with what their layers are and give, in double precision.

usage: make_models.py FOLDER

FOLDER/NAME is a checkpoint with the family's own names, shapes and types. FOLDER/NAME.reference.safetensors has, for
each layer N with experts, every matrix decoded (N.gate, N.up, N.down, ..., F64), hidden states N.x (F32) and the
layer's output N.y (F64). Decoders and formulas are written here from the published ones, with Python's own library
only; nothing of gathermm is used.
"""
# SPDX-License-Identifier: MIT
import array
import math
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
import tensor_files  # noqa: E402

TOKENS = 5
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]

# ---- numbers


def f32(value):
    """Round to f32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def bf16(value):
    """Round an f32 to bf16, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def e2m1(code):
    """The value of a 4-bit code."""
    return -E2M1[code & 7] if code & 8 else E2M1[code]


def e4m3(code):
    """The value of an 8-bit code that is no NaN."""
    exponent, fraction = code >> 3 & 15, code & 7
    value = fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -value if code & 128 else value


class Maker:
    """Random tensors under the names of a checkpoint; remembers what they decode to."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tensors = {}
        self.reference = {}

    def values(self, count, dtype, deviation):
        """Random numbers that the type has."""
        to = {"BF16": bf16, "F32": f32, "F16": lambda v: struct.unpack("<e", struct.pack("<e", v))[0]}[dtype]
        return [to(f32(self.random.gauss(0.0, deviation))) for _ in range(count)]

    def dense(self, name, dtype, *shape, deviation=0.1):
        """A tensor of floats; returns its values."""
        values = self.values(math.prod(shape), dtype, deviation)
        self.tensors[name] = (dtype, list(shape), tensor_files.floats(dtype, values))
        return values

    def affine(self, module, bits, group, *shape, dtype="BF16"):
        """A module of random codes, scales and biases in MLX's affine format."""
        count, cols = math.prod(shape), shape[-1]
        codes = [self.random.randrange(1 << bits) for _ in range(count)]
        scales = [abs(v) for v in self.values(count // group, dtype, 0.02)]
        biases = self.values(count // group, dtype, 0.1)
        words = bytearray()
        for row in range(0, count, cols):
            stream = 0
            for i in range(cols):
                stream |= codes[row + i] << i * bits
            words += stream.to_bytes(cols * bits // 8, "little")
        lead = list(shape[:-1])
        self.tensors[module + ".weight"] = ("U32", lead + [cols * bits // 32], bytes(words))
        self.tensors[module + ".scales"] = (dtype, lead + [cols // group], tensor_files.floats(dtype, scales))
        self.tensors[module + ".biases"] = (dtype, lead + [cols // group], tensor_files.floats(dtype, biases))
        return [f32(scales[i // group] * codes[i] + biases[i // group]) for i in range(count)]

    def mxfp4(self, codes_name, scales_name, codes_dtype, *shape):
        """Blocks of 32 E2M1 codes with an E8M0 scale, the even element in the low half of a byte."""
        count, cols = math.prod(shape), shape[-1]
        codes = [self.random.randrange(16) for _ in range(count)]
        scales = [self.random.randrange(118, 125) for _ in range(count // 32)]
        data = bytes(codes[i] | codes[i + 1] << 4 for i in range(0, count, 2))
        lead = list(shape[:-1])
        last = [cols // 32, 16] if codes_dtype == "U8" else [cols // 8]
        self.tensors[codes_name] = (codes_dtype, lead + last, data)
        self.tensors[scales_name] = ("U8", lead + [cols // 32], bytes(scales))
        return [e2m1(codes[i]) * 2.0 ** (scales[i // 32] - 127) for i in range(count)]

    def fp8(self, module, rows, cols):
        """E4M3 codes with an f32 scale for each 128 x 128 block; returns the values as f32, not yet rounded to bf16."""
        codes = bytes((self.random.randrange(127) | self.random.randrange(2) << 7) for _ in range(rows * cols))
        across = -(-cols // 128)
        scales = [f32(self.random.uniform(1e-3, 4e-3)) for _ in range(-(-rows // 128) * across)]
        self.tensors[module + ".weight"] = ("F8_E4M3", [rows, cols], codes)
        self.tensors[module + ".weight_scale_inv"] = (
            "F32", [-(-rows // 128), across], tensor_files.floats("F32", scales))
        table = [e4m3(code) if code & 127 != 127 else math.nan for code in range(256)]
        return [f32(table[codes[r * cols + c]] * scales[r // 128 * across + c // 128])
                for r in range(rows) for c in range(cols)]

    def keep(self, name, values, *shape, dtype="F64"):
        """Put values into the reference."""
        data = array.array("d", values).tobytes() if dtype == "F64" else tensor_files.floats(dtype, values)
        self.reference[name] = (dtype, list(shape), data)

    def others(self, hidden):
        """What is in a checkpoint besides layers of experts."""
        self.dense("model.embed_tokens.weight", "BF16", 7, hidden)
        self.dense("model.layers.0.self_attn.q_proj.weight", "BF16", hidden, hidden)
        self.dense("model.norm.weight", "BF16", hidden)


# ---- layers


class Layer:
    """The decoded weights of one layer; lists of rows after one another."""

    def __init__(self, experts, hidden, inner):
        self.experts, self.hidden, self.inner = experts, hidden, inner
        self.router = self.router_bias = self.correction = None
        self.gate = self.up = self.down = None
        self.gate_bias = self.up_bias = self.down_bias = None
        self.shared = None  # gate, up, down, inner


def product(weights, at, rows, cols, x, bias=None):
    """Rows of a matrix, which begins at `at`, times x."""
    return [math.fsum(w * v for w, v in zip(weights[at + r * cols : at + (r + 1) * cols], x))
            + (bias[r] if bias else 0.0) for r in range(rows)]


def silu(g, u):
    """SwiGLU."""
    return g / (1.0 + math.exp(-g)) * u


def clamped(g, u):
    """gpt-oss's SwiGLU; its alpha is an f32 wherever it is computed."""
    g, u = min(g, 7.0), max(-7.0, min(u, 7.0))
    return g / (1.0 + math.exp(-f32(1.702) * g)) * (u + 1.0)


def softmax(values):
    """Softmax of a list."""
    largest = max(values)
    powers = [math.exp(v - largest) for v in values]
    return [p / math.fsum(powers) for p in powers]


def largest(values, count):
    """Numbers of the largest values."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]


def route_topk_softmax(layer, logits, config):
    """Mixtral, gpt-oss."""
    chosen = largest(logits, config["num_experts_per_tok"])
    return chosen, softmax([logits[e] for e in chosen])


def route_softmax_topk(layer, logits, config):
    """Qwen3-MoE."""
    scores = softmax(logits)
    chosen = largest(scores, config["num_experts_per_tok"])
    weights = [scores[e] for e in chosen]
    return chosen, [w / math.fsum(weights) for w in weights] if config["norm_topk_prob"] else weights


def route_sigmoid(layer, logits, config):
    """DeepSeek-V3, as Transformers and MLX have it."""
    scores = [1.0 / (1.0 + math.exp(-v)) for v in logits]
    choice = [s + b for s, b in zip(scores, layer.correction)]
    groups, size = config["n_group"], layer.experts // config["n_group"]
    if groups > 1:
        best = [sum(sorted(choice[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
        kept = largest(best, config["topk_group"])
        choice = [c if e // size in kept else 0.0 for e, c in enumerate(choice)]
    chosen = largest(choice, config["num_experts_per_tok"])
    weights = [scores[e] for e in chosen]
    if len(chosen) > 1 and config["norm_topk_prob"]:
        weights = [w / math.fsum(weights) for w in weights]
    return chosen, [w * config["routed_scaling_factor"] for w in weights]


def bias_of(bias, expert, rows):
    """The part of one expert."""
    return bias[expert * rows : (expert + 1) * rows] if bias else None


def run_expert(layer, expert, x, activation):
    """One expert on one token."""
    hidden, inner = layer.hidden, layer.inner
    size = inner * hidden
    gate = product(layer.gate, expert * size, inner, hidden, x, bias_of(layer.gate_bias, expert, inner))
    up = product(layer.up, expert * size, inner, hidden, x, bias_of(layer.up_bias, expert, inner))
    inside = [activation(g, u) for g, u in zip(gate, up)]
    return product(layer.down, expert * size, hidden, inner, inside, bias_of(layer.down_bias, expert, hidden))


def run_token(layer, x, route, activation, config):
    """The layer on one token."""
    logits = product(layer.router, 0, layer.experts, layer.hidden, x, layer.router_bias)
    chosen, weights = route(layer, logits, config)
    out = [0.0] * layer.hidden
    for expert, weight in zip(chosen, weights):
        out = [o + weight * y for o, y in zip(out, run_expert(layer, expert, x, activation))]
    if layer.shared:
        gate, up, down, inner = layer.shared
        g = product(gate, 0, inner, layer.hidden, x)
        u = product(up, 0, inner, layer.hidden, x)
        y = product(down, 0, layer.hidden, inner, [silu(a, b) for a, b in zip(g, u)])
        out = [o + v for o, v in zip(out, y)]
    return out


def keep_layer(maker, number, layer, route, activation, config):
    """Write a layer's matrices, inputs and outputs to the reference."""
    experts, hidden, inner = layer.experts, layer.hidden, layer.inner
    parts = {
        "router": (experts, hidden), "router_bias": (experts,), "correction": (experts,),
        "gate": (experts, inner, hidden), "up": (experts, inner, hidden), "down": (experts, hidden, inner),
        "gate_bias": (experts, inner), "up_bias": (experts, inner), "down_bias": (experts, hidden),
    }
    for part, shape in parts.items():
        if getattr(layer, part):
            maker.keep(f"{number}.{part}", getattr(layer, part), *shape)
    if layer.shared:
        gate, up, down, width = layer.shared
        maker.keep(f"{number}.shared_gate", gate, width, hidden)
        maker.keep(f"{number}.shared_up", up, width, hidden)
        maker.keep(f"{number}.shared_down", down, hidden, width)
    x = maker.values(TOKENS * hidden, "F32", 1.0)
    maker.keep(f"{number}.x", x, TOKENS, hidden, dtype="F32")
    y = []
    for token in range(TOKENS):
        y += run_token(layer, x[token * hidden : (token + 1) * hidden], route, activation, config)
    maker.keep(f"{number}.y", y, TOKENS, hidden)


# ---- families


def mixtral(maker, mlx):
    """Mixtral; as converted, every module has 4 bits in groups of 64, but one that config.json names."""
    experts, hidden, inner = 4, 64, 128
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": 2, "num_local_experts": experts, "num_experts_per_tok": 2,
        "hidden_act": "silu", "rms_norm_eps": 1e-05, "sliding_window": None,
    }
    if mlx:
        config["quantization"] = {
            "group_size": 64, "bits": 4, "model.layers.1.block_sparse_moe.switch_mlp.down_proj": {
                "group_size": 32, "bits": 6}}
        config["quantization_config"] = config["quantization"]
    for number in range(2):
        prefix = f"model.layers.{number}.block_sparse_moe."
        layer = Layer(experts, hidden, inner)
        if mlx:
            layer.router = maker.affine(prefix + "gate", 4, 64, experts, hidden)
            layer.gate = maker.affine(prefix + "switch_mlp.gate_proj", 4, 64, experts, inner, hidden)
            layer.up = maker.affine(prefix + "switch_mlp.up_proj", 4, 64, experts, inner, hidden)
            bits, group = (6, 32) if number else (4, 64)
            layer.down = maker.affine(prefix + "switch_mlp.down_proj", bits, group, experts, hidden, inner)
        else:
            layer.router = maker.dense(prefix + "gate.weight", "BF16", experts, hidden)
            layer.gate, layer.up, layer.down = [], [], []
            for e in range(experts):
                layer.gate += maker.dense(f"{prefix}experts.{e}.w1.weight", "BF16", inner, hidden)
                layer.down += maker.dense(f"{prefix}experts.{e}.w2.weight", "BF16", hidden, inner)
                layer.up += maker.dense(f"{prefix}experts.{e}.w3.weight", "BF16", inner, hidden)
        keep_layer(maker, number, layer, route_topk_softmax, silu, config)
    maker.others(hidden)
    return config


def qwen3_moe(maker, mlx):
    """Qwen3-MoE; layer 1 is dense. As converted, 4 bits in groups of 32 and 8 bits for routers; else f16."""
    experts, hidden, inner = 6, 64, 32
    config = {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": hidden,
        "intermediate_size": 96, "moe_intermediate_size": inner, "num_hidden_layers": 3, "num_experts": experts,
        "num_experts_per_tok": 3, "hidden_act": "silu", "norm_topk_prob": True, "decoder_sparse_step": 1,
        "mlp_only_layers": [1],
    }
    if mlx:
        config["quantization"] = {"group_size": 32, "bits": 4, "mode": "affine"}
    for number in range(3):
        prefix = f"model.layers.{number}.mlp."
        if number == 1:
            maker.dense(prefix + "gate_proj.weight", "BF16", 96, hidden)
            continue
        layer = Layer(experts, hidden, inner)
        if mlx:
            config["quantization"][prefix + "gate"] = {"group_size": 64, "bits": 8}
            layer.router = maker.affine(prefix + "gate", 8, 64, experts, hidden, dtype="F16")
            layer.gate = maker.affine(prefix + "switch_mlp.gate_proj", 4, 32, experts, inner, hidden)
            layer.up = maker.affine(prefix + "switch_mlp.up_proj", 4, 32, experts, inner, hidden)
            layer.down = maker.affine(prefix + "switch_mlp.down_proj", 4, 32, experts, hidden, inner)
        else:
            layer.router = maker.dense(prefix + "gate.weight", "F16", experts, hidden)
            layer.gate, layer.up, layer.down = [], [], []
            for e in range(experts):
                layer.gate += maker.dense(f"{prefix}experts.{e}.gate_proj.weight", "F16", inner, hidden)
                layer.up += maker.dense(f"{prefix}experts.{e}.up_proj.weight", "F16", inner, hidden)
                layer.down += maker.dense(f"{prefix}experts.{e}.down_proj.weight", "F16", hidden, inner)
        keep_layer(maker, number, layer, route_softmax_topk, silu, config)
    maker.others(hidden)
    return config


def transposed(values, count, rows, cols):
    """(count, rows, cols) of values that lie as (count, cols, rows)."""
    return [values[(e * cols + c) * rows + r] for e in range(count) for r in range(rows) for c in range(cols)]


def split_rows(values, width):
    """Even rows and odd rows."""
    rows = [values[i : i + width] for i in range(0, len(values), width)]
    return [v for row in rows[0::2] for v in row], [v for row in rows[1::2] for v in row]


def gpt_oss(maker, layout):
    """gpt-oss: blocks as released, plain matrices as fine-tunes may have them, or as converted."""
    experts, hidden, inner = 4, 64, 96
    config = {
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": 2, "num_local_experts": experts, "num_experts_per_tok": 2,
        "experts_per_token": 2, "hidden_act": "silu", "swiglu_limit": 7.0,
    }
    if layout == "hf":
        config["quantization_config"] = {
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"],
            "quant_method": "mxfp4"}
    if layout == "mlx":
        config["quantization"] = {
            "group_size": 32, "bits": 4, "mode": "mxfp4",
            **{f"model.layers.{n}.mlp.router": {"group_size": 64, "bits": 8} for n in range(2)}}
    for number in range(2):
        prefix = f"model.layers.{number}.mlp."
        layer = Layer(experts, hidden, inner)
        if layout == "mlx":
            layer.router = maker.affine(prefix + "router", 8, 64, experts, hidden)
        else:
            layer.router = maker.dense(prefix + "router.weight", "BF16", experts, hidden)
        layer.router_bias = maker.dense(prefix + "router.bias", "BF16", experts)
        if layout == "mlx":
            for part, rows, cols in (("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)):
                module = f"{prefix}experts.{part}_proj"
                setattr(layer, part, maker.mxfp4(module + ".weight", module + ".scales", "U32", experts, rows, cols))
                setattr(layer, part + "_bias", maker.dense(module + ".bias", "BF16", experts, rows))
        else:
            name = prefix + "experts.gate_up_proj"
            if layout == "hf":
                both = maker.mxfp4(name + "_blocks", name + "_scales", "U8", experts, 2 * inner, hidden)
            else:
                both = transposed(maker.dense(name, "BF16", experts, hidden, 2 * inner), experts, 2 * inner, hidden)
            layer.gate, layer.up = split_rows(both, hidden)
            layer.gate_bias, layer.up_bias = split_rows(maker.dense(name + "_bias", "BF16", experts, 2 * inner), 1)
            name = prefix + "experts.down_proj"
            if layout == "hf":
                layer.down = maker.mxfp4(name + "_blocks", name + "_scales", "U8", experts, hidden, inner)
            else:
                layer.down = transposed(maker.dense(name, "BF16", experts, inner, hidden), experts, hidden, inner)
            layer.down_bias = maker.dense(name + "_bias", "BF16", experts, hidden)
        keep_layer(maker, number, layer, route_topk_softmax, clamped, config)
    maker.others(hidden)
    return config


def deepseek_fp8(maker, number, prefix, layer, width):
    """As released: fp8, sizes that fill no whole blocks."""
    hidden, inner = layer.hidden, layer.inner
    plain = {"gate": [], "up": [], "down": []}
    for e in range(layer.experts):
        plain["gate"] += maker.fp8(f"{prefix}experts.{e}.gate_proj", inner, hidden)
        plain["up"] += maker.fp8(f"{prefix}experts.{e}.up_proj", inner, hidden)
        plain["down"] += maker.fp8(f"{prefix}experts.{e}.down_proj", hidden, inner)
    maker.keep(f"{number}.gate_f32", plain["gate"], layer.experts, inner, hidden)
    for part, values in plain.items():
        setattr(layer, part, [bf16(v) for v in values])
    shared = [maker.fp8(prefix + "shared_experts.gate_proj", width, hidden),
              maker.fp8(prefix + "shared_experts.up_proj", width, hidden),
              maker.fp8(prefix + "shared_experts.down_proj", hidden, width)]
    layer.shared = [[bf16(v) for v in part] for part in shared] + [width]


def deepseek_v3(maker, mlx):
    """DeepSeek-V3: layer 0 is dense, the layer past the last is for multi-token prediction."""
    experts, hidden, inner, shared = (8, 128, 64, 2) if mlx else (8, 160, 136, 1)
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": hidden,
        "intermediate_size": 192, "moe_intermediate_size": inner, "num_hidden_layers": 2, "num_nextn_predict_layers": 1,
        "n_routed_experts": experts, "n_shared_experts": shared, "num_experts_per_tok": 3, "n_group": 4,
        "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
        "topk_method": "noaux_tc", "first_k_dense_replace": 1, "moe_layer_freq": 1, "hidden_act": "silu",
    }
    if mlx:
        config["quantization"] = {"group_size": 64, "bits": 4}
    else:
        config["quantization_config"] = {
            "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
    prefix = "model.layers.1.mlp."
    width = shared * inner
    layer = Layer(experts, hidden, inner)
    layer.router = maker.dense(prefix + "gate.weight", "BF16", experts, hidden)
    layer.correction = maker.dense(prefix + "gate.e_score_correction_bias", "F32", experts)
    if mlx:
        layer.gate = maker.affine(prefix + "switch_mlp.gate_proj", 4, 64, experts, inner, hidden)
        layer.up = maker.affine(prefix + "switch_mlp.up_proj", 4, 64, experts, inner, hidden)
        layer.down = maker.affine(prefix + "switch_mlp.down_proj", 4, 64, experts, hidden, inner)
        layer.shared = [maker.affine(prefix + "shared_experts.gate_proj", 4, 64, width, hidden),
                        maker.affine(prefix + "shared_experts.up_proj", 4, 64, width, hidden),
                        maker.affine(prefix + "shared_experts.down_proj", 4, 64, hidden, width), width]
    else:
        deepseek_fp8(maker, 1, prefix, layer, width)
        maker.dense("model.layers.2.mlp.gate.weight", "BF16", experts, hidden)
    keep_layer(maker, 1, layer, route_sigmoid, silu, config)
    maker.others(hidden)
    return config


# ---- files


def write_model(folder, name, seed, shards, make, argument):
    """Make one model."""
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    maker = Maker(seed)
    config = make(maker, argument)
    tensor_files.write_json(os.path.join(path, "config.json"), config)
    if shards == 1:
        tensor_files.write(os.path.join(path, "model.safetensors"), maker.tensors, {"format": "pt"})
    else:
        names, places = list(maker.tensors), {}
        for s in range(shards):
            file = f"model-{s + 1:05}-of-{shards:05}.safetensors"
            part = names[s * len(names) // shards : (s + 1) * len(names) // shards]
            places.update({tensor: file for tensor in part})
            tensor_files.write(os.path.join(path, file), {n: maker.tensors[n] for n in part}, {"format": "pt"})
        size = sum(len(data) for _, _, data in maker.tensors.values())
        tensor_files.write_json(os.path.join(path, "model.safetensors.index.json"),
                                {"metadata": {"total_size": size}, "weight_map": places})
    tensor_files.write(path + ".reference.safetensors", maker.reference)


def main():
    """Make them all."""
    folder = sys.argv[1]
    write_model(folder, "mixtral_hf", 1, 3, mixtral, False)
    write_model(folder, "mixtral_mlx", 2, 1, mixtral, True)
    write_model(folder, "qwen3_moe_hf", 3, 1, qwen3_moe, False)
    write_model(folder, "qwen3_moe_mlx", 4, 2, qwen3_moe, True)
    write_model(folder, "gpt_oss_hf", 5, 2, gpt_oss, "hf")
    write_model(folder, "gpt_oss_dense", 6, 1, gpt_oss, "dense")
    write_model(folder, "gpt_oss_mlx", 7, 1, gpt_oss, "mlx")
    write_model(folder, "deepseek_v3_hf", 8, 2, deepseek_v3, False)
    write_model(folder, "deepseek_v3_mlx", 9, 1, deepseek_v3, True)


if __name__ == "__main__":
    main()
