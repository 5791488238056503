"""Every gauge of `/metrics`, by name: docs/metrics.md is checked against this, and so is what is in deploy/."""

from alexandria.meters import Family

OTHER = "other"
"""What consumers are called whose names a program outside chose itself: labels come from closed sets."""


def _gauge(name: str, unit: str, documentation: str, *labels: str) -> Family:
    return Family(name, "gauge", unit, documentation, labels)


GAUGES: tuple[Family, ...] = (
    _gauge("alexandria_up", "0 or 1", "Whether the database answered; when it is 0 nothing else is told."),
    _gauge("alexandria_build_info", "1", "The version that answers.", "version"),
    _gauge("alexandria_scrape_seconds", "seconds", "How long it took to read all this."),
    _gauge(
        "alexandria_processes_alive",
        "processes",
        "Servers, workers and commands that gave a sign of life within 30 s.",
    ),
    _gauge("alexandria_workers_alive", "workers", "Workers in them."),
    # The quota, of the provider's day
    _gauge(
        "alexandria_quota_used_units",
        "units",
        "Charged to the day for our calls: `settled`, `reserved` (on their way) or `unresolved` (nobody knows).",
        "provider",
        "lane",
        "consumer",
        "state",
    ),
    _gauge(
        "alexandria_quota_charged_units",
        "units",
        "Everything charged to the day, foreign use included.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_foreign_units",
        "units",
        "What the provider counted beyond ours; below 0: less.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_limit_units",
        "units",
        "What may be charged to the day; none where there is no limit.",
        "provider",
    ),
    _gauge("alexandria_quota_left_units", "units", "What may still be spent of it.", "provider"),
    _gauge(
        "alexandria_quota_lane_left_units",
        "units",
        "The same without what is kept for higher lanes.",
        "provider",
        "lane",
    ),
    _gauge(
        "alexandria_quota_day_confirmed",
        "0 or 1",
        "Whether the provider has said that it is this day.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_reset_timestamp_seconds",
        "Unix time",
        "When the provider's next day begins.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_counted_units",
        "units",
        "The provider's own count of the day, when it was last asked.",
        "provider",
    ),
    _gauge("alexandria_quota_counted_timestamp_seconds", "Unix time", "When that was.", "provider"),
    _gauge(
        "alexandria_quota_pace_units_per_hour",
        "units an hour",
        "Ours of the last hour, and the day's mean of foreign use.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_unused_units",
        "units",
        "What will not be spent at the reset at that pace.",
        "provider",
    ),
    _gauge(
        "alexandria_quota_exhaustion_timestamp_seconds",
        "Unix time",
        "When nothing is left at that pace; absent when that is not before the reset.",
        "provider",
    ),
    # Providers
    _gauge(
        "alexandria_provider_blocked",
        "0 or 1",
        "Whether no call can be made, and why: `exhausted`, `breaker`, `suspended` (the key is refused) or `guard` (midnight).",
        "provider",
        "reason",
    ),
    _gauge(
        "alexandria_provider_failures_in_a_row",
        "answers",
        "Answers of no use; after five nobody asks for a while.",
        "provider",
    ),
    _gauge("alexandria_provider_rate_requests", "requests", "What the rate window grants.", "provider"),
    _gauge("alexandria_provider_rate_window_seconds", "seconds", "How long that window is.", "provider"),
    _gauge(
        "alexandria_provider_slot_wait_seconds",
        "seconds",
        "How far ahead the first free slot is.",
        "provider",
    ),
    # Queues and runs
    _gauge(
        "alexandria_queue_jobs",
        "jobs",
        "Jobs in the queue: `waiting`, `snoozed` (put off), `in_work`, or `dead` (dead letters).",
        "kind",
        "state",
    ),
    _gauge(
        "alexandria_queue_oldest_seconds",
        "seconds",
        "For how long the first that waits could have been taken.",
        "kind",
    ),
    _gauge(
        "alexandria_gate_closed",
        "0 or 1",
        "Whether producers wait until what they fill is down to its low-water mark.",
        "gate",
    ),
    _gauge(
        "alexandria_gate_depth",
        "jobs, items or covers",
        "What waits before a gate; backlogs are counted every ten seconds.",
        "gate",
    ),
    _gauge("alexandria_gate_low_water", "jobs, items or covers", "Where a gate opens again.", "gate"),
    _gauge("alexandria_gate_high_water", "jobs, items or covers", "Where a gate closes.", "gate"),
    _gauge(
        "alexandria_gate_drain_per_minute",
        "jobs a minute",
        "What left the queue behind a gate within five minutes.",
        "gate",
    ),
    _gauge("alexandria_harvest_runs", "runs", "Runs, by what they harvest and their state.", "kind", "state"),
    _gauge(
        "alexandria_harvest_items",
        "items",
        "Open items of open runs: the backlog. Counted once a minute at most.",
        "kind",
        "state",
    ),
    _gauge("alexandria_alerts_open", "alerts", "Alerts that are open.", "kind"),
    _gauge(
        "alexandria_dial_value",
        "its own",
        "Where a dial stands that is tuned, for processes configured as this server.",
        "dial",
    ),
    _gauge(
        "alexandria_schedule_fired_timestamp_seconds",
        "Unix time",
        "When an entry of the schedule was last fired.",
        "entry",
    ),
    _gauge(
        "alexandria_schedule_outcome",
        "0 or 1",
        "What came of that: 1 for one of the outcomes.",
        "entry",
        "outcome",
    ),
    # The catalogue
    _gauge(
        "alexandria_catalogue_rows",
        "rows",
        "About how many there are of `works`, `editions`, `authors` and `source_records`: the server's own estimate.",
        "table",
    ),
    _gauge(
        "alexandria_covers",
        "covers",
        "ISBNs for whose cover an address is known, by state. Counted once a minute at most.",
        "state",
    ),
)
