"""Which addresses may be asked, and which key goes where."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from mipro_walk.clients.endpoints import Endpoint, endpoint_for
from mipro_walk.errors import ConfigError, KeyMissingError

KEY = "sk-canary-0123456789abcdef"

REFUSED = [
    "ftp://api.example.com",
    "file:///etc/passwd",
    "gopher://x",
    "unix:/tmp/s",
    "http://api.example.com/v1",
    "http://192.168.1.5/v1",
    "http://169.254.169.254/",
    "https://169.254.169.254",
    "https://[::ffff:169.254.169.254]/v1",
    "https://[fe80::1]",
    "https://0.0.0.0",
    "http://0.0.0.0:80",
    "https://[::]",
    "http://127.1/v1",
    "https://127.1",
    "https://0x7f.1",
    "https://0x7f000001",
    "https://2130706433",
    "http://2130706433",
    "https://017700000001",
    "https://100.64.0.1",
    "https://100.127.255.254/v1",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://[2002:a9fe:a9fe::1]",
    "https://[::169.254.169.254]",
    "https://[fd00:ec2::254]",
    "https://metadata.google.internal",
    "https://metadata.google.internal./computeMetadata",
    "https://user:pw@api.example.com",
    "https://api.example.com@evil.example",
    "https://api.example.com/v1#x",
    "https://api.example.com/v1?x=1",
    "https://",
    "//api.example.com",
    "api.example.com",
    "https://224.0.0.1",
    "https://localhost.",
    "https://x.localhost",
    "https://255.255.255.255",
    "https://1.2.3",
    "https://1.2.3.4.5",
]
UNPRINTABLE = [
    "https://api.example.com/\r\nX: y",
    "https://api.exämple.com",
    "https://api.example.com\\@evil",
    "https://[::1",
    "https://h:99999",
    "https://h:x",
]
GOOD = [
    "https://api.openai.com/v1",
    "https://api.example.com:8443/openai/v1/",
    "http://127.0.0.1:8080/v1",
    "http://localhost:11434/v1",
    "http://[::1]:9/v1",
    "https://127.0.0.1:1/v1",
    "https://8.8.8.8/v1",
    "https://[2001:4860:4860::8888]/v1",
    "https://10.0.0.5/v1",
]


@pytest.mark.parametrize("url", [*REFUSED, *UNPRINTABLE])
def test_an_address_that_may_reach_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint("custom", url, "m", SecretStr(KEY))


@pytest.mark.parametrize("url", GOOD)
def test_https_and_this_machine_are_accepted(url: str) -> None:
    assert Endpoint("custom", url, "m").base_url == url.rstrip("/")


@pytest.mark.parametrize(("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("groq", "GROQ_API_KEY")])
def test_a_hosted_provider_needs_its_key(provider: str, variable: str) -> None:
    with pytest.raises(KeyMissingError, match=variable) as caught:
        endpoint_for(provider, "m", {variable: "  "})
    assert caught.value.fix


def test_hosted_addresses_come_from_the_environment_or_are_the_known_ones() -> None:
    assert endpoint_for("groq", "m", {"GROQ_API_KEY": KEY}).base_url == "https://api.groq.com/openai/v1"
    environ = {"OPENAI_API_KEY": f" {KEY}\n", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    endpoint = endpoint_for("openai", "m", environ)
    assert endpoint.base_url == "http://127.0.0.1:1/v1"
    assert endpoint.api_key is not None
    assert endpoint.api_key.get_secret_value() == KEY
    assert KEY not in repr(endpoint)


@pytest.mark.parametrize(
    ("base_url", "trusted", "has_key"),
    [
        ("http://127.0.0.1:1/v1", "", False),
        ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1", True),
        ("https://a.example/v1", "https://a.example/v1/", True),
        (None, "https://a.example/v1", True),
        ("https://b.example/v1", "https://a.example/v1", False),
        ("https://a.example/v1x", "https://a.example/v1", False),
        ("https://a.example/v1", "", False),
    ],
)
def test_the_key_for_custom_servers_goes_only_to_the_address_the_environment_names(
    base_url: str | None, trusted: str, has_key: bool
) -> None:
    environ = {"MIPRO_WALK_API_KEY": KEY, "MIPRO_WALK_BASE_URL": trusted}
    assert (endpoint_for("custom", "m", environ, base_url).api_key is not None) is has_key


def test_a_key_that_is_named_goes_to_this_machine_or_to_a_confirmed_host_and_nowhere_else() -> None:
    environ = {"ROUTER_API_KEY": KEY, "OPENAI_TEAM_API_KEY": KEY}
    home = endpoint_for("custom", "m", environ, "http://127.0.0.1:1/v1", key_variable="ROUTER_API_KEY")
    assert home.api_key is not None
    url = "https://router.example/v1"
    for variable in ("ROUTER_API_KEY", "OPENAI_TEAM_API_KEY"):
        with pytest.raises(ConfigError, match="not bound"):
            endpoint_for("custom", "m", environ, url, key_variable=variable)
    seen = endpoint_for(
        "custom",
        "m",
        environ,
        url,
        key_variable="ROUTER_API_KEY",
        may_send=lambda *pair: pair == (url, "ROUTER_API_KEY"),
    )
    assert seen.api_key is not None
    assert endpoint_for("openai", "m", environ, key_variable="OPENAI_TEAM_API_KEY").api_key is not None
    with pytest.raises(ConfigError, match="not bound"):
        endpoint_for("openai", "m", environ, key_variable="ROUTER_API_KEY")


def test_a_named_key_that_is_not_set_is_missing() -> None:
    with pytest.raises(KeyMissingError, match="ROUTER_API_KEY"):
        endpoint_for("custom", "m", {}, "http://127.0.0.1:1/v1", key_variable="ROUTER_API_KEY")


def test_an_unknown_provider_and_a_custom_one_without_address_are_refused() -> None:
    for provider in ("custom", "local", "azure"):
        with pytest.raises(ConfigError):
            endpoint_for(provider, "m", {})


def test_the_local_server_is_handed_in() -> None:
    endpoint = endpoint_for("local", "m", {}, local=("http://127.0.0.1:1/v1", SecretStr(KEY)))
    assert (endpoint.provider, endpoint.is_local_machine) == ("local", True)


@pytest.mark.parametrize("key", [f"{KEY}\nX-Evil: 1", f"{KEY} x", "schlüssel-schlüssel", "", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(KeyMissingError) as caught:
        Endpoint("openai", "https://api.openai.com/v1", "m", SecretStr(key))
    assert KEY not in str(caught.value)
