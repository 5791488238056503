"""Configuration: where values come from, what is refused, what is hidden."""

import re
from datetime import time, timedelta
from pathlib import Path

import pytest

from alexandria import config
from alexandria.domain.alerting import AlertKind, Severity
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.quota import Lane
from alexandria.domain.tuning import DIALS


def test_without_anything_set_the_defaults_hold() -> None:
    settings = config.load({})
    assert (settings.hard_limit, settings.safe_limit) == (15_000, 13_000)
    assert settings.isbndb_url == "https://api2.isbndb.com"
    assert settings.freshness == timedelta(days=30)
    assert settings.database_url is None
    assert config.is_loopback(settings.host)


def test_sources_are_named_or_switched_off() -> None:
    assert config.load({}).sources == ("openlibrary", "google-books")
    assert config.load({"ALEXANDRIA_SOURCES": "google-books"}).sources == ("google-books",)
    assert config.load({"ALEXANDRIA_SOURCES": "none"}).sources == ()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "alexandria.toml"
    file.write_text(
        'safe_limit = 500\nhard_limit = 900\napi_tokens = ["0123456789abcdef", "fedcba9876543210"]\n'
    )
    settings = config.load({"ALEXANDRIA_CONFIG": str(file), "ALEXANDRIA_SAFE_LIMIT": "400"})
    assert (settings.safe_limit, settings.hard_limit) == (400, 900)
    assert settings.api_tokens == ("0123456789abcdef", "fedcba9876543210")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"ALEXANDRIA_SAFE_LIMIT": "many"},
            "ALEXANDRIA_SAFE_LIMIT (from ALEXANDRIA_SAFE_LIMIT): 'many' is not a whole number",
        ),
        (
            {"ALEXANDRIA_SAFE_LIMIT": "16000"},
            "ALEXANDRIA_SAFE_LIMIT: 16,000 is more than ALEXANDRIA_HARD_LIMIT, 15,000",
        ),
        ({"ALEXANDRIA_SAFE_LIMIT": "-1"}, "must lie between 0 and"),
        ({"ALEXANDRIA_PORT": "70000"}, "must lie between 1 and 65,535"),
        ({"ALEXANDRIA_ISBNDB_URL": "api2.isbndb.com"}, "must be an address such as"),
        ({"ALEXANDRIA_DATABASE_URL": "sqlite:///x"}, "must be an address such as postgresql:"),
        ({"ALEXANDRIA_API_TOKENS": "short"}, "at least 16 characters"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "Nightly:bulk:-:0123456789abcdef"}, "the name must be 1 to 40 of"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:fast:-:0123456789abcdef"}, "has no lane in entry 1"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:bulk:many:0123456789abcdef"}, "has no ceiling in entry 1"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:bulk:-1:0123456789abcdef"}, "has no ceiling in entry 1"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:bulk:99999999:0123456789abcdef"}, "must lie between 0 and"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:bulk:-:0123456789abcde"}, "has no token in entry 1"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "nightly:bulk:-"}, "has no token in entry 1"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "a:bulk:-:0123456789abcdef a:bulk:-:fedcba9876543210"}, "a name twice"),
        ({"ALEXANDRIA_QUOTA_TOKENS": "a:bulk:-:0123456789abcdef b:bulk:-:0123456789abcdef"}, "a token twice"),
        (
            {
                "ALEXANDRIA_QUOTA_TOKENS": "a:bulk:-:0123456789abcdef",
                "ALEXANDRIA_API_TOKENS": "0123456789abcdef",
            },
            "ALEXANDRIA_QUOTA_TOKENS: a token is also one of ALEXANDRIA_API_TOKENS",
        ),
        ({"ALEXANDRIA_ISBNDB_KEY": "two words"}, "must be one word"),
        (
            {"ALEXANDRIA_SOURCES": "openlibrary goodreads"},
            "must be some of openlibrary, google-books, or none",
        ),
        ({"ALEXANDRIA_SOURCES": "none openlibrary"}, "must be some of openlibrary, google-books, or none"),
        ({"ALEXANDRIA_WIKIDATA_URL": "www.wikidata.org"}, "must be an address such as"),
        ({"ALEXANDRIA_LOG_LEVEL": "loud"}, "must be one of debug, info, warning, error"),
        ({"ALEXANDRIA_KV_ACCOUNT": "a/../b"}, "must be the identifier"),
        ({"ALEXANDRIA_KV_KEY": ".."}, "must be 1 to 512 letters"),
        ({"ALEXANDRIA_KV_KEY": "k" * 513}, "must be 1 to 512 letters"),
        ({"ALEXANDRIA_SAVE_LIMIT": "1"}, "is not a setting; did you mean ALEXANDRIA_SAFE_LIMIT?"),
        ({"ALEXANDRIA_CONFIG": "/nowhere/alexandria.toml"}, "ALEXANDRIA_CONFIG: /nowhere/alexandria.toml"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_reason(environment: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.load(environment)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_programs_outside_have_a_lane_a_ceiling_and_a_token() -> None:
    text = "nightly:bulk:2000:0123456789abcdef, shop-2:interactive:-:fedcba9876543210=="
    nightly, shop = config.load({"ALEXANDRIA_QUOTA_TOKENS": text}).quota_tokens
    assert (nightly.consumer, nightly.lane, nightly.ceiling) == ("external-nightly", Lane.BULK, 2000)
    assert (shop.consumer, shop.lane, shop.ceiling) == ("external-shop-2", Lane.INTERACTIVE, None)
    assert "0123456789abcdef" not in repr(nightly)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "alexandria.toml"
    file.write_text("safe_limits = 500\n")
    with pytest.raises(ConfigurationError, match="did you mean safe_limit"):
        config.load({"ALEXANDRIA_CONFIG": str(file)})


def test_a_file_that_is_no_toml_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "alexandria.toml"
    file.write_bytes(b"\xff\xfe not toml")
    with pytest.raises(ConfigurationError, match=r"alexandria\.toml"):
        config.load({"ALEXANDRIA_CONFIG": str(file)})


def test_an_empty_variable_means_that_it_is_not_set() -> None:
    assert config.load({"ALEXANDRIA_SAFE_LIMIT": ""}).safe_limit == 13_000


def test_what_is_shown_names_its_origin_and_hides_secrets() -> None:
    environment = {
        "ALEXANDRIA_ISBNDB_KEY": "k" * 24,
        "ALEXANDRIA_DATABASE_URL": "postgresql://reader:pa55@db.example/alexandria?sslpassword=pa55",
        "ALEXANDRIA_API_TOKENS": "0123456789abcdef",
        "ALEXANDRIA_QUOTA_TOKENS": "a:bulk:-://fedcba9876543210/x",
    }
    shown = {each.name: each for each in config.show(environment)}
    assert shown["isbndb_key"].value == "***"
    assert shown["isbndb_key"].origin == "ALEXANDRIA_ISBNDB_KEY"
    assert shown["database_url"].value == "postgresql://***@db.example/alexandria"
    assert shown["safe_limit"].value == "13000"
    assert shown["safe_limit"].origin == "default"
    everything = " ".join(str(each) for each in shown.values())
    assert "pa55" not in everything
    assert "kkkk" not in everything
    assert "0123456789abcdef" not in everything
    assert "fedcba9876543210" not in everything


def test_a_wrong_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.load({"ALEXANDRIA_ISBNDB_KEY": "secret value"})
    assert "secret value" not in str(refused.value)
    for entry in ("a:bulk:-:s%cret-0123456789", "s-cret-0123456789", "a:s-cret-0123456789:-:bulk"):
        with pytest.raises(ConfigurationError) as refused:
            config.load({"ALEXANDRIA_QUOTA_TOKENS": entry})
        assert "cret-0123456789" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("::", False), ("example.org", False)],
)
def test_loopback_is_told_from_the_rest_of_the_world(host: str, expected: bool) -> None:
    assert config.is_loopback(host) is expected


