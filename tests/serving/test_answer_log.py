from __future__ import annotations

from mlstack.serving.answer_log import Answered, AnswerLog


def test_an_answer_is_found_by_its_request_id() -> None:
    answers = AnswerLog()
    given = Answered("a", (3, 5), journaled=True, outdated=False)
    answers.remember("1", given)
    assert answers.find("1") == given
    assert answers.find("2") is None


def test_the_oldest_are_forgotten_and_a_repeated_id_takes_one_place() -> None:
    answers = AnswerLog(size=100)
    for number in range(1000):
        answers.remember(str(number), Answered("a", (number,), False, False))
        answers.remember("again", Answered("a", (number,), False, False))
        assert len(answers) <= 100
        assert answers.find("again") is not None
    found = [number for number in range(1000) if answers.find(str(number))]
    assert found == list(range(901, 1000)) or found == list(range(900, 1000))
    assert answers.find("999") == ("a", (999,), False, False)


def test_answers_of_a_version_that_was_replaced_are_known_as_such() -> None:
    answers = AnswerLog()
    for name, arm in (("1", "a"), ("2", "b")):
        answers.remember(name, Answered(arm, (0,), journaled=False, outdated=False))
    answers.outdate("a")
    assert [answered.outdated for name in "12" if (answered := answers.find(name))] == [True, False]
