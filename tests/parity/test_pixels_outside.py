"""The same FGSM as two outside libraries, torchattacks 3.5 and ART 1.20, in float64, wherever the gradient's entry exceeds
1e-10. Both attack a classifier by its cross-entropy; they are given a network whose cross-entropy is our loss.

Neither is in requirements.txt: pip install torchattacks adversarial-robustness-toolbox, in an environment of its own."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrlib.pixels import attack, pixel_extractor

EPSILON = 4


@pytest.fixture(scope="module")
def look():
    return pixel_extractor("shop", "cpu").double()


@pytest.fixture(scope="module")
def shop(look):
    """15 users with two training items each, so that all have the same number of rivals; pictures of the real shop."""
    images = np.array(amrlib.load_dataset("boutique").images[:300:12])  # (25, 28, 28)
    images = images.clip(EPSILON, 255 - EPSILON)  # so that no step is cut off
    rng = np.random.default_rng(0)
    bought = [rng.choice(25, 3, replace=False) for _ in range(15)]
    train = np.array([(u, i) for u, (i, j, _) in enumerate(bought) for i in (i, j)])
    features = look.extract(images).numpy() / 2.5
    return amrlib.Dataset(train, np.array([b[2] for b in bought]), features, n_users=15, n_items=25, images=images,
                          extras={"feature_scale": 2.5})  # fmt: skip


class AsClassifier(torch.nn.Module):
    """All pictures of the shop in [0, 1] -> a row for every user and rival, (ŷ_uj, ŷ_ui), whose cross-entropy with class 1 is
    −ln σ(ŷ_ui − ŷ_uj). Its mean is the loss that is attacked, up to a factor."""

    def __init__(self, model, shop, look):
        super().__init__()
        self.model, self.look, self.scale = model, look, shop.feature_scale
        self.pairs = [(u, j) for u in shop.test_users for j in range(shop.n_items)
                      if j != shop.test[u] and j not in shop.items_of(u)]  # fmt: skip
        self.held = torch.as_tensor(shop.test)
        self.labels = torch.ones(len(self.pairs), dtype=torch.long)
        self.weight = torch.nn.Parameter(torch.zeros(1))  # both ask a network for its device

    def forward(self, x):
        y = self.model.user_vectors() @ self.model.item_vectors(self.look(255 * x) / self.scale).T  # (M, N)
        users, rivals = torch.as_tensor(self.pairs).unbind(1)
        return torch.stack([y[users, rivals], y[users, self.held[users]]], 1)


def gradient(network, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(network(x), network.labels), x)[0]


def outside(name, network, x):
    if name == "torchattacks":
        import torchattacks

        return torchattacks.FGSM(network, eps=EPSILON / 255)(x, network.labels)
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    # ART wants one label a picture: it gets some, and the loss ignores them. generate() would go through float32: its parts
    loss = lambda rows, _: F.cross_entropy(rows, network.labels)  # noqa: E731
    estimator = PyTorchClassifier(network, loss, (1, 28, 28), 2, clip_values=(0.0, 1.0), device_type="cpu")
    slope = estimator.loss_gradient(x.numpy(), np.zeros(len(x), dtype=int))
    assert slope.dtype == np.float64
    step = FastGradientMethod(estimator, eps=EPSILON / 255, batch_size=len(x))
    return torch.from_numpy(step._apply_perturbation(x.numpy().copy(), np.sign(slope), EPSILON / 255))


@pytest.mark.parametrize("name", ["torchattacks", "art"])
def test_the_same_step_outside(name, shop, look, record_property):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is absent")
    model = amrlib.VBPR(dim=4, init_std=0.5, dtype=torch.float64).bind(shop)
    network, x = AsClassifier(model, shop, look), look.pixels(shop.images) / 255
    theirs = ((outside(name, network, x) - x) * 255).numpy()[:, 0]
    ours = attack(model, shop, look, EPSILON, progress=False).astype(int) - shop.images
    clear = (gradient(network, x).abs() > 1e-10).numpy()[:, 0]
    record_property("share of entries below 1e-10", float(1 - clear.mean()))
    print(f"{name}: {1 - clear.mean():.2%} of the entries are at most 1e-10")
    assert clear.mean() > 0.5
    assert np.allclose(theirs[clear], ours[clear], atol=1e-6)
    assert np.abs(ours[~clear]).max(initial=0) <= EPSILON
