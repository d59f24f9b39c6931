#!/usr/bin/env bash
# convert_families.sh - every family there and back: numbers, bytes, names, config.json, shards.
# SPDX-License-Identifier: MIT
exec 2>&1
mkdir models
python3 "$TESTS/convert_models.py" models
echo "{}" >models/mixtral_hf/tokenizer.json
mkdir models/mixtral_hf/folder
python3 "$TESTS/convert_check.py" mixtral_hf mixtral_mlx qwen3_moe_hf qwen3_moe_mlx gpt_oss_hf gpt_oss_dense gpt_oss_mlx \
    deepseek_v3_hf deepseek_v3_mlx
ls mixtral_hf.mlx
gathermm inspect deepseek_v3_hf.mlx | head -40
