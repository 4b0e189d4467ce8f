"""The servers that other tests stand on: each gets an empty database, and a crash loses nothing.

Always true: runs on the real programs of the wheels.

Not here: anything of rota.
"""

from tests.servers import PostgresServer, RedisServer


def test_each_test_gets_an_empty_store_on_both_databases(store_url, store_kind):
    scheme = {"sqlite": "sqlite:////", "postgres": "postgresql://"}[store_kind]
    assert store_url.startswith(scheme)


def test_two_tests_never_share_a_database(postgres: PostgresServer, postgres_url):
    other = postgres.fresh_database()
    assert postgres.url(other) != postgres_url
    postgres.psql("CREATE TABLE mark (id int)", other)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.psql(tables, postgres_url.rpartition("/")[2]) == "0"
    postgres.drop_database(other)


def test_a_crashed_postgresql_comes_back_on_its_port_with_what_was_committed(durable_postgres: PostgresServer):
    server = durable_postgres
    server.psql("CREATE TABLE mark AS SELECT 7 AS id")
    before = (server.port, server.pid)
    server.restart("immediate")
    assert server.psql("SELECT id FROM mark") == "7"
    assert server.port == before[0]
    assert server.pid != before[1]
    assert server.psql("SHOW fsync") == "on"


def test_a_restarted_redis_is_empty(redis_server: RedisServer, redis_url):
    assert redis_url.endswith(f":{redis_server.port}/0")
    redis_server.command("set", "key", "value")
    redis_server.stop()
    redis_server.start()
    assert redis_server.command("get", "key") == ""
