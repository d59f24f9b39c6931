#!/usr/bin/env python3
"""convert_models.py - the tiny models of tests/checkpoint with all that a conversion changes besides experts.

usage: convert_models.py FOLDER
"""
# SPDX-License-Identifier: MIT
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "checkpoint"))
import make_models  # noqa: E402
from make_models import tensor_files  # noqa: E402

HEADS, NOPE, VALUES, RANK = 3, 50, 30, 160


def odd(maker, config):
    """Tensors of other types and ranks, and what mlx-lm leaves out of every model."""
    maker.dense("lm_head.weight", "BF16", 7, config["hidden_size"])
    maker.dense("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 8)
    maker.dense("model.layers.10.extra.weight", "F16", 3, 5)
    maker.tensors["model.position_ids"] = ("I64", [1, 5], bytes(range(40)))
    maker.tensors["model.scalar"] = ("F32", [], tensor_files.floats("F32", [2.5]))
    maker.tensors["model.nothing"] = ("F32", [0, 4], b"")
    config["tie_word_embeddings"] = True
    config["rms_norm_eps"] = 1e-05


def latent_attention(maker, config, mlx):
    """DeepSeek-V3's kv_b_proj: fp8 with blocks that the parts of heads cut; or mlx-lm's two parts of it."""
    config.update(num_attention_heads=HEADS, qk_nope_head_dim=NOPE, v_head_dim=VALUES, kv_lora_rank=RANK)
    for layer in range(2):
        prefix = f"model.layers.{layer}.self_attn."
        if mlx:
            maker.dense(prefix + "embed_q.weight", "BF16", HEADS, RANK, NOPE)
            maker.dense(prefix + "unembed_out.weight", "BF16", HEADS, VALUES, RANK)
        else:
            maker.fp8(prefix + "kv_b_proj", HEADS * (NOPE + VALUES), RANK)


def with_more(make):
    """The same family with more tensors."""

    def made(maker, argument):
        config = make(maker, argument)
        odd(maker, config)
        if config["model_type"] == "deepseek_v3":
            latent_attention(maker, config, argument)
        return config

    return made


def main():
    """Make them all."""
    for name, seed, shards, make, argument in (
            ("mixtral_hf", 11, 3, make_models.mixtral, False), ("mixtral_mlx", 12, 1, make_models.mixtral, True),
            ("qwen3_moe_hf", 13, 1, make_models.qwen3_moe, False), ("qwen3_moe_mlx", 14, 2, make_models.qwen3_moe, True),
            ("gpt_oss_hf", 15, 2, make_models.gpt_oss, "hf"), ("gpt_oss_dense", 16, 1, make_models.gpt_oss, "dense"),
            ("gpt_oss_mlx", 17, 1, make_models.gpt_oss, "mlx"),
            ("deepseek_v3_hf", 18, 2, make_models.deepseek_v3, False),
            ("deepseek_v3_mlx", 19, 1, make_models.deepseek_v3, True)):
        make_models.write_model(sys.argv[1], name, seed, shards, with_more(make), argument)


if __name__ == "__main__":
    main()
