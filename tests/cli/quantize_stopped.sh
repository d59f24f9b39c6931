#!/usr/bin/env bash
# quantize_stopped.sh - signals and a full disk: a run that does not end leaves nothing.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 "$TESTS/stopped_check.py"
