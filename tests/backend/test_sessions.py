"""Codes, sessions and wrong guesses, with a clock that stands still until it is moved."""

from __future__ import annotations

import pytest

from mipro_walk.backend.sessions import (
    CODE_SECONDS,
    MAX_CODES,
    MAX_SESSIONS,
    SESSION_SECONDS,
    WRONG_BURST,
    Sessions,
    WrongGuesses,
)


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def sessions(time: Time) -> Sessions:
    return Sessions(time)


def test_code_is_good_once(sessions):
    code = sessions.issue_code()
    token = sessions.redeem(code)
    assert sessions.accepts(token)
    assert sessions.redeem(code) is None


def test_code_is_good_for_a_minute_only(sessions, time):
    in_time, late = sessions.issue_code(), sessions.issue_code()
    time.now += CODE_SECONDS - 1
    assert sessions.redeem(in_time)
    time.now += 1
    assert sessions.redeem(late) is None


def test_code_is_no_token_and_a_token_no_code(sessions):
    code, token = sessions.issue_code(), sessions.open()
    assert not sessions.accepts(code)
    assert sessions.redeem(token) is None


def test_session_ends_after_twelve_hours_or_when_asked(sessions, time):
    one, other = sessions.open(), sessions.open()
    sessions.end(one)
    assert [sessions.accepts(one), sessions.accepts(other)] == [False, True]
    time.now += SESSION_SECONDS
    assert not sessions.accepts(other)


def test_oldest_goes_when_there_are_too_many(sessions):
    codes = [sessions.issue_code() for _ in range(MAX_CODES + 1)]
    tokens = [sessions.open() for _ in range(MAX_SESSIONS + 1)]
    assert sessions.redeem(codes[0]) is None
    assert sessions.redeem(codes[1])
    assert [sessions.accepts(token) for token in (tokens[0], tokens[-1])] == [False, True]


@pytest.mark.parametrize("guess", ["", "x", "schlüssel", "\udce4", "0" * 512])
def test_odd_guesses_are_wrong(sessions, guess):
    sessions.issue_code()
    sessions.open()
    assert sessions.redeem(guess) is None
    assert not sessions.accepts(guess)


def test_secrets_are_long_and_none_is_kept_in_clear(sessions):
    code, token = sessions.issue_code(), sessions.open()
    assert min(len(code), len(token)) >= 43  # 256 bits in base64
    kept = repr([vars(sessions)[name] for name in ("_codes", "_tokens")])
    assert code not in kept
    assert token not in kept


def test_burst_of_wrong_guesses_has_to_wait_and_the_wait_ends(time):
    wrong = WrongGuesses(time)
    for _ in range(WRONG_BURST):
        assert wrong.seconds_to_wait() == 0
        wrong.count()
    wait = wrong.seconds_to_wait()
    assert wait > 0
    time.now += wait
    assert wrong.seconds_to_wait() == 0
