"""Half a connection is refused in one sentence that says what to write."""

from __future__ import annotations

import certifi
import pytest

from pipeline.errors import SettingsError
from pipeline.settings import load_settings

ACCOUNT = {"kafka_user": "office", "kafka_password": "secret-4711"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kafka_security": "sasl_ssl"}, "also set kafka_user, kafka_password"),
        ({"kafka_security": "sasl_ssl", "kafka_user": "office"}, "also set kafka_password"),
        (ACCOUNT, 'needs kafka_security = "sasl_ssl"'),
        (ACCOUNT | {"kafka_security": "ssl"}, 'needs kafka_security = "sasl_ssl"'),
        ({"kafka_security": "tls"}, "kafka_security: Input should be 'plaintext', 'ssl'"),
        ({"tls_ca_file": "nowhere.pem"}, "no certificate can be read from nowhere.pem"),
        ({"tls_ca_file": __file__}, "no certificate can be read from "),
        ({"elastic_urls": ["https://a:9200", "http://b:9200"]}, "must all begin with https://"),
    ],
)
def test_half_a_connection_is_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret-4711" not in str(caught.value)


def test_an_authority_needs_somebody_to_vouch_for() -> None:
    with pytest.raises(SettingsError, match="nothing uses tls_ca_file"):
        load_settings(tls_ca_file=certifi.where())
    assert load_settings(tls_ca_file=certifi.where(), kafka_security="ssl").tls_ca_file


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINGFENG_KAFKA_PASSWORD", "secret-4711")
    settings = load_settings(kafka_security="sasl_ssl", kafka_user="office")
    assert settings.kafka_password.get_secret_value() == "secret-4711"
    assert "secret-4711" not in repr(settings)
