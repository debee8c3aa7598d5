"""Settings are read once, and what cannot be used is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tollgate.errors import Invalid
from tollgate.settings import DEFAULT_MAIL_FROM, Settings


def test_without_configuration_it_runs_embedded_in_the_home(tmp_path: Path) -> None:
    settings = Settings.from_environment({"HOME": str(tmp_path)})
    assert settings.database_url is None
    assert settings.data == tmp_path / ".local/share/tollgate"
    assert (settings.base_url, settings.mail_from) == ("http://127.0.0.1:8000", DEFAULT_MAIL_FROM)


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
def test_a_live_key_needs_a_second_word(key: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="STRIPE_LIVE=1"):
        Settings.from_environment({"STRIPE_SECRET_KEY": key, "HOME": str(tmp_path)})
    assert Settings.from_environment({"STRIPE_SECRET_KEY": key, "STRIPE_LIVE": "1", "HOME": str(tmp_path)}).stripe_live


def test_a_wrong_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="PORT must be a number, not http"):
        Settings.from_environment({"PORT": "http", "HOME": str(tmp_path)})


@pytest.mark.parametrize("url", ["garbage", "mysql://root@db/tollgate"])
def test_another_database_is_refused_by_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="DATABASE_URL must begin with postgresql://"):
        Settings.from_environment({"DATABASE_URL": url, "HOME": str(tmp_path)})


def test_secrets_are_not_in_its_repr() -> None:
    settings = Settings(
        data=Path("/x"),
        secret_key="s3cret" * 8,
        stripe_secret_key="sk_test_1",
        smtp_url="smtp://u:p@h",
        database_url="postgresql://u:pw@h/d",
    )
    assert not any(word in repr(settings) for word in ("s3cret", "sk_test", "u:p"))


def test_the_generated_secret_is_kept_and_private(tmp_path: Path) -> None:
    first = Settings(data=tmp_path).with_secret()
    assert len(first.secret_key) >= 48
    assert Settings(data=tmp_path).with_secret().secret_key == first.secret_key
    assert (tmp_path / "secret-key").stat().st_mode & 0o077 == 0
    with pytest.raises(Invalid, match="at least 32"):
        Settings(data=tmp_path, secret_key="short").with_secret()
