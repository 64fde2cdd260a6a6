"""The operator's settings, read once from the environment and `.env`, validated and frozen.

A setting that cannot be right, or two that contradict each other, end the program with one line
that names them.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.environment.addresses import (
    US_REGION,
    check_mailgun_host,
    mailgun_address,
    mailing_list,
    webhook_url,
)
from worker.environment.api_key import api_key
from worker.environment.complaints import complaints
from worker.environment.names import ENV_ENCODING, ENV_FILE, SettingsError, check_names, reason
from worker.environment.source import EnvFileSource
from worker.privacy import disclose
from worker.redis_client.address import RedisAddress, redis_address
from worker.redis_client.keys import Keys
from worker.redis_client.tls import check_tls_files

# At most 1e9 s, about 30 years: Redis and the system's timers overflow after some hundred years.
NonNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Timeout = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]

# Events under way at once that fill several batches, and the least.
BATCHES_IN_HAND = 10
LEAST_IN_HAND = 64
# If WORKER_CONCURRENCY is not set, a worker that waits for Mailgun takes up to so many times as
# many events in hand.
ROOM_TO_GROW = 4
MOST_IN_HAND = 1000


def events_in_hand(validated: Mapping[str, Any]) -> int:
    """Return the default of WORKER_CONCURRENCY, by the settings before it: several batches."""
    return max(LEAST_IN_HAND, BATCHES_IN_HAND * int(validated["mailgun_batch_size"]))


class Settings(BaseSettings):
    """All settings, under their environment names in lower case; durations end in their unit.

    docs/settings.md describes them. For `metrics_port`, `dead_letters_max` and
    `dead_letters_max_days`, 0 means off.
    """

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding=ENV_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Not in the repr, since it may hold a password.
    redis_url: Annotated[str, Field(repr=False)] = "redis://127.0.0.1:6379/0"
    signal_integration: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = (
        "default"
    )
    signal_digest_key: SecretStr | None = None

    mailgun_api_key: SecretStr | None = None
    mailgun_api_key_file: Path | None = None
    mailgun_api_base_url: Annotated[str, AfterValidator(mailgun_address)] = US_REGION
    mailgun_allow_custom_host: bool = False
    mailgun_list_address: Annotated[str, AfterValidator(mailing_list)] | None = None
    mailgun_preset: Path | None = None
    mailgun_write_mode: Literal["merge", "overwrite"] = "merge"
    mailgun_member_state: Literal["read", "ledger"] = "read"
    mailgun_member_cache_seconds: NonNegative = 10
    mailgun_opt_out_refresh_seconds: Positive = 60
    mailgun_read_lag_seconds: NonNegative = 600
    mailgun_subscribe_new: bool = True
    mailgun_resubscribe: bool = False
    mailgun_connect_timeout_seconds: Timeout = 5
    mailgun_read_timeout_seconds: Timeout = 15

    retry_base_seconds: Positive = 4
    retry_max_delay_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600
    retry_max_attempts: Annotated[int, Field(ge=1)] = 50
    retry_max_age_hours: Annotated[float, Field(gt=0, le=100_000)] = 24

    mailgun_rate_limit: NonNegative = 0
    # Mailgun docs: up to 100 members are applied before the answer.
    mailgun_batch_size: Annotated[int, Field(ge=1, le=100)] = 1
    mailgun_batch_linger_ms: Annotated[float, Field(ge=0, le=10_000)] = 50
    incident_threshold: Annotated[int, Field(ge=0)] = 5
    incident_rejected_threshold: Annotated[int, Field(ge=0, le=10_000)] = 50
    incident_probe_seconds: Positive = 60
    ledger_days: Annotated[float, Field(gt=0, le=10_000)] = 30

    message_max_bytes: Annotated[int, Field(ge=65_536, le=512 * 1024 * 1024)] = 4 * 1024 * 1024
    message_max_events: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    message_max_returns: Annotated[int, Field(ge=3, le=1000)] = 5

    dead_letters_max: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    dead_letters_max_days: Annotated[float, Field(ge=0, le=100_000)] = 0

    # Its path is a key, so only `alert_webhook_host` is ever shown.
    alert_webhook_url: Annotated[SecretStr, AfterValidator(webhook_url)] | None = None

    flower_event_viewers: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = (
        "all"
    )

    visibility_timeout_seconds: Positive = 120
    worker_concurrency: Annotated[int, Field(ge=1, le=MOST_IN_HAND, default_factory=events_in_hand)]
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9808
    metrics_host: str = "127.0.0.1"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace the `.env` source by one that leaves out what only the environment may set."""
        env_file = EnvFileSource(
            settings_cls, env_file=getattr(dotenv_settings, "env_file", ENV_FILE)
        )
        return init_settings, env_settings, env_file, file_secret_settings

    @field_validator("log_level", mode="before")
    @classmethod
    def _lowercase(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        address = redis_address(value)
        if address.tls:
            check_tls_files(address.tls)
        return value.strip()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        check_mailgun_host(self.mailgun_api_base_url, may_be_custom=self.mailgun_allow_custom_host)
        if self.mailgun_api_key and self.mailgun_api_key_file:
            raise ValueError(
                "MAILGUN_API_KEY and MAILGUN_API_KEY_FILE are both set; keep one of them"
            )
        if self.retry_max_delay_seconds < self.retry_base_seconds:
            raise ValueError("RETRY_MAX_DELAY_SECONDS is below RETRY_BASE_SECONDS; raise it")
        if self.ledger_days * 24 < self.retry_max_age_hours:
            raise ValueError(
                "LEDGER_DAYS is shorter than RETRY_MAX_AGE_HOURS; "
                "an old event could overwrite a newer one: raise it"
            )
        if self.mailgun_member_cache_seconds > self.ledger_days * 86_400:
            raise ValueError(
                "MAILGUN_MEMBER_CACHE_SECONDS is longer than LEDGER_DAYS, "
                "which holds the copies; lower it"
            )
        if self.mailgun_read_lag_seconds > self.ledger_days * 86_400:
            raise ValueError(
                "MAILGUN_READ_LAG_SECONDS is longer than LEDGER_DAYS, "
                "which holds what was written lately; lower it"
            )
        if self.mailgun_write_mode == "overwrite" and self.mailgun_member_state == "ledger":
            raise ValueError(
                "MAILGUN_MEMBER_STATE=ledger needs MAILGUN_WRITE_MODE=merge; "
                "overwrite keeps no ledger: unset one of them"
            )
        if self.mailgun_batch_size > self.worker_concurrency:
            raise ValueError(
                f"MAILGUN_BATCH_SIZE is {self.mailgun_batch_size}, but only "
                f"{self.worker_concurrency} events are under way at once, so no batch would fill; "
                f"unset WORKER_CONCURRENCY, which is then ten times the batch size, or raise it"
            )
        if self.visibility_timeout_seconds * 0.9 <= self.longest_delivery_seconds:
            raise ValueError(
                f"VISIBILITY_TIMEOUT_SECONDS is not longer than a delivery can take "
                f"({self.longest_delivery_seconds:g} s with these time-outs); raise it"
            )
        return self

    @property
    def longest_delivery_seconds(self) -> float:
        """Return how many seconds the read and the write of one member can take at most.

        A request ends within twice the connect timeout, to connect and to send it, and once the
        read timeout, for the whole answer (mailgun/connection.py). The formula leaves more than
        that for the lookup of Mailgun's name, which only the system can end.
        """
        connect, read = self.mailgun_connect_timeout_seconds, self.mailgun_read_timeout_seconds
        return 2 * max(connect + 3 * read, 2 * connect + read)

    @property
    def most_in_hand(self) -> int:
        """Return the greatest number of events that a worker may have in hand."""
        if "worker_concurrency" in self.model_fields_set:
            return self.worker_concurrency
        return ROOM_TO_GROW * self.worker_concurrency

    @property
    def trusts_ledger(self) -> bool:
        """Return True if the ledger's copy of a member replaces a read before each write."""
        return self.mailgun_member_state == "ledger"

    @cached_property
    def redis_address(self) -> RedisAddress:
        """Return the parsed `redis_url`."""
        return redis_address(self.redis_url)

    @property
    def queue(self) -> str:
        """Return the name of the integration's queue."""
        return Keys(self.signal_integration).queue

    @cached_property
    def mailgun_key(self) -> SecretStr:
        """Return Mailgun's API key, from its variable or its file.

        Raises:
            SettingsError: Neither is set, the file cannot be read or trusted, or it holds no key.
        """
        return api_key(self.mailgun_api_key, self.mailgun_api_key_file)

    @property
    def digest_key(self) -> bytes:
        """Return the key for digests of addresses; derived from the integration if none is set."""
        if self.signal_digest_key:
            return self.signal_digest_key.get_secret_value().encode()
        return f"signal-mailgun/{self.signal_integration}".encode()

    @property
    def alert_webhook_host(self) -> str:
        """Return the host of ALERT_WEBHOOK_URL, with its port if it names one; "" if none is set.

        It is all that may be shown of the URL.
        """
        url = self.alert_webhook_url.get_secret_value() if self.alert_webhook_url else ""
        return urlsplit(url).netloc.rpartition("@")[2]

    @property
    def list_address(self) -> str:
        """Return the mailing list's address.

        Raises:
            SettingsError: It is not set.
        """
        if not self.mailgun_list_address:
            raise SettingsError(
                "MAILGUN_LIST_ADDRESS is not set; "
                "write the mailing list's address, e.g. newsletter@mg.example.com"
            )
        return self.mailgun_list_address


def load_settings(*, guest: bool = False) -> Settings:
    """Return the settings of this process.

    Args:
        guest: This code runs inside another program, as a producer does. Then a misspelt name is
            only logged, since the variable may be that program's own.

    Raises:
        SettingsError: A setting cannot be right, or a name is misspelt.
    """
    try:
        check_names({name.upper() for name in Settings.model_fields}, guest=guest)
        settings = Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {reason(error)}") from None
    except ValidationError as error:
        raise SettingsError("; ".join(complaints(error))) from None
    if settings.mailgun_list_address:
        disclose(settings.mailgun_list_address)
    return settings
