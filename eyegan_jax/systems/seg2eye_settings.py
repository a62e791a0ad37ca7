"""Every setting of Seg2Eye and its two presets. In the package, so that an imported checkpoint needs no
config file.
"""

import ml_collections

from eyegan_jax.systems.optimisers import optimiser_config


def paper() -> ml_collections.ConfigDict:
    """The paper's equations and sizes, without the defects of the released code.

    AdaIN normalises, the encoder has activations and sees brightness, Gram matrices are compared by the L1
    norm from the second layer on. Weights are those of the published run scripts; that of Gram is rescaled
    for L1 (the scripts' 1e4 goes with the squared difference, see :func:`official`).
    """
    config = ml_collections.ConfigDict()
    config.generator = ml_collections.ConfigDict(
        {
            "width": 64,  # channels at full size; doubled at every scale down
            "scales": 5,  # number of doublings from the coarsest features to the image
            "labels": 4,  # mask classes
            "mask_features": 128,  # hidden maps of the mask in every SPADE layer
            "shared_trunk": False,  # one hidden mask layer per block instead of one per SPADE layer
            "modulation": "both",  # both, or an ablation: spade, adain
            "statistics": "instance",  # in SPADE: instance, or batch (the seed's equation, over all devices)
            "raw_adain": False,  # the released code's AdaIN, which does not normalise
        }
    )
    config.encoder = ml_collections.ConfigDict(
        {
            "width": 64,
            "code": 16,  # length of the style code
            "size": 256,  # references are resized to size x size; a power of two
            "aggregate": "max",  # over references: max, mean, attention
            "released": False,  # the released code's encoder, without activations and blind to brightness
        }
    )
    config.discriminator = ml_collections.ConfigDict({"width": 64, "layers": 4, "scales": 2})
    config.loss = ml_collections.ConfigDict(
        {
            "adversarial": 1.0,
            "feature_matching": 10.0,
            "l1": 0.0,
            "l2": 15.0,
            "openeds": 0.0,  # the challenge's metric
            "gram": 50.0,
            "gram_order": 1,  # 1: L1 (paper), 2: squares (released code)
            "gram_first_layer": 2,  # the sum over layers starts at l = 2 in the paper
            "style_code": 0.5,
            "style_features": 1e-3,
        }
    )
    config.painter_optimiser = optimiser_config("adam", 1e-4)  # of generator and encoder together
    config.discriminator_optimiser = optimiser_config("adam", 4e-4)
    for optimiser in (config.painter_optimiser, config.discriminator_optimiser):
        optimiser.b1, optimiser.b2 = 0.0, 0.9
    config.vary_references = True  # show between 1 and k of the k references
    config.mirror = True  # flip all pictures of a sample left to right, half of the time
    config.averaging = 0.999  # decay of the painter's moving average, which is used after training
    return config


def official() -> ml_collections.ConfigDict:
    """The released code's behaviour to the letter: its checkpoints load into these networks."""
    config = paper()
    config.generator.raw_adain = True
    config.encoder.released = True
    config.loss.gram, config.loss.gram_order, config.loss.gram_first_layer = 1e4, 2, 1
    config.vary_references = False
    return config
