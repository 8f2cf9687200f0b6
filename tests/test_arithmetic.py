"""Operations of an epoch, against the products counted by hand for networks with five units.

A product of `[B, I]` and `[I, O]` is I * O multiplications per image. The names say which: of
pixels with hidden units, of hidden units with codes or noise, of hidden units with the score.
"""

from dataclasses import replace

import pytest
import torch
from toy_digits import few_digits

from vae_helpers.adversarial import GANConfig
from vae_helpers.arithmetic import flops_of_epoch
from vae_helpers.training import TrainConfig
from vae_helpers.wasserstein import WGANConfig

SIZES = {"batch_size": 4, "hidden_dims": (5,), "latent_dim": 3, "device": "cpu"}
PIXELS, CODE, SCORE = 784 * 5, 5 * 3, 5
TRAIN, TEST = 7, 2


def flops(config):
    return flops_of_epoch(replace(config, acceleration="off").trainer(few_digits(train=7, test=2)))


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True, "slope": 0.2, "dropout": 0.1}], ids=["plain", "tuned"]
)
def test_vae_has_its_products_forward_by_weights_and_by_inputs_and_the_test_images_forward(options):
    encoder, decoder = PIXELS + 2 * CODE, CODE + PIXELS
    forward = by_weights = encoder + decoder
    by_inputs = forward - PIXELS  # nobody asks for the gradient of the images
    expected = TRAIN * (forward + by_weights + by_inputs) + TEST * forward
    assert flops(TrainConfig(**SIZES, **options)) == 2 * expected


def test_k_samples_are_decoded_k_times_and_encoded_once():
    encoder, decoder = PIXELS + 2 * CODE, CODE + PIXELS
    forward = by_weights = encoder + 3 * decoder
    expected = TRAIN * (forward + by_weights + forward - PIXELS) + TEST * forward
    assert flops(TrainConfig(**SIZES, loss="iwae", z_samples=3)) == 2 * expected


def test_gan_has_a_pass_of_the_generator_and_three_of_the_discriminator():
    generator, discriminator = CODE + PIXELS, PIXELS + SCORE
    first = generator + 2 * discriminator  # real images and generated ones
    first += 2 * discriminator + 2 * SCORE  # by weights, and by the hidden units
    second = discriminator + discriminator  # forward, and by inputs back to the images
    second += generator + PIXELS  # by weights, and by the hidden units
    assert flops(GANConfig(**SIZES)) == 2 * TRAIN * (first + second)


@pytest.mark.parametrize(("critic_steps", "answered"), [(1, 7), (2, 3)])
def test_wgan_has_its_penalty_in_every_step_and_its_generator_s_answer_in_some(
    critic_steps, answered
):
    generator, critic = CODE + PIXELS, PIXELS + SCORE
    step = generator + 2 * critic + 2 * critic + 2 * SCORE  # as in a GAN
    step += critic + critic  # of the penalty: forward, and the slope by the images
    step += critic + PIXELS  # differentiated again: by both weights, and by the hidden units
    step += 2 * PIXELS  # the second derivative of the leaky ReLU, which is zero, back to the images
    answer = 2 * generator + PIXELS + 2 * critic
    # The batches have 4 and 3 images, and the generator answers to each or to the second.
    expected = TRAIN * step + answered * answer
    assert flops(WGANConfig(**SIZES, critic_steps=critic_steps)) == 2 * expected


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(**SIZES),
        TrainConfig(**SIZES, loss="beta_tc"),
        WGANConfig(**SIZES, critic_steps=2),
    ],
)
def test_the_epoch_that_is_counted_is_the_first_and_is_trained(config):
    data = few_digits(train=7, test=2)
    counted, trained = (replace(config, acceleration="off").trainer(data) for _ in range(2))
    flops_of_epoch(counted)
    trained.epoch(1)
    found, expected = (dict(each.model.state_dict()) for each in (counted, trained))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
