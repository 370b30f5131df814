from __future__ import annotations

from mlstack.serving.answer_log import AnswerLog


def test_an_answer_is_found_by_its_request_id() -> None:
    answers = AnswerLog()
    answers.remember("1", "a", (3, 5), journaled=True)
    assert answers.find("1") == ("a", (3, 5), True)
    assert answers.find("2") is None


def test_the_oldest_are_forgotten_and_a_repeated_id_takes_one_place() -> None:
    answers = AnswerLog(size=100)
    for number in range(1000):
        answers.remember(str(number), "a", (number,))
        answers.remember("again", "a", (number,))
        assert len(answers) <= 100
        assert answers.find("again") is not None
    found = [number for number in range(1000) if answers.find(str(number))]
    assert found == list(range(901, 1000)) or found == list(range(900, 1000))
    assert answers.find("999") == ("a", (999,), False)
