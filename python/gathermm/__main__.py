"""python -m gathermm - the gathermm command, which comes inside the package."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Become the command, with this process's arguments."""
    program = Path(__file__).parent / "bin" / "gathermm"
    os.execv(program, ["gathermm", *sys.argv[1:]])


if __name__ == "__main__":
    main()
