"""Where the evaluation data lies: ../shared/eval beside the checkout, or PORTAL_EVAL_DIR."""

import os
from pathlib import Path

EVAL = Path(os.environ.get("PORTAL_EVAL_DIR", Path(__file__).resolve().parents[2] / "shared" / "eval"))
