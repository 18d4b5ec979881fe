"""Attacks on pixels: the gradient is autograd's, bounds hold in 8 bits, more steps find more, and the measures are the known
ones. Pictures and models are made; the network is the shop's, in float64 where something is proved."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import amrlib
from amrlib import pixels
from amrlib.adversary import category_hit_ratio, item_ranks
from amrlib.adversary.attacks import test_gradient as gradient_of_test_loss
from amrlib.features.pixels import PixelExtractor
from amrlib.features.prepare import as_in_the_shop
from amrlib.pixels import attack, attack_pictures, pixel_extractor

GOALS = ("harm", "promote", "demote")


@pytest.fixture(scope="module")
def look():
    return pixel_extractor("shop", "cpu").double()


@pytest.fixture(scope="module")
def shop(look):
    """12 users with two training items each and a held-out one, 20 items with pictures of noise on a step."""
    rng = np.random.default_rng(0)
    images = rng.integers(20, 236, (20, 28, 28)).astype(np.uint8)
    images[:, 8:20, 8:20] //= 3
    train = np.concatenate([[(u, i) for i in rng.choice(18, 2, replace=False)] for u in range(12)])
    test = np.array([next(i for i in rng.permutation(20) if [u, i] not in train.tolist()) for u in range(12)])
    features = look.extract(images).numpy() / 2.5
    return amrlib.Dataset(train, test, features, n_users=12, n_items=20, images=images, extras={"feature_scale": 2.5})


def make(shop, kind=amrlib.VBPR, seed=0):
    return kind(dim=4, seed=seed, init_std=0.5, dtype=torch.float64).bind(shop)


def harm(model, shop, features):
    """The loss that is attacked, with loops."""
    U, V = model.user_vectors(), model.item_vectors(features)
    total = 0.0
    for u in shop.test_users:
        i = int(shop.test[u])
        rivals = [j for j in range(shop.n_items) if j != i and j not in shop.items_of(u)]
        total = total + F.softplus(V[rivals] @ U[u] - V[i] @ U[u]).mean()
    return total


def shown(model, shop, items, features, k):
    """The smooth count of the people who are shown each of ``items``, with loops."""
    U, V, clean = model.user_vectors(), model.item_vectors(features), model.item_vectors()
    counts = []
    for t in items:
        of = [u for u in range(shop.n_users) if t not in shop.items_of(u)]
        rivals = [[j for j in range(shop.n_items) if j not in (*items, *shop.items_of(u))] for u in of]
        bars = [float((clean[left] @ U[u]).sort().values[-k]) for u, left in zip(of, rivals)]
        counts.append(sum(torch.sigmoid((V[t] @ U[u] - bar) / 0.3) for u, bar in zip(of, bars)))
    return torch.stack(counts)


def through_the_network(model, shop, look, goal, items):
    """∂L/∂x of everything at once, as autograd has it."""
    x = look.pixels(shop.images).requires_grad_()
    features = look(x) / shop.feature_scale
    loss = harm(model, shop, features) if goal == "harm" else shown(model, shop, items, features, 3).sum()
    return torch.autograd.grad(-loss if goal == "demote" else loss, x)[0]


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("kind", [amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.DUIF, amrlib.AMR])
def test_fgsm_takes_the_signs_that_autograd_gives(shop, look, kind, goal):
    model, items = make(shop, kind), [3, 17, 19]
    slope = through_the_network(model, shop, look, goal, items)[:, 0]
    some = np.arange(20) if goal == "harm" else items
    changed = attack(model, shop, look, 2, goal, None if goal == "harm" else items, k=3, progress=False)
    moved = changed.astype(int) - shop.images
    inside = (shop.images >= 2) & (shop.images <= 253)
    clear = (slope.abs() > 1e-10).numpy() & inside
    clear[np.setdiff1d(np.arange(20), some)] = False
    assert clear[some].mean() > 0.9  # some pixels are behind a closed ReLU everywhere
    assert np.array_equal(moved[clear], 2 * slope.sign().numpy().astype(int)[clear])
    assert not moved[np.setdiff1d(np.arange(20), some)].any()


def test_l2_goes_along_the_gradient(shop, look):
    model = make(shop)
    slope = through_the_network(model, shop, look, "harm", None)[:, 0].flatten(1).numpy()
    moved = (attack(model, shop, look, 300, norm="l2", progress=False).astype(float) - shop.images).reshape(20, -1)
    cosine = (moved * slope).sum(1) / np.linalg.norm(moved, axis=1) / np.linalg.norm(slope, axis=1)
    assert cosine.min() > 0.97, cosine  # rounding and the ends of the range take the rest


def test_a_gradient_in_k_dimensions_is_pulled_back_in_one_pass(shop, look):
    """The way the library goes, s -> E s -> pixels, against autograd through all; and against finite differences."""
    model = make(shop)
    with torch.no_grad():
        s, _ = gradient_of_test_loss(model, shop, None)
    ours = look.pull(shop.images, s @ model.E.T / shop.feature_scale)
    theirs = through_the_network(model, shop, look, "harm", None)
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-15)
    x, step = look.pixels(shop.images), torch.from_numpy(np.random.default_rng(1).standard_normal((20, 1, 28, 28))) * 1e-4
    with torch.no_grad():
        up, down = (harm(model, shop, look(x + sign * step) / shop.feature_scale) for sign in (1, -1))
    assert float((up - down) / 2) == pytest.approx(float((ours * step).sum()), rel=1e-5)


@pytest.mark.parametrize("norm, epsilon", [("linf", 8), ("linf", 2.7), ("l2", 60.0), ("l2", 3.3), ("linf", 0), ("l2", 0)])
@pytest.mark.parametrize("steps, restarts", [(1, 1), (4, 1), (3, 2)])
def test_bounds_hold_in_8_bits_and_in_a_png(shop, look, norm, epsilon, steps, restarts):
    changed = attack(make(shop), shop, look, epsilon, norm=norm, steps=steps, restarts=restarts, progress=False)
    assert changed.dtype == np.uint8 and changed.shape == shop.images.shape
    for before, after in zip(shop.images, changed):
        file = io.BytesIO()
        Image.fromarray(after).save(file, "PNG")
        moved = np.asarray(Image.open(file)).astype(int) - before
        size = np.abs(moved).max() if norm == "linf" else np.sqrt((moved**2).sum())
        assert size <= epsilon
    used = np.abs(changed.astype(int) - shop.images)
    if norm == "linf":
        assert used.max() == int(epsilon)
    elif epsilon == 60.0:  # and the room is used
        assert np.sqrt((used.astype(float) ** 2).sum((1, 2))).min() > 55


def test_rounding_never_leaves_the_ball():
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (300, 1, 6, 6), generator=draw).double()
    for epsilon in (0.4, 1.0, 2.5, 7.0, 30.0):
        delta = torch.randn(x.shape, generator=draw, dtype=torch.float64)
        delta *= epsilon / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moved = pixels.to_eight_bits(x, delta, epsilon, "l2").double() - x
        assert moved.flatten(1).norm(dim=1).max() <= epsilon
        plain = (delta.round() + x).clamp(0, 255) - x
        assert epsilon < 7 or plain.flatten(1).norm(dim=1).max() > epsilon  # without care it would


def test_more_steps_find_more_on_average_and_never_less_than_one(shop, look):
    gains = []
    for seed in range(4):
        model = make(shop, seed=seed)

        def loss(changed, model=model):
            return float(harm(model, shop, look.extract(changed) / shop.feature_scale))

        gains.append([loss(shop.images)] + [loss(attack(model, shop, look, 8, steps=n, progress=False)) for n in (1, 3, 10)])
    mean = np.mean(gains, axis=0)
    assert (np.diff(mean) > 0).all()
    assert (np.diff(gains, axis=1)[:, 0] > 0).all()


def test_promotion_lifts_and_demotion_sinks(shop, look):
    model = make(shop)
    for goal, sign in (("promote", 1), ("demote", -1)):
        for steps in (1, 5):
            changed = attack(model, shop, look, 8, goal, [4, 19], steps=steps, k=3, progress=False)
            features = look.extract(changed) / shop.feature_scale
            before, after = (shown(model, shop, [4, 19], f, 3) for f in (None, features))
            assert (sign * (after - before) > 0).all()
            for item in (4, 19):
                ranks = [item_ranks(model, shop, item, f).mean() for f in (None, features)]
                assert sign * (ranks[0] - ranks[1]) > 0


def test_the_same_again_and_another_seed(shop, look):
    first, again, other = (attack(make(shop), shop, look, 8, steps=2, restarts=3, seed=s, progress=False) for s in (0, 0, 5))
    assert np.array_equal(first, again)
    assert first.shape == other.shape
    a, b, c = (pixels.random_signs(shop.images, 4, seed) for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert set(np.unique(a.astype(int) - shop.images)) == {-4, 4}


def test_batches_make_no_difference(shop, look):
    model = make(shop)
    whole = attack(model, shop, look, 8, steps=2, progress=False)
    few = pixel_extractor("shop", "cpu", batch_size=3).double()
    assert np.array_equal(attack(model, shop, few, 8, steps=2, progress=False), whole)
    assert torch.allclose(few.extract(shop.images), look.extract(shop.images), atol=1e-12)


def test_something_new_is_promoted_from_its_photograph(shop, look):
    model = make(shop)
    new = shop.images[:2] // 2
    before = look.extract(new) / shop.feature_scale
    changed = attack_pictures(model, shop, look, new, 8, steps=5, k=3, progress=False)
    assert np.abs(changed.astype(int) - new).max() == 8
    ranks = [pixels.standing(model, shop, look.extract(p) / shop.feature_scale) for p in (new, changed)]
    assert ranks[0].shape == (2, 12) and (ranks[1].mean(1) < ranks[0].mean(1)).all()
    scores = model.user_vectors() @ torch.cat([model.item_vectors(), model.new_item_vectors(before)]).T
    for u in range(12):
        rivals = [j for j in range(20) if j not in shop.items_of(u)]
        assert ranks[0][1, u] == int((scores[u, rivals] >= scores[u, 21]).sum())


def test_psnr_and_ssim():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (2, 28, 28)).astype(np.uint8)
    b = (a.astype(int) + 8 * (2 * rng.integers(0, 2, a.shape) - 1)).clip(0, 255).astype(np.uint8)
    mse = np.square(a.astype(float) - b).mean((1, 2))
    assert np.allclose(pixels.psnr(a, b), 20 * np.log10(255) - 10 * np.log10(mse)) and np.isinf(pixels.psnr(a, a)).all()
    assert np.allclose(pixels.ssim(a, a), 1) and (pixels.ssim(a, b) < 1).all()
    ramp = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8)[None] * 4
    noisy = (ramp.astype(int) + rng.integers(-9, 10, ramp.shape)).clip(0, 255).astype(np.uint8)
    # by scikit-image 0.26.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    assert pixels.ssim(ramp, noisy)[0] == pytest.approx(0.869365658500, abs=1e-9)


def test_ssim_is_the_formula():
    """Written out: Gaussian means over windows of 11×11, and only windows that fit in."""
    rng = np.random.default_rng(3)
    w = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    mean = lambda x: (np.lib.stride_tricks.sliding_window_view(x, (11, 11)) * w).sum((2, 3))  # noqa: E731
    for shape in ((2, 28, 28), (2, 20, 31, 3)):
        a = rng.integers(0, 256, shape).astype(np.uint8)
        b = (a.astype(int) + rng.integers(-20, 21, shape)).clip(0, 255).astype(np.uint8)
        for pair, found in zip(zip(a, b), pixels.ssim(a, b)):
            layers = [p.astype(float).reshape(*shape[1:3], -1).transpose(2, 0, 1) for p in pair]
            values = []
            for x, y in zip(*layers):
                u, v = mean(x), mean(y)
                c1, c2 = 2.55**2, 7.65**2
                values.append(((2 * u * v + c1) * (2 * (mean(x * y) - u * v) + c2)
                               / ((u * u + v * v + c1) * (mean(x * x) - u * u + mean(y * y) - v * v + c2))).mean())  # fmt: skip
            assert found == pytest.approx(np.mean(values), abs=1e-9)


def test_category_measures_count_places_and_their_height(shop):
    model, k, items = make(shop), 4, [0, 3, 5, 6, 11]
    lists, _ = model.recommend(np.arange(12), k)
    hits, gains = 0, 0.0
    for u in range(12):
        left = [i for i in items if i not in shop.items_of(u)]
        hits += sum(i in items for i in lists[u])
        dcg = sum(1 / np.log2(place + 2) for place, i in enumerate(lists[u]) if i in items)
        gains += dcg / sum(1 / np.log2(place + 2) for place in range(min(k, len(left))))
    assert category_hit_ratio(model, shop, items, k) == pytest.approx(hits / (12 * k))
    assert pixels.category_ndcg(model, shop, items, k) == pytest.approx(gains / 12)
    assert pixels.category_ndcg(model, shop, np.arange(20), k) == pytest.approx(1)


def test_certificates_hold_and_are_of_the_layers(look, shop):
    constant, rng = pixels.lipschitz_bound(look), np.random.default_rng(0)
    clean = look.extract(shop.images)
    for epsilon in (1, 8, 40):
        bounds = np.minimum(pixels.feature_bound(look, shop.images, epsilon), constant * 28 * epsilon)
        lighter = (shop.images + epsilon * rng.integers(0, 2, shop.images.shape)).clip(0, 255).astype(np.uint8)
        aimed = attack(make(shop), shop, look, epsilon, progress=False)
        for changed in (aimed, pixels.random_signs(shop.images, epsilon), lighter):
            moved = (look.extract(changed) - clean).norm(dim=1).numpy()
            assert (moved <= bounds + 1e-9).all()
    norms = pixels.layer_norms(look.network)
    for layer, side, norm in zip(look.network.convolutions[::2], (28, 14, 7), norms):  # by power iteration, from below
        x = torch.randn(1, layer.in_channels, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(60):
            x = (x / x.norm()).requires_grad_()
            y = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
            x = torch.autograd.grad(y.square().sum() / 2, x)[0].detach()
        assert 0.98 * norm < float(x.norm().sqrt()) <= norm * (1 + 1e-9)


def test_defences_are_passed_forwards_and_backwards(look, shop):
    images = shop.images[:4]
    for defence in pixels.DEFENCES:
        behind = pixels.defended(look, defence)
        shown_to_it = pixels.defences.prepared(images, look, defence)
        assert not np.array_equal(shown_to_it, images)
        assert torch.allclose(behind.extract(images), look(torch.from_numpy(shown_to_it)[:, None]).detach(), atol=1e-9)
        assert behind.pull(images, torch.ones(4, 128, dtype=torch.float64)).abs().max() > 0
    grey = pixels.defences.prepared(images, look, "levels")
    assert len(np.unique(grey)) <= 8
    step = 1e-3 * torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blur = pixels.defended(look, "blur")
    slope, x = blur.pull(images, torch.ones(4, 128)), blur.pixels(images)
    up, down = (float(blur(x + sign * step).sum()) for sign in (1, -1))
    assert (up - down) / 2 == pytest.approx(float((slope * step).sum()), rel=1e-5)  # the blur's own gradient
    assert torch.allclose(look.extract(images), pixel_extractor("shop", "cpu").double().extract(images))  # look is as it was


def test_colour_pictures_of_a_network_of_ones_own(shop):
    """Any differentiable network, three colours, another size."""
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    net = torch.nn.Sequential(*layers).double().requires_grad_(False)
    look = PixelExtractor("mine", net, (3, 12, 10), 24, [120.0] * 3, [60.0] * 3, np.asarray, net, 7)
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 10, 3)).astype(np.uint8)
    data = amrlib.Dataset(shop.train, shop.test, look.extract(images).numpy(), n_users=12, n_items=20)
    changed = attack(make(data), data, look, 3, images=images, progress=False)
    assert changed.shape == images.shape and np.abs(changed.astype(int) - images).max() == 3
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    assert torch.allclose(look(x), net((x - 120) / 60))


@pytest.mark.parametrize("name, D", [("shop", 128), ("shop_other", 128), ("shop_robust", 128)])
def test_the_small_networks_look_as_the_shop_does(name, D, shop):
    look = pixel_extractor(name, "cpu")
    assert look.extract(shop.images).shape == (20, D) and look.extract(shop.images).dtype == torch.float32
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8))
    assert np.array_equal(look.prepare(picture), as_in_the_shop(picture))
    if name == "shop":
        boutique = amrlib.load_dataset("boutique")
        fresh = look.extract(boutique.images[:50]).numpy() / boutique.feature_scale
        assert np.allclose(fresh, boutique.features[:50], atol=1e-3)  # which are kept in 16 bits


@pytest.mark.parametrize(
    "wrong, says",
    [
        (dict(epsilon=-1), "epsilon"), (dict(norm="l1"), "norm"), (dict(goal="sell"), "goal"),
        (dict(goal="promote"), "needs items"), (dict(steps=0), "steps"),
        (dict(restarts=0), "restarts"), (dict(images=np.zeros((20, 28, 28))), "uint8"),
        (dict(images=np.zeros((20, 30, 28), np.uint8)), "prepare"), (dict(goal="promote", items=[99]), "outside"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(shop, look, wrong, says):
    with pytest.raises(ValueError, match=says):
        attack(make(shop), shop, look, progress=False, **wrong)


def test_what_cannot_be_attacked_is_refused(shop, look):
    with pytest.raises(ValueError, match="no item features"):
        attack(amrlib.MFBPR(dim=2).bind(shop), shop, look, progress=False)
    other = shop.replace(features=np.ones((20, 5)))
    with pytest.raises(ValueError, match="5 numbers and shop's 128"):
        attack(make(other), other, look, progress=False)
    with pytest.raises(ValueError, match="name must be"):
        pixel_extractor("vgg")
    with pytest.raises(ValueError, match="multiply floats"):
        look.pixels(np.full((1, 28, 28), 300.0))


def test_one_step_over_the_shop_shows_a_bar(shop, look, monkeypatch):
    shown_bars = []
    real = pixels.attacks.progress_bar
    monkeypatch.setattr(pixels.attacks, "progress_bar", lambda *a, **s: shown_bars.append((a[1:], s)) or real(*a, **s))
    attack(make(shop), shop, look, 8)
    assert shown_bars == [(("attack", True), {"total": 1})]
