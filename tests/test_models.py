"""Each model against its formula written out, and what all of them can do for newcomers."""

import numpy as np
import pytest
import torch

import amrlib

KINDS = [amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
F64 = dict(dim=4, dtype=torch.float64, init_std=0.5)


def shop(M=8, N=10, D=5, seed=0, rows=30):
    """The last two items are cold."""
    rng = np.random.default_rng(seed)
    train = np.unique(np.stack([rng.integers(M, size=rows), rng.integers(N - 2, size=rows)], 1), axis=0)
    return amrlib.Dataset(train, rng.integers(N, size=M), features=rng.normal(size=(N, D)), n_items=N)


# ---------------------------------------------------------------- scores


def test_two_vector_vbpr_is_the_formula():
    data = shop()
    model = amrlib.VBPRTwoVector(**F64).bind(data)
    model.fit(data, epochs=5, lr=0.2, progress=False)
    p, h, q, b = (x.numpy() for x in (model.p, model.h, model.Q[:, :-1], model.item_bias))
    E, beta, c = model.E[:, :-1].numpy(), model.visual_bias.numpy(), data.features
    assert p.shape == h.shape == (8, 4) and b.shape == (10,) and beta.shape == (5,)
    for u in range(8):
        for i in range(10):
            written_out = p[u] @ q[i] + h[u] @ (E.T @ c[i]) + b[i] + beta @ c[i]
            assert model.score(u)[0, i] == pytest.approx(written_out, rel=1e-12)
    assert (model.P[:, model.constant_columns] == 1).all()
    assert b[:8].any() and not b[8:].any() and beta.any()  # learned; nothing known of cold items
    gram = E @ h.T + beta[:, None]  # (D, M): what c_i is multiplied by
    assert np.allclose(model.sensitivity(), np.linalg.norm(gram, axis=0), rtol=1e-12)


def test_each_score_is_its_equation():
    data = shop()
    c = data.features
    for kind in KINDS:
        model = kind(**F64).bind(data)
        P = model.P.numpy()
        Q = np.zeros((10, 4)) if model.Q is None else model.Q.numpy()[:, :4]
        visual = np.zeros((10, 4)) if model.E is None else c @ model.E.numpy()[:, :4]
        if kind is amrlib.VBPRTwoVector:
            expected = model.p.numpy() @ Q.T + model.h.numpy() @ visual.T
        else:
            expected = P @ (Q + visual).T
        assert np.allclose(model.score(np.arange(8)), expected, rtol=1e-12, atol=1e-15), kind
        assert not Q[8:].any(), "cold items have no history"
    counts = amrlib.Popularity().bind(data).score([0])[0]
    assert counts.tolist() == data.item_counts.tolist()


@pytest.mark.parametrize("kind", [amrlib.Popularity, *KINDS])
def test_recommendations_are_the_best_of_what_is_new_to_the_user(kind):
    data = shop()
    model = kind().bind(data) if kind is amrlib.Popularity else kind(**F64).bind(data)
    items, scores = model.recommend(np.arange(8), k=10)
    for u in range(8):
        S = model.score(u)[0].double().numpy()
        new = [i for i in range(10) if i not in data.items_of(u)]
        assert sorted(items[u][: len(new)]) == new and (items[u][len(new) :] == -1).all()
        assert np.allclose(scores[u][: len(new)], np.sort(S[new])[::-1], rtol=1e-12)
        assert np.isneginf(scores[u][len(new) :]).all()


def test_nothing_left_to_recommend():
    data = amrlib.Dataset([[0, 0], [0, 1], [1, 0]], [-1, -1])
    items, scores = amrlib.Popularity().bind(data).recommend(0, k=2)
    assert items.tolist() == [-1, -1] and np.isneginf(scores).all()  # one user, one row


def test_changed_features_change_what_is_seen():
    data = shop()
    model = amrlib.VBPR(**F64).bind(data)
    moved = data.features + 1.0
    assert np.allclose(model.item_vectors(moved), model.Q + torch.as_tensor(moved) @ model.E)
    wanted = torch.as_tensor(moved).requires_grad_()
    model.item_vectors(wanted).sum().backward()  # an attack on pixels needs this gradient
    assert np.allclose(wanted.grad, model.E.sum(1).expand_as(wanted))


# ---------------------------------------------------------------- popularity, warm starts, files


def test_popularity_counts_again():
    data = shop()
    model = amrlib.Popularity().bind(data)
    other = data.replace(train=data.train[:5])
    assert model.fit(other) is model and len(model.history) == 1
    assert model.item_vectors()[:, 0].tolist() == other.item_counts.tolist()


def test_the_papers_chain():
    data = shop()
    mf = amrlib.MFBPR(dim=4).bind(data)
    mf.fit(data, epochs=2, progress=False)
    vbpr = amrlib.VBPR.warm_start(mf, data)
    assert torch.equal(vbpr.P, mf.P) and torch.equal(vbpr.Q, mf.Q)
    vbpr.fit(data, epochs=2, progress=False)
    amr = amrlib.AMR.warm_start(vbpr, data, epsilon=0.3)
    assert all(torch.equal(getattr(amr, n), getattr(vbpr, n)) for n in "PQE") and amr.epsilon == 0.3
    amr.P += 1
    assert not torch.equal(amr.P, vbpr.P)  # a copy
    mf.Q[:] = 1.0
    assert not amrlib.VBPR.warm_start(mf, data).Q[8:].any()  # cold stays unknown


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind, tmp_path):
    data = shop()
    own = {"epsilon": np.linspace(0, 1, 10), "perturbation": "random"} if kind is amrlib.AMR else {}
    model = kind(dim=3, **own).bind(data)
    model.fit(data, epochs=2, progress=False)
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model", data)
    assert torch.equal(again.user_vectors(), model.user_vectors())
    assert torch.equal(again.item_vectors(), model.item_vectors())
    assert str(again.get_params()) == str(model.get_params())
    assert again.recommend(0)[0].tolist() == model.recommend(0)[0].tolist()


