"""Which integrations a Redis knows, asked on a real one."""

import redis

from tests.integrations import OwnIntegration
from tests.servers import RedisServer
from worker.ops.integrations import integrations, is_known, is_served
from worker.settings import Settings


def settings_of(own: OwnIntegration) -> Settings:
    return Settings(_env_file=None, signal_integration=own.name)


def test_integration_exists_once_anything_is_stored_for_it(own: OwnIntegration) -> None:
    settings = settings_of(own)
    assert not is_known(settings, own.redis)
    own.fill(1)
    assert is_known(settings, own.redis)
    assert not is_served(settings, own.redis)
    own.redis.zadd(f"signal:{own.name}:workers", {"host:1": 1})
    assert is_served(settings, own.redis)


def test_names_of_integrations_are_found_among_foreign_keys(own: OwnIntegration) -> None:
    own.redis.flushall()
    own.redis.lpush("mailgun.shop", "x")
    own.redis.lpush("mailgun.news.dead_letter", "x")
    own.redis.zadd("signal:idle:workers", {"host:1": 1})
    own.redis.hset("signal:served:totals", "delivered", 1)
    for key in ("mailgun.", "mailgun.a.b.c", "celery", b"mailgun.\xff", "signal:x:member:1"):
        own.redis.set(key, "x")
    assert integrations(own.redis) == ["idle", "news", "served", "shop"]
    own.redis.flushall()


def test_integration_counts_as_existing_and_served_without_read_rights(
    own: OwnIntegration, server: RedisServer
) -> None:
    rights = ["-@all", "+lpush", "+ping"]
    own.redis.acl_setuser(
        "producer", enabled=True, passwords="+pass", keys=[own.queue], commands=rights
    )
    with redis.Redis(
        port=server.port, username="producer", password="pass", decode_responses=True
    ) as producer:
        assert is_served(settings_of(own), producer)
        assert is_known(settings_of(own), producer)
        assert integrations(producer) == []
