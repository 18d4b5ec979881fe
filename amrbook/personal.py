"""What an assignment hands to one student alone: small data drawn from the student's number.

Public, and the same on every machine: whoever knows the number can make it. It keeps answers from being passed on, no more.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["flat_users", "generator", "toy_purchases", "visual_shop"]


def generator(student: int, assignment: str) -> np.random.Generator:
    """Random numbers that depend on the student's number and the assignment, and on nothing else.

    Raises
    ------
    TypeError
        The number is not a whole number, as ``STUDENT = 1234567``.
    """
    if isinstance(student, bool) or not isinstance(student, int | np.integer):
        raise TypeError(f"STUDENT should be your student number, digits without quotes, not {student!r}")
    digest = hashlib.sha256(f"{assignment}/{int(student)}".encode()).digest()
    return np.random.default_rng(list(np.frombuffer(digest, dtype="<u4")))


def toy_purchases(student: int, assignment: str, n_users: int, n_items: int, each: int) -> np.ndarray:
    """Who bought what in a small shop of one's own.

    Returns
    -------
    (n_users, n_items) bool, ``each`` purchases a row.
    """
    order = generator(student, assignment).random((n_users, n_items)).argsort(axis=1)
    return order.argsort(axis=1) < each


def visual_shop(student: int, assignment: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A small shop with pictures, and a model of it.

    Returns
    -------
    train : (16, 2) int
        Purchases, user and item, of 4 users; three of the 9 items were bought by nobody. With a vector q of 0, these are
        not the first in user 0's list.
    P : (4, 3), Q : (9, 3), E : (5, 3), features : (9, 5)
    """
    random = generator(student, assignment)
    warm = np.sort([*random.permutation(8)[:5], 8])  # the last one is warm: whoever forgets the tail in q3 pays there alone
    rows = [(user, item) for user in range(4) for item in random.permutation(warm)[:4]]
    rows[:6] = [(at % 4, item) for at, item in enumerate(warm)]  # every warm item at least once
    P, Q, E = random.normal(size=(4, 3)), random.normal(size=(9, 3)), random.normal(size=(5, 3))
    features = random.uniform(0, 1, size=(9, 5))
    cold = np.setdiff1d(np.arange(9), warm)
    ahead = (features[cold] @ E @ P[0]).min() - ((Q + features @ E)[warm] @ P[0]).max()
    Q[warm] += (max(ahead, 0) + 0.5) * P[0] / (P[0] @ P[0])
    return np.array(rows), P, Q, E, features


def flat_users(student: int, assignment: str) -> np.ndarray:
    """Six users' vectors in four dimensions, (6, 4), that use three of them: one direction is orthogonal to all."""
    random = generator(student, assignment)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    return random.normal(size=(6, 3)) @ turn[:3]
