#!/usr/bin/env bash
# bench_stopped.sh - a benchmark that a signal or a full disk ends leaves no file; one that ends well replaces the old one.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 "$TESTS/bench_stopped_check.py"