MIRROR = {
    "ALEXANDRIA_KV_ACCOUNT": "an-account",
    "ALEXANDRIA_KV_NAMESPACE": "a-namespace",
    "ALEXANDRIA_KV_TOKEN": "a-token",
}


def test_the_mirror_is_off_without_settings_and_on_with_all_three() -> None:
    off, on = config.load({}), config.load(MIRROR)
    assert (off.kv_account, off.kv_namespace, off.kv_token) == (None, None, None)
    assert (on.kv_account, on.kv_namespace, on.kv_token) == ("an-account", "a-namespace", "a-token")
    assert (on.kv_key, on.kv_url) == ("alexandria_quota", "https://api.cloudflare.com/client/v4")
    assert "a-token" not in " ".join(str(each) for each in config.show(MIRROR))


@pytest.mark.parametrize("left_out", MIRROR)
def test_a_part_of_the_mirrors_settings_is_refused_by_what_is_missing(left_out: str) -> None:
    rest = {name: value for name, value in MIRROR.items() if name != left_out}
    with pytest.raises(ConfigurationError, match=f"^{left_out}: not set"):
        config.load(rest)
    missing = ", ".join(rest)
    with pytest.raises(ConfigurationError, match=f"^{missing}: not set"):
        config.load({left_out: MIRROR[left_out]})


