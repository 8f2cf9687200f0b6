"""Three small networks, trained for a second, and the files that the explorer is built from."""

import torch
from safetensors.torch import save_file
from toy_digits import few_digits

from vae_helpers import adversarial, training
from vae_helpers.course.decoders import packed

SHAPE = {"epochs": 40, "batch_size": 10, "hidden_dims": (30, 25, 20), "learning_rate": 1e-2}
LATENTS = 6


def toy_decoders():
    """The networks by the names that the explorer gives them, in evaluation mode."""
    networks = {
        name: training.fit(
            training.TrainConfig(latent_dim=latents, beta=0.01, **SHAPE),  # so that z matters
            few_digits(),
            show_progress=False,
        ).model.eval()
        for name, latents in (("vae", LATENTS), ("vae_2d", 2))
    }
    config = adversarial.GANConfig(latent_dim=LATENTS, **SHAPE)
    networks["gan"] = adversarial.fit(config, few_digits(), show_progress=False).model.generator
    return networks


def toy_extras(size, *, codes, unused=0):
    """What a file holds besides the decoder: made up, with every digit as often as the others."""
    kl = torch.linspace(0.5, 2, size)
    kl[:unused] = 0.001
    drawn = torch.randn(codes, size, generator=torch.Generator().manual_seed(size))
    labels = torch.arange(10, dtype=torch.uint8).repeat_interleave(codes // 10)
    return {"kl": kl, "codes": drawn, "labels": labels}


def write_toy_weights(folder, networks):
    """Write the three files; return the extras of the two autoencoders."""
    extras = {
        "vae": toy_extras(LATENTS, codes=50, unused=2),
        "vae_2d": toy_extras(2, codes=60),
        "gan": {},
    }
    for name, network in networks.items():
        tensors = packed(network, extras[name])
        save_file(tensors, folder / f"09_latent_space_{name}.safetensors")
    return extras
