# SPDX-License-Identifier: MIT
"""Verify an MRV record; the same as `scripts/verify_mrv.py`, where the first version had it.

python examples/verify_mrv.py MRV_ID JSON_FILE
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "verify_mrv.py"), run_name="__main__")