def test_alerts_are_configured_by_address_level_and_kind() -> None:
    settings = config.load(
        {
            "ALEXANDRIA_ALERT_URLS": "mailto://me:pass@example.org?to=a@b.org,c@d.org  ntfy://topic ntfy://topic",
            "ALEXANDRIA_ALERT_LEVEL": "Warning",
            "ALEXANDRIA_ALERTS_OFF": "quota-50, quota_80",
            "ALEXANDRIA_DIGEST_AT": "07:30",
        }
    )
    assert settings.alert_urls == ("mailto://me:pass@example.org?to=a@b.org,c@d.org", "ntfy://topic")
    assert settings.alert_level is Severity.WARNING
    assert settings.alerts_off == {AlertKind.QUOTA_50, AlertKind.QUOTA_80}
    assert settings.digest_at == time(7, 30)
    assert config.load({"ALEXANDRIA_ALERTS_OFF": "all"}).alerts_off == set(AlertKind)
    assert (config.load({}).alert_urls, config.load({}).digest_at) == ((), None)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ALEXANDRIA_ALERT_URLS": "ntfy://a secret-topic"}, "entry 2 is none"),
        ({"ALEXANDRIA_ALERT_WEBHOOK": "https://example.org"}, "set both, or neither"),
        ({"ALEXANDRIA_ALERT_WEBHOOK_SECRET": "0123456789abcdef"}, "set both, or neither"),
        ({"ALEXANDRIA_ALERT_WEBHOOK_SECRET": "secret"}, "needs at least 16 characters"),
        ({"ALEXANDRIA_ALERT_LEVEL": "loud"}, "must be one of info, warning, critical"),
        ({"ALEXANDRIA_ALERTS_OFF": "quota"}, "must be all, or some of quota_50"),
        ({"ALEXANDRIA_DIGEST_AT": "24:00"}, "must be hours and minutes by UTC, such as 07:00"),
        ({"ALEXANDRIA_DIGEST_AT": "7"}, "must be hours and minutes by UTC, such as 07:00"),
        ({"ALEXANDRIA_ALERT_DISK_GIB": "-1"}, "must lie between 0 and"),
    ],
)
def test_wrong_settings_of_alerts_are_refused(environment: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)) as error:
        config.load(environment)
    assert "secret" not in str(error.value).replace("_SECRET", "")


def test_where_alerts_go_is_not_shown() -> None:
    shown = config.show(
        {
            "ALEXANDRIA_ALERT_URLS": "tgram://123:secret/1",
            "ALEXANDRIA_ALERT_WEBHOOK": "https://example.org/secret",
            "ALEXANDRIA_ALERT_WEBHOOK_SECRET": "0123456789-secret",
        }
    )
    assert "secret" not in str([each.value for each in shown])


def test_every_secret_setting_is_among_what_logs_never_show() -> None:
    """Whoever adds a secret setting has to say what of it is hidden."""
    given = {
        "database_url": ("postgresql://reader:hidden-0123@db/books", "hidden-0123"),
        "isbndb_key": ("hidden-1123",) * 2,
        "google_books_key": ("hidden-2123",) * 2,
        "objects_url": ("s3://covers?secret_access_key=hidden-3123", "hidden-3123"),
        "api_tokens": ("hidden-4123-0123456789",) * 2,
        "quota_tokens": ("program:bulk:-:hidden-5123-0123456789", "hidden-5123-0123456789"),
        "kv_token": ("hidden-6123",) * 2,
        "alert_urls": ("ntfy://hidden-7123/topic", "hidden-7123"),
        "alert_webhook": ("https://hooks.example.org/hidden-8123", "hidden-8123"),
        "alert_webhook_secret": ("hidden-9123-0123456789",) * 2,
        "otlp_endpoint": ("https://team:hidden-a123@traces.example.org", "hidden-a123"),
        "otlp_headers": ("authorization=hidden-b123", "hidden-b123"),
    }
    assert given.keys() == {each.name for each in config.SETTINGS if each.secret}
    environment = {f"ALEXANDRIA_{name.upper()}": text for name, (text, _) in given.items()}
    environment |= {"ALEXANDRIA_KV_ACCOUNT": "account", "ALEXANDRIA_KV_NAMESPACE": "namespace"}
    secrets = config.load(environment).secrets
    assert {hidden for _, hidden in given.values()} <= secrets


def test_a_collector_may_be_named_as_other_programs_name_it_and_ours_comes_first() -> None:
    standard = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20abc, x-team=books",
    }
    read = config.load(standard)
    assert read.otlp_endpoint == "http://collector:4318"
    assert read.otlp_headers == {"authorization": "Basic abc", "x-team": "books"}
    assert config.load({**standard, "ALEXANDRIA_OTLP_ENDPOINT": "http://other:4318"}).otlp_endpoint == (
        "http://other:4318"
    )
    with pytest.raises(
        ConfigurationError, match=r"ALEXANDRIA_OTLP_HEADERS .from OTEL_EXPORTER_OTLP_HEADERS.: this value"
    ):
        config.load({"OTEL_EXPORTER_OTLP_HEADERS": "hidden"})


def test_dials_are_pinned_within_their_bounds() -> None:
    assert config.load({}).pinned == {}
    assert config.load({"ALEXANDRIA_PINNED": "items-at-once=4, isbndb_seconds=20"}).pinned == {
        "items_at_once": 4,
        "isbndb_seconds": 20,
    }
    assert config.load({"ALEXANDRIA_PINNED": "all"}).pinned == {n: each.start for n, each in DIALS.items()}
    with pytest.raises(ConfigurationError, match="a whole number for items_at_once, from 2 to 8 items"):
        config.load({"ALEXANDRIA_PINNED": "items_at_once=9"})
    with pytest.raises(ConfigurationError, match="one of items_at_once, covers_percent"):
        config.load({"ALEXANDRIA_PINNED": "units=15000"})
