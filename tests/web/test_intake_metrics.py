from __future__ import annotations

from flashd.web.metrics import Metrics


def test_webhooks_count_by_result_their_time_by_bucket_and_only_proven_ones_move_the_last_event() -> None:
    metrics = Metrics()
    metrics.intake.webhooks(2, "shop", "accepted", 0.001, now_ms=1_790_000_000_000)
    metrics.intake.webhooks(1, "shop", "unauthenticated", 0.3, now_ms=1_790_000_009_000)
    metrics.intake.webhooks(1, "unknown", "unauthenticated", 9.0, now_ms=1_790_000_009_000)
    metrics.intake.reservation("held")
    lines = metrics.text().decode().splitlines()
    assert 'flashd_webhooks_received_total{channel="shop",result="accepted"} 2.0' in lines
    assert 'flashd_webhooks_received_total{channel="unknown",result="unauthenticated"} 1.0' in lines
    assert 'flashd_webhook_ack_duration_seconds_bucket{le="0.001"} 2.0' in lines
    assert 'flashd_webhook_ack_duration_seconds_bucket{le="0.5"} 3.0' in lines
    assert 'flashd_webhook_ack_duration_seconds_bucket{le="5.0"} 3.0' in lines
    assert 'flashd_webhook_ack_duration_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "flashd_webhook_ack_duration_seconds_count 4.0" in lines
    assert [line for line in lines if line.startswith("flashd_channel_last_event")] == [
        'flashd_channel_last_event_timestamp_seconds{channel="shop"} 1.79e+09'
    ]
    assert 'flashd_reservations_total{result="held"} 1.0' in lines