# ---------------------------------------------------------------- eALS


def dense_loss(P, Q, R, W, reg):
    return (W * (R - P @ Q.T) ** 2).sum() + reg * ((P**2).sum() + (Q**2).sum())


def dense(model, data):
    R, W = np.zeros((data.n_users, data.n_items)), np.tile(model.c.numpy(), (data.n_users, 1))
    users, items = model.items_seen_by(np.arange(data.n_users))
    R[users, items], W[users, items] = 1.0, model._weights
    return R, W


def test_eals_loss_is_the_double_loop():
    data = shop()
    model = amrlib.MFeALS(c0=3.0, alpha=0.5, reg=0.1, **F64).bind(data)
    P0, Q0 = model.P.numpy().copy(), model.Q.numpy().copy()
    history = model.fit(data, epochs=3, progress=False).history
    R, W = dense(model, data)
    assert history["loss"][0] == pytest.approx(dense_loss(P0, Q0, R, W, 0.1), rel=1e-12)
    assert history["loss"][3] == pytest.approx(dense_loss(model.P.numpy(), model.Q.numpy(), R, W, 0.1), rel=1e-12)
    assert (np.diff(history["loss"]) <= 0).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_eals_ends_where_dense_weighted_least_squares_does(alpha):
    """Every row solves its own normal equations, and the gradient of the dense loss is nothing."""
    data = shop()
    model = amrlib.MFeALS(c0=2.0, alpha=alpha, reg=0.3, dim=3, dtype=torch.float64, init_std=0.5).bind(data)
    model.fit(data, epochs=400, progress=False)
    P, Q = model.P.numpy(), model.Q.numpy()
    R, W = dense(model, data)
    assert np.abs(P).max() > 0.1  # not the solution that is nothing
    if alpha == 0:
        assert np.allclose(model.c[:8], 2.0 / 8)  # uniform over the warm items
    for X, Y, R_, W_, known in ((P, Q, R, W, slice(None)), (Q, P, R.T, W.T, slice(0, 8))):
        for x, r, w in zip(X[known], R_[known], W_[known]):
            solution = np.linalg.solve((Y * w[:, None]).T @ Y + 0.3 * np.eye(3), Y.T @ (w * r))
            assert np.allclose(x, solution, atol=1e-9)
    error = W * (P @ Q.T - R)
    assert np.abs(error @ Q + 0.3 * P).max() < 1e-9 and np.abs((error.T @ P + 0.3 * Q)[:8]).max() < 1e-9


def best_coordinate(loss, theta, at):
    """The minimum of a parabola from three of its points."""
    f = []
    for value in (-1.0, 0.0, 1.0):
        theta[at] = value
        f.append(loss())
    theta[at] = (f[0] - f[2]) / (2 * (f[0] - 2 * f[1] + f[2]))


