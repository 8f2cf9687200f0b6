"""What the benchmark measures besides time."""

import torch

from vae_helpers import bench
from vae_helpers.training import TrainConfig, new_model


def test_training_holds_weights_gradients_and_two_moments_at_least():
    own = sum(4 * weights.numel() for weights in new_model(TrainConfig()).parameters()) / 1e6
    assert 4 * own < bench.training_memory("VAE", images=512) < 100


def test_memory_of_this_process_does_not_count():
    ballast = torch.ones(150_000_000)  # 600 MB
    assert bench.training_memory("GAN", images=512) < 100
    del ballast
