"""What an assignment hands to one student alone: small data drawn from the student's number.

Public, and the same on every machine: whoever knows the number can make it. It keeps answers from being passed on, no more.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator", "toy_purchases"]


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
