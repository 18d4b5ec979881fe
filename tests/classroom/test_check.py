"""The cell that checks a reader's own answer: what it says, and that it never raises."""

import doctest

import numpy as np
import pytest
import torch

from amrbook import check, personal


def said(capsys, *arguments, call=check.function, **more):
    call(*arguments, **more)
    return capsys.readouterr().out


def test_the_examples_of_its_documentation():
    assert doctest.testmod(check).attempted and doctest.testmod(check).failed == 0


@pytest.mark.parametrize("answer", [None, ..., lambda x: None, lambda x: ..., lambda x: (None, None)])
def test_a_stub_is_not_answered_yet(capsys, answer):
    assert said(capsys, "q1", answer, check.case((1,), 1, "one")).startswith("· q1: not answered yet")


def test_a_stub_that_raises_is_not_answered_either(capsys):
    def answer(x):
        raise NotImplementedError

    assert "not answered yet" in said(capsys, "q1", answer, check.case((1,), 1, "one"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2.0, "It gave 2; expected 1."),
        (lambda x: np.nan, "It is not finite."),
        (lambda x: "one", "not made of numbers"),
        (lambda x: [1, 2, 3], "It gave 3 numbers; expected 1"),
        (lambda x: 1 / 0, "It stops with ZeroDivisionError"),
        (lambda x, y: 1, "should take 1 arguments"),
        (7, "this should be a function; it is a int"),
    ],
)
def test_it_says_in_words_what_is_wrong(capsys, answer, words):
    assert words in said(capsys, "q1", answer, check.case((1,), np.array([1.0]) if "numbers;" in words else 1.0, "one is one"))


def test_what_is_right_in_another_type_is_right(capsys):
    for answer in (1, 1.0, np.float32(1), torch.tensor(1.0), np.array([1.0])):
        assert said(capsys, "q1", lambda x, a=answer: a, check.case((1,), 1.0, "one is one")).startswith("✓")
    assert check.why_different([1, 2], (1, 2)) is None and check.why_different((1, 2), [1, 2]) is None


def test_an_answer_cannot_change_what_the_next_case_is_given(capsys):
    given = np.ones(2)

    def answer(x):
        x += 1
        return x

    text = said(capsys, "q1", answer, check.case((given,), [2, 2], "once"), check.case((given,), [2, 2], "twice"))
    assert text.count("✓") == 2


def test_a_hidden_comparison_names_no_value():
    for got, expected in ((41.5, 42.25), ("41.5", "42.25"), (np.array([41.5]), np.array([42.25])), ((41.5, 1), (42.25, 1))):
        why = check.why_different(got, expected, show=False)
        assert why and "4" not in why


@pytest.mark.parametrize(
    ("value", "kind", "more", "words"),
    [
        (None, int, {}, "not answered yet"),
        (3, int, {"between": (0, 7)}, "right form"),
        (8, int, {"between": (0, 7)}, "between 0 and 7"),
        (True, int, {}, "this should be a int; it is a bool"),
        ([1, 2], list, {"shape": (3,)}, "shape (3,)"),
        (np.zeros((2, 2)), np.ndarray, {"shape": (2, 2)}, "right form"),
        (float("nan"), float, {"between": (0, 1)}, "should lie between"),
    ],
)
def test_the_form_of_a_value(capsys, value, kind, more, words):
    assert words in said(capsys, "q5", value, kind, call=check.value, **more)


def test_a_property(capsys):
    assert "not answered yet" in said(capsys, "q6", "it holds", lambda: True, None, call=check.holds)
    assert said(capsys, "q6", "it holds", lambda: torch.tensor([True, True]), call=check.holds).startswith("✓")
    assert "does not hold yet" in said(capsys, "q6", "it holds", lambda: np.array([True, False]), call=check.holds)
    assert "KeyError" in said(capsys, "q6", "it holds", lambda: {}["a"], call=check.holds)


def test_personal_values_depend_on_the_number_and_on_nothing_else():
    one, again, other = (personal.toy_purchases(n, "bpr", 8, 10, 3) for n in (1, 1, 2))
    assert (one == again).all() and (one != other).any() and (one.sum(axis=1) == 3).all()
    assert (personal.toy_purchases(1, "measures", 8, 10, 3) != one).any()
    with pytest.raises(TypeError, match="digits without quotes"):
        personal.toy_purchases("1", "bpr", 8, 10, 3)


@pytest.mark.parametrize("student", range(60))
def test_a_visual_shop_has_three_cold_items_that_are_not_first(student):
    train, P, Q, E, features = personal.visual_shop(student, "vbpr")
    cold = np.setdiff1d(np.arange(9), train[:, 1])
    assert len(cold) == 3 and len(train) == 16
    Q = Q.copy()
    Q[cold] = 0
    y = (Q + features @ E) @ P[0]
    assert y[cold].min() < np.delete(y, cold).max()


def test_flat_users_leave_one_direction_free():
    sizes = np.linalg.svd(personal.flat_users(5, "amr-users"))[1]
    assert sizes[2] > 1e-3 and sizes[3] < 1e-12
