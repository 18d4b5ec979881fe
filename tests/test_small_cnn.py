"""The CNN that ships: its features are the shop's, and a gradient reaches the pixels."""

import numpy as np
import pytest
import torch

import amrlib
from amrlib.features import small_cnn


@pytest.fixture(scope="module")
def shop():
    return amrlib.load_dataset("boutique")


@pytest.fixture(scope="module")
def cnn():
    return small_cnn.load_cnn()


def test_it_is_small_and_fixed(cnn):
    assert sum(p.numel() for p in cnn.parameters()) < 100_000
    assert not any(p.requires_grad for p in cnn.parameters()) and not cnn.training


def test_it_names_pictures_it_was_not_trained_on(cnn, shop):
    with torch.no_grad():
        named = cnn(small_cnn.to_tensor(shop.images)).argmax(1).numpy()
    assert (named == shop.labels).mean() > 0.87


def test_the_shops_features_are_the_cnns(shop):
    fresh = small_cnn.extract_features(shop.images, device="cpu", progress=False) / shop.feature_scale
    # they are stored in half precision, which keeps eleven bits
    assert np.allclose(shop.features, fresh, rtol=2**-10, atol=1e-5)


def test_the_size_of_a_batch_changes_nothing(cnn, shop):
    some = shop.images[:70]
    a, b = (small_cnn.extract_features(some, cnn, "cpu", n, progress=False) for n in (1, 64))
    assert a.dtype == np.float32 and a.shape == (70, 128) and np.allclose(a, b, atol=1e-5)


def test_floats_are_the_same_pictures(cnn, shop):
    some = shop.images[:5]
    as_floats = some.astype(np.float64) / 255
    for images in (as_floats, as_floats[:, None], torch.from_numpy(as_floats)):
        assert np.allclose(
            small_cnn.extract_features(images, cnn, "cpu", progress=False),
            small_cnn.extract_features(some, cnn, "cpu", progress=False), atol=1e-5,
        )  # fmt: skip


def test_no_pictures_no_features(cnn):
    assert small_cnn.extract_features(np.empty((0, 28, 28), np.uint8), cnn, "cpu").shape == (0, 128)


def test_a_gradient_reaches_the_pixels_and_agrees_with_finite_differences(shop):
    cnn = small_cnn.load_cnn().double()
    rng = np.random.default_rng(0)
    # a flat background puts a whole region of activations on one side of a ReLU's kink together: roughen it
    noise = torch.from_numpy(rng.random((1, 1, 28, 28)))
    pixels = (0.05 + 0.9 * small_cnn.to_tensor(shop.images[:1]).double() + 0.03 * noise).requires_grad_()
    weights = torch.linspace(-1, 1, 128, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((cnn.features(pixels) @ weights).sum(), pixels)
    for _ in range(5):
        step = torch.from_numpy(rng.standard_normal(pixels.shape)) * 1e-7
        up, down = ((cnn.features(pixels.detach() + s * step) @ weights).sum() for s in (1, -1))
        assert float((up - down) / 2) == pytest.approx(float((gradient * step).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((2, 32, 32), np.uint8), "shape"),
        (np.zeros((2, 28, 28), np.int64), "uint8"),
        (np.full((2, 28, 28), 200.0), "255"),
        (np.full((2, 28, 28), np.nan), "255"),
    ],
)
def test_wrong_pictures_are_refused(images, says):
    with pytest.raises(ValueError, match=says):
        small_cnn.to_tensor(images)


def test_a_wrong_batch_size_is_refused(cnn):
    with pytest.raises(ValueError, match="batch_size"):
        small_cnn.extract_features(np.zeros((1, 28, 28), np.uint8), cnn, batch_size=0)
