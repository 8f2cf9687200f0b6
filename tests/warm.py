"""What the process has done that trials are forked from, so that each of them begins at once.

torch loads much of itself only when a first model is trained. It must see no GPU here: threads that
it starts for one do not survive a fork.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import faults
import torch

from vae_helpers import training

torch.set_num_threads(1)
for config, _ in faults.KINDS.values():
    training.train(config.trainer(faults.images()), epochs=1)
