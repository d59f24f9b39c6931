#!/usr/bin/env python3
"""make_gguf_models.py - tiny random models as GGUF files, with what their layers are and give, in double precision.

usage: make_gguf_models.py FOLDER

FOLDER/NAME.gguf is written by llama.cpp's own Python package, which decodes the blocks too; formulas and references are
those of make_models.py. Codes are random bits, scales random numbers, so that every code occurs.
"""
# SPDX-License-Identifier: MIT
import math
import os
import struct
import sys

import gguf
import numpy

import make_models as mm

Q = gguf.GGMLQuantizationType

# ---- tensors


class Writer:
    """A model in the making: tensors with their decoded values, metadata."""

    def __init__(self, path, architecture, seed, **options):
        self.maker = mm.Maker(seed)
        self.file = gguf.GGUFWriter(path, architecture, **options)
        self.noise = numpy.random.default_rng(seed)

    def dense(self, name, kind, *shape):
        """A tensor of f32, f16 or bf16; returns its values."""
        values = self.maker.values(math.prod(shape), kind, 0.1)
        if kind == "BF16":
            bits = (numpy.array(values, numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)
            self.file.add_tensor(name, bits.reshape(shape).view(numpy.uint8), raw_dtype=Q.BF16)
        else:
            self.file.add_tensor(name, numpy.array(values, {"F32": "f4", "F16": "f2"}[kind]).reshape(shape))
        return values

    def scales(self, count, low, high):
        """f16 numbers of both signs, as bytes."""
        numbers = self.noise.uniform(low, high, count) * self.noise.choice([-1, 1], count)
        return numbers.astype("<f2").view(numpy.uint8).reshape(count, 2)

    def blocks(self, name, kind, *shape, large=None):
        """A tensor in blocks; `large` replaces the first block's scale."""
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        count = math.prod(shape) // elements
        data = self.noise.integers(0, 256, (count, size), numpy.uint8)
        if kind == Q.MXFP4:
            data[:, 0] = self.noise.integers(118, 125, count)
        elif kind == Q.NVFP4:
            data[:, :4] = self.noise.integers(1, 40, (count, 4))
        else:
            data[:, :2] = self.scales(count, 0.001, 0.02 if size < 34 else 0.0015)
        if kind in (Q.Q4_1, Q.Q5_1):
            data[:, 2:4] = self.scales(count, 0.0, 0.1)
        if large:
            data[0, :2] = numpy.array([large], "<f2").view(numpy.uint8)
        self.file.add_tensor(name, data.reshape(*shape[:-1], shape[-1] // elements * size), raw_dtype=kind)
        return [float(v) for v in gguf.quants.dequantize(data, kind).reshape(-1)]

    def tensor(self, name, kind, *shape, **options):
        """Either."""
        return self.dense(name, kind, *shape) if isinstance(kind, str) else self.blocks(name, kind, *shape, **options)

    def layer(self, number, kinds, sizes, biases=False, shared=0, **options):
        """A layer of experts; kinds are those of router, gate, up, down and of the shared expert."""
        experts, hidden, inner = sizes
        prefix = f"blk.{number}.ffn_"
        layer = mm.Layer(*sizes)
        layer.router = self.tensor(prefix + "gate_inp.weight", kinds[0], experts, hidden)
        layer.gate = self.tensor(prefix + "gate_exps.weight", kinds[1], experts, inner, hidden)
        layer.up = self.tensor(prefix + "up_exps.weight", kinds[2], experts, inner, hidden, **options)
        layer.down = self.tensor(prefix + "down_exps.weight", kinds[3], experts, hidden, inner)
        if biases:
            layer.router_bias = self.dense(prefix + "gate_inp.bias", "F32", experts)
            layer.gate_bias = self.dense(prefix + "gate_exps.bias", "F32", experts, inner)
            layer.up_bias = self.dense(prefix + "up_exps.bias", "F32", experts, inner)
            layer.down_bias = self.dense(prefix + "down_exps.bias", "F32", experts, hidden)
        if shared:
            layer.shared = [self.tensor(prefix + "gate_shexp.weight", kinds[4], shared, hidden),
                            self.tensor(prefix + "up_shexp.weight", kinds[4], shared, hidden),
                            self.tensor(prefix + "down_shexp.weight", kinds[4], hidden, shared), shared]
        return layer

    def finish(self, path):
        """Write both files, and what is in every model besides."""
        self.file.add_array("tokenizer.ggml.tokens", ["<s>", "a", "", "\u00e9"])
        self.file.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.0, 1.0])
        self.file.add_float32("general.odd", math.nan)  # of no use here, so it does no harm
        self.dense("token_embd.weight", "F16", 7, 64)
        self.dense("output_norm.weight", "F32", 64)
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()
        mm.tensor_files.write(path + ".reference.safetensors", self.maker.reference)


def sizes_of(file, hidden, layers, experts, used):
    """Metadata of every architecture."""
    file.add_block_count(layers)
    file.add_embedding_length(hidden)
    file.add_expert_count(experts)
    file.add_expert_used_count(used)


# ---- architectures


def llama(folder, name, seed, kinds, large=None, **options):
    """Mixtral."""
    path = os.path.join(folder, name)
    w = Writer(path + ".gguf", "llama", seed, **options)
    sizes_of(w.file, 64, 2, 4, 2)
    w.file.add_feed_forward_length(96)
    config = {"num_experts_per_tok": 2}
    for number in range(2):
        layer = w.layer(number, kinds, (4, 64, 96), **({"large": large} if number and large else {}))
        mm.keep_layer(w.maker, number, layer, mm.route_topk_softmax, mm.silu, config)
    w.finish(path)


def qwen3moe(folder, name, seed, kinds, scaled=False):
    """Qwen3-MoE; `scaled`: with a tensor of factors beside one in blocks."""
    path = os.path.join(folder, name)
    w = Writer(path + ".gguf", "qwen3moe", seed)
    sizes_of(w.file, 64, 1, 6, 3)
    w.file.add_custom_alignment(64)
    w.file.add_feed_forward_length(192)
    w.file.add_expert_feed_forward_length(64)
    config = {"num_experts_per_tok": 3, "norm_topk_prob": True}
    mm.keep_layer(w.maker, 0, w.layer(0, kinds, (6, 64, 64)), mm.route_softmax_topk, mm.silu, config)
    if scaled:
        w.dense("blk.0.ffn_up_exps.scale", "F32", 6)
    w.finish(path)


def gpt_oss(folder, name, seed, kinds):
    """gpt-oss."""
    path = os.path.join(folder, name)
    w = Writer(path + ".gguf", "gpt-oss", seed)
    sizes_of(w.file, 64, 2, 4, 2)
    w.file.add_expert_feed_forward_length(96)
    for number in range(2):
        layer = w.layer(number, kinds, (4, 64, 96), biases=True)
        mm.keep_layer(w.maker, number, layer, mm.route_topk_softmax, mm.clamped, {"num_experts_per_tok": 2})
    w.finish(path)


def deepseek2(folder, name, seed, kinds):
    """DeepSeek-V3: layer 0 is dense, the last one is for multi-token prediction."""
    path = os.path.join(folder, name)
    w = Writer(path + ".gguf", "deepseek2", seed)
    sizes_of(w.file, 64, 3, 8, 3)
    w.file.add_expert_feed_forward_length(32)
    w.file.add_expert_shared_count(2)
    w.file.add_expert_weights_scale(2.5)
    w.file.add_expert_weights_norm(True)
    w.file.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    w.file.add_expert_group_count(4)
    w.file.add_expert_group_used_count(2)
    w.file.add_leading_dense_block_count(1)
    w.file.add_uint32("deepseek2.nextn_predict_layers", 1)
    config = {"num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
              "routed_scaling_factor": 2.5}
    layer = w.layer(1, kinds, (8, 64, 32), shared=64)
    layer.correction = w.dense("blk.1.exp_probs_b.bias", "F32", 8)
    mm.keep_layer(w.maker, 1, layer, mm.route_sigmoid, mm.silu, config)
    w.dense("blk.2.ffn_gate_inp.weight", "F32", 8, 64)
    w.finish(path)


def version_2(path):
    """A file of version 2 is the same but for the number."""
    with open(path, "r+b") as file:
        file.seek(4)
        assert struct.unpack("<I", file.read(4)) == (3,)
        file.seek(4)
        file.write(struct.pack("<I", 2))


def main():
    """Make them all."""
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    llama(folder, "llama_q4", 21, ("F32", Q.Q4_0, Q.Q4_0, Q.Q4_1), large=-9000)
    llama(folder, "llama_dense", 22, ("F32", "F16", "BF16", "F32"))
    version_2(os.path.join(folder, "llama_dense.gguf"))
    llama(folder, "llama_split", 23, ("F16", Q.Q8_0, Q.Q4_0, Q.Q8_0), split_max_tensors=4)
    qwen3moe(folder, "qwen3moe_q5", 24, ("F32", Q.Q5_0, Q.Q5_1, Q.Q8_0))
    qwen3moe(folder, "qwen3moe_nvfp4", 25, ("BF16", Q.NVFP4, Q.NVFP4, Q.NVFP4))
    qwen3moe(folder, "qwen3moe_scaled", 28, ("BF16", Q.NVFP4, Q.NVFP4, Q.NVFP4), scaled=True)
    gpt_oss(folder, "gpt_oss_mxfp4", 26, ("F32", Q.MXFP4, Q.MXFP4, Q.MXFP4))
    deepseek2(folder, "deepseek2_q8", 27, ("F32", Q.Q8_0, Q.Q8_0, Q.Q4_0, "F16"))


if __name__ == "__main__":
    main()
