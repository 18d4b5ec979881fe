"""Attacks on pixels: photographs changed so little that nobody sees it, and what the lists make of them.

>>> look = pixel_extractor("shop")
>>> changed = attack(model, shop, look, epsilon=8)                 # uint8, (N, 28, 28), no grey level off by more than 8
>>> features = features_of(look, shop, changed)                    # (N, D)
>>> amrlib.evaluate(model, shop, features=features).ndcg(10)

An attack knows one model and one network. Whatever comes out is a picture in 8 bits that a PNG keeps as it is."""

from ..features.pixels import PIXEL_NETWORKS, PixelExtractor, pixel_extractor
from .attacks import attack, attack_pictures, features_of, random_signs, standing
from .bounds import to_eight_bits
from .certificate import feature_bound, layer_norms, lipschitz_bound
from .defences import DEFENCES, defended
from .measures import category_ndcg, feature_distance, psnr, ssim
from .own_picture import OwnPicture, own_picture

__all__ = [
    "DEFENCES", "PIXEL_NETWORKS", "OwnPicture", "PixelExtractor", "attack", "attack_pictures", "category_ndcg", "defended",
    "feature_bound", "feature_distance", "features_of", "layer_norms", "lipschitz_bound", "own_picture", "pixel_extractor",
    "psnr", "random_signs", "ssim", "standing", "to_eight_bits",
]  # fmt: skip
