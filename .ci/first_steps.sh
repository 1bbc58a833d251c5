#!/usr/bin/env bash
# What a new user does first, with every command's own file: .ci/first_steps.sh BIN, the folder of an environment that
# has cliplit[cpu,export]. Run in an empty folder.
set -euo pipefail
bin=$1
"$bin/cliplit-video" --demo demo.mp4
"$bin/python" - <<'EOF'
from pathlib import Path

import numpy as np
import torch
from cliplit.networks.checkpoint import save
from cliplit.networks.registry import build_network
from PIL import Image

Image.fromarray(np.full((90, 160, 3), 40, np.uint8)).save("in.jpg")
torch.manual_seed(0)
save(Path("best.pt"), {"network": "lite", "weights": build_network("lite").state_dict()})
EOF
"$bin/cliplit-image" in.jpg out.jpg
"$bin/cliplit-video" demo.mp4 again.mp4 --range 0 0.2
"$bin/cliplit-doctor"
"$bin/cliplit-export" best.pt
ls -l demo.mp4 out.jpg again.mp4 ./*.onnx
