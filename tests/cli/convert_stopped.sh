#!/usr/bin/env bash
# convert_stopped.sh - signals, SIGKILL, a full disk: a run that does not end leaves nothing, or is recognised.
# SPDX-License-Identifier: MIT
exec 2>&1
mkdir models
python3 "$TESTS/convert_models.py" models
python3 "$TESTS/convert_stopped_check.py"
