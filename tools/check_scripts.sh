#!/bin/sh
# check_scripts.sh - shellcheck has nothing to say about any shell script here, and every Python file compiles.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."

git ls-files -z --cached --others --exclude-standard -- '*.sh' '.ci/run' '*.bash-completion' | xargs -0 shellcheck
git ls-files -z --cached --others --exclude-standard -- '*.py' |
    xargs -0 python3 -c '
import ast, sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        ast.parse(file.read(), path)
'
