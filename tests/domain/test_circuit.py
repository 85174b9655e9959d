from __future__ import annotations

from flashd.domain.circuit import Circuit


def test_requests_under_way_together_tell_of_one_outage() -> None:
    circuit = Circuit()
    news = [circuit.went_away(10.0 + step / 100, sent_s=9.9)[0] for step in range(4)]
    assert news == [True, False, False, False]
    assert circuit.retry_at_s == 11.0
    assert circuit.went_away(11.2, sent_s=11.1) == (False, 2.0)


def test_an_open_circuit_lets_one_probe_out_at_a_time() -> None:
    circuit = Circuit()
    circuit.went_away(10.0, sent_s=9.9)
    assert not circuit.may_try(10.5, in_flight=0)
    assert circuit.may_try(11.0, in_flight=0)
    assert not circuit.may_try(11.0, in_flight=1)


def test_an_answer_closes_it_and_says_that_it_came_back() -> None:
    circuit = Circuit(slow_start_s=10.0)
    assert not circuit.answered(5.0)
    circuit.went_away(10.0, sent_s=9.9)
    assert circuit.answered(12.0)
    assert not circuit.answered(12.1)
    assert circuit.slow.factor(12.5) == 0.1
    assert circuit.slow.factor(60.0) == 1.0


def test_only_doubts_in_a_row_open_it() -> None:
    circuit = Circuit()
    for when in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        assert circuit.doubted(when, sent_s=when - 0.5) == (False, 0.0)
        if when % 2:
            circuit.answered(when + 0.1)
    for when in (10.0, 11.0):
        circuit.doubted(when, sent_s=when - 0.5)
    assert circuit.doubted(12.0, sent_s=11.5) == (True, 1.0)


def test_throttled_without_a_time_waits_ever_longer() -> None:
    circuit = Circuit()
    assert circuit.throttled(10.0, 9.9, None) == (True, 1.0)
    assert circuit.throttled(10.0, 9.9, None) == (False, 1.0)  # sent together with the first
    assert circuit.throttled(12.0, 11.5, None) == (False, 2.0)
    assert circuit.throttled(20.0, 19.0, 0.0) == (False, 1.0)
    assert circuit.throttled(30.0, 29.0, 1e6) == (False, 900.0)