@pytest.mark.parametrize("pair", [(0, "new"), (3, "known"), (2, 9)])
def test_one_new_interaction(pair):
    """An unseen pair, a pair seen before, and a cold item: each coordinate ends at the dense loss's minimum."""
    data = shop()
    model = amrlib.MFeALS(c0=2.0, alpha=0.4, reg=0.1, **F64).bind(data)
    model.fit(data, epochs=2, progress=False)
    u, i = pair
    if i == "new":
        i = next(n for n in range(8) if n not in data.items_of(u))
    elif i == "known":
        i = int(data.items_of(u)[0])
    P, Q = model.P.numpy().copy(), model.Q.numpy().copy()
    model.update_online(u, i, w_new=4.0, iterations=2)
    R, W = dense(model, data)
    assert R[u, i] == 1 and W[u, i] == 4.0
    if i == 9:
        assert W[u - 1, 9] == 2.0 / 10  # c0 / N for an item never seen before
    for _ in range(2):
        for f in range(4):
            best_coordinate(lambda: dense_loss(P, Q, R, W, 0.1), P, (u, f))
        for f in range(4):
            best_coordinate(lambda: dense_loss(P, Q, R, W, 0.1), Q, (i, f))
    assert np.allclose(model.P, P, rtol=1e-8, atol=1e-10) and np.allclose(model.Q, Q, rtol=1e-8, atol=1e-10)
    S_p, S_q = model._caches
    assert np.allclose(S_p, P.T @ P, rtol=1e-10)
    assert np.allclose(S_q, (Q * model.c.numpy()[:, None]).T @ Q, rtol=1e-10)
    assert i not in model.recommend(u, k=10)[0]
    model.update_online((u + 1) % 8, 9)  # the caches serve the next one as well
    assert np.allclose(model._caches[0], model.P.T @ model.P, rtol=1e-10)
    assert not data.is_train(u, 9)  # the data set is not touched


# ---------------------------------------------------------------- newcomers


@pytest.mark.parametrize("kind", [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR])
def test_fold_in_is_the_minimum_of_its_loss(kind):
    data = shop()
    model = kind(**F64).bind(data)
    items, reg = [1, 4, 4], 0.05
    u = model.fold_in(items, reg=reg)
    V = model.item_vectors()
    others = [i for i in range(8) if i not in items]  # warm items only

    def loss(p):
        x = torch.stack([(V[i] - V[j]) @ p for i in (1, 4) for j in others])
        free = [k for k in range(len(p)) if k not in model.constant_columns]
        return torch.nn.functional.softplus(-x).sum() / len(others) + 2 * reg * p[free].square().sum()

    assert all(u[k] == 1 for k in model.constant_columns)
    p = u.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(p), p)
    gradient[list(model.constant_columns)] = 0
    assert gradient.abs().max() < 1e-6
    before = model.P.clone()
    assert torch.equal(model.fold_in([1]), model.fold_in([1])) and torch.equal(before, model.P)


def test_fold_in_of_eals_is_the_normal_equation():
    data = shop()
    model = amrlib.MFeALS(c0=2.0, reg=0.3, **F64).bind(data)
    model.fit(data, epochs=400, progress=False)
    for u in range(8):
        if len(data.items_of(u)):  # at convergence a known user's own items give the user's own vector
            assert np.allclose(model.fold_in(data.items_of(u)), model.P[u], atol=1e-8)


def test_recommending_to_a_newcomer():
    data = shop()
    model = amrlib.VBPR(dim=4).bind(data)
    model.fit(data, epochs=20, progress=False)
    u = model.fold_in([1, 4])
    items, scores = model.recommend_for(u, k=10, exclude=[1, 4])
    expected = (model.item_vectors() @ u).double().numpy()
    assert sorted(items[:8]) == [0, 2, 3, 5, 6, 7, 8, 9] and items[8:].tolist() == [-1, -1]
    assert np.allclose(scores[:8], np.sort(np.delete(expected, [1, 4]))[::-1], rtol=1e-5)
    known, _ = model.recommend(0, k=3)  # (3,)
    assert model.recommend_for(model.user_vectors()[0], 3, exclude=data.items_of(0))[0].tolist() == known.tolist()


def test_new_items_stand_where_cold_ones_do():
    data = shop()
    for kind in (amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR):
        model = kind(**F64).bind(data)
        new = model.new_item_vectors(data.features[8:])
        assert torch.allclose(new, model.item_vectors()[8:], rtol=1e-12)
        items, _ = model.recommend_for(model.user_vectors()[0], k=2, item_vectors=new)
        assert sorted(items) == [0, 1]


def test_features_are_kept_in_the_type_that_is_asked_for():
    data = shop()
    model = amrlib.VBPR(dim=4).bind(data).to("cpu", features=torch.bfloat16)
    assert model.features.dtype == torch.bfloat16 and model.E.dtype == torch.float32
    rounded = torch.as_tensor(data.features).bfloat16().float()
    assert torch.equal(model.item_vectors(), amrlib.VBPR(dim=4).bind(data).item_vectors(rounded))
    model.fit(data, epochs=1, progress=False)
    assert model.features.dtype == torch.bfloat16  # fit leaves it so
    with pytest.raises(ValueError, match="MFBPR has none"):
        amrlib.MFBPR(dim=4).bind(data).to("cpu", features=torch.float16)
    with pytest.raises(ValueError, match="floating-point"):
        model.to("cpu", features=torch.int8)
    huge = amrlib.VBPR(dim=4).bind(data.replace(features=1e5 * data.features))
    with pytest.raises(ValueError, match="too large"):
        huge.to("cpu", features=torch.float16)
