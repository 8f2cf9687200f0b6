"""The methods that a study may train, by the names that notebook 18 and the command line know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vae_helpers.adversarial import GANConfig
from vae_helpers.convolutional import ConvConfig, ConvGANConfig
from vae_helpers.flows import FlowConfig
from vae_helpers.stochastic_layers import LayeredConfig
from vae_helpers.training import TrainConfig
from vae_helpers.wasserstein import WGANConfig

METHODS: Mapping[str, Any] = {
    "vae": TrainConfig,
    "gan": GANConfig,
    "wgan": WGANConfig,
    "flow": FlowConfig,
    "layered": LayeredConfig,
    "conv_vae": ConvConfig,
    "conv_gan": ConvGANConfig,
}
"""Their configurations."""
