#!/usr/bin/env bash
# moe_trained.sh - the bundled model's layers: on its own hidden states, on drawn ones, several of them.
# SPDX-License-Identifier: MIT
exec 2>&1
unset GMM_CPU_MASK
python3 "$TESTS/moe_check.py" trained
