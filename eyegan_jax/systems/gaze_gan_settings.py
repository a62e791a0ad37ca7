"""Every setting of the He et al. baseline, at the sizes of the publication."""

import ml_collections

from eyegan_jax.systems.optimisers import optimiser_config


def paper() -> ml_collections.ConfigDict:
    """He et al., ICCV 2019: weights, networks and optimisers as published, but for the perceptual network."""
    config = ml_collections.ConfigDict()
    config.generator = ml_collections.ConfigDict({"width": 64, "blocks": 6})
    config.discriminator = ml_collections.ConfigDict({"width": 64, "layers": 5})
    config.perceptual = (64, 128, 256)  # widths of the network trained here, where the publication has VGG16
    config.perceptual_steps = 2000
    config.critics = 5  # updates of the discriminator for one of the generator
    config.loss = ml_collections.ConfigDict(
        {"gaze": 5.0, "cycle": 50.0, "content": 100.0, "style": 100.0, "penalty": 10.0}
    )
    optimiser = {"b1": 0.5, "b2": 0.999}
    config.generator_optimiser = optimiser_config("adam", 2e-4, **optimiser)
    config.discriminator_optimiser = optimiser_config("adam", 2e-4, **optimiser)
    config.mirror = True
    config.averaging = 0.999
    return config
