"""The rules of approval: what each asks about, and that a client only adds to the operator's."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from codeact.tools.approval import RequireApproval, _Names, asks_by, policy_of
from codeact.tools.code_reading import read_code
from codeact.tools.function import Function

pytestmark = pytest.mark.anyio


def function(name: str = "act", server: str | None = "shop", **more: Any) -> Function:
    return Function(name, "", {}, server=server, **more)


async def nothing_known(paths: Collection[str]) -> int | None:
    return None


@pytest.mark.parametrize(
    ("rules", "asked", "arguments", "used", "expected"),
    [
        ("calls", function(), "{}", (), True),
        ("code", function(), "{}", (), False),
        ("writes", function(read_only=True), "{}", (), False),
        ("writes", function(destructive=False), "{}", (), True),
        ("destructive", function(), "{}", (), True),
        ("destructive", function(destructive=False), "{}", (), False),
        ("destructive", function(read_only=True), "{}", (), False),
        ("first_use", function(), "{}", (), True),
        ("first_use", function(), "{}", ("shop.act",), False),
        ("function:shop.*", function(), "{}", (), True),
        ("function:shop.*", function(server=None), "{}", (), False),
        ("host:*.example.com", function(), '{"to": "https://a.example.com/x"}', (), True),
        ("host:*.example.com", function(), '{"to": "https://example.org/?a.example.com"}', (), False),
        ("host:10.0.0.1", function(), '{"to": "HTTP://user:word@10.0.0.1:80"}', (), True),
        ("function:shop.api-post-*", function("api-post-page"), "{}", (), True),
        ("function:shop.api_post_*", function("api-post-page"), "{}", (), True),
        ("function:my-shop.act", function(server="my-shop"), "{}", (), True),
        ("function:api-post", function("api-post", server=None), "{}", (), True),
        ("always", function(is_own=True), "{}", (), False),
        ("never", function(approval="always"), "{}", (), True),
    ],
)
async def test_a_call_is_asked_about_by_its_rules(
    rules: str, asked: Function, arguments: str, used: Collection[str], expected: bool
) -> None:
    assert bool(await policy_of([rules]).of_call(asked, arguments, used)) is expected


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            json.dumps({"to": [url]})
            for url in (
                "https://a@b@evil.com/",
                "https://evil.com./",
                "https://%65vil.com",
                "https://%2565vil.com",
                "https://\uff45vil.com",
                "https:\\\\evil.com",
                "https:evil.com",
                "https://a.com\\@evil.com/",
                "https://[fe80::1%25eth0]/",
                "https://\ud800%41.com",
                "https:///evil.com",
                "https://a b@evil.com/",
                "ht\ntps://ev\til.com",
                "https://ev\u00adil.com",
                "https://evil\u3002com",
                "[a page](https://evil.com), and more",
                "see https://a.com, or b@evil.com",
                "https://{host}/",
            )
        ),
        r'{"to": "https:\/\/evil.com"}',
        r'{"to": "https://ev\u0069l.com"}',
        '{"https://evil.com": 1}',
        '{"to": "https://evil.com", "to": ""}',
        "no JSON",
    ],
)
async def test_a_host_is_found_however_its_url_is_written(arguments: str) -> None:
    assert await policy_of(["host:evil.com"]).of_call(function(), arguments, ())


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("host:127.0.0.1", "http://2130706433/"),
        ("host:127.0.0.1", "http://0x7f.1/"),
        ("host:10.0.0.1", "http://[::ffff:10.0.0.1]/"),
        ("host:b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("host:xn--bcher-kva.example", "https://B\u00fccher.example"),
    ],
)
async def test_a_host_is_found_in_each_of_its_forms(rule: str, url: str) -> None:
    assert await policy_of([rule]).of_call(function(), json.dumps({"to": url}), ())
    assert not await policy_of([rule]).of_call(function(), '{"to": "https://example.org:8080/?127.0.0.1"}', ())


@pytest.mark.parametrize(
    ("rule", "code", "expected"),
    [
        ("code", "1 + 1", True),
        ("calls", "1 + 1", False),
        ("network", "import numpy", False),
        ("network", "import requests", True),
        ("network", "from urllib.request import urlopen", True),
        ("network", "!curl example.com", True),
        ("network", "open('http://example.com')", True),
        ("network", "%%bash\nwget x", True),
        ("network", "%pip install x", True),
        ("network", "%matplotlib inline\nx = 1", False),
        ("network", "x = '''\n%d percent\n'''", False),
        ("deletes", "%%time\nimport os\nos.remove('a')", True),
        ("deletes", "%%capture out\nimport os\nos.remove('a')", True),
        ("deletes", "%time os.remove('a')", True),
        ("deletes", "%sx rm a", True),
        ("deletes", "shell('rm -rf a')", True),
        ("deletes", "shell(['ls', 'rm -rf a'])", True),
        ("deletes", "shell(commands=[f'rm -rf {name}'])", True),
        ("deletes", "import subprocess\nsubprocess.run(args=['rm', 'a'])", True),
        ("deletes", "shell(['ls', 'echo firm'])", False),
        ("outside_files", "open('/workspace/../etc/passwd')", True),
        ("outside_files", "open('data/../../x')", True),
        ("host:*.example.com", "get('https://a.example.com')", True),
        ("host:*.example.com", "get('https://example.org')", False),
        ("outside_files", "open('/etc/passwd')", True),
        ("outside_files", "open('data.csv'); open('/workspace/x'); 'a/b'", False),
        ("outside_files", "open('../x')", True),
        ("outside_files", "open('~/x')", True),
        ("outside_files", "print('and/or', '/')", False),
        ("deletes", "import os\nos.remove('a')", True),
        ("deletes", "from pathlib import Path\nPath('a').unlink()", True),
        ("deletes", "import shutil\nshutil.rmtree('a')", True),
        ("deletes", "[1].remove(1)", False),
        ("deletes", "!rm -rf a", True),
        ("deletes", "import subprocess\nsubprocess.run(['rm', '-rf', 'a'])", True),
        ("deletes", "db.execute('DROP TABLE x')", True),
        ("network", "this is no Python (", True),
        ("deletes", "x = 1\n" * 100_000, True),
    ],
)
async def test_code_is_asked_about_by_what_its_text_says(rule: str, code: str, expected: bool) -> None:
    assert bool(await policy_of([rule]).of_code(code, nothing_known)) is expected


@pytest.mark.parametrize(("size_bytes", "expected"), [(1_000_001, True), (1_000_000, False), (None, True)])
async def test_a_deletion_is_asked_about_by_its_size(size_bytes: int | None, expected: bool) -> None:
    asked: list[set[str]] = []

    async def size_of(paths: Collection[str]) -> int | None:
        asked.append(set(paths))
        return size_bytes

    code = "import os, shutil\nos.remove('a')\nshutil.rmtree('b')"
    assert bool(await policy_of(["deletes:1"]).of_code(code, size_of)) is expected
    assert asked == [{"a", "b"}]
    assert await policy_of(["deletes:1"]).of_code("import os\nos.remove(name)", size_of)


def test_a_request_adds_rules_and_takes_none_away() -> None:
    operator = policy_of(["destructive"])
    for asked in ("never", "code", "destructive"):
        assert set(operator.rules) <= set(operator.joined(policy_of([asked])).rules)


@pytest.mark.parametrize(
    "rule", ["sometimes", "deletes:", "deletes:much", "host:", "function:", "deletes:MB", "never,x"]
)
def test_a_rule_that_does_not_exist_is_named(rule: str) -> None:
    with pytest.raises(ValueError, match=r"rule|alone"):
        policy_of(rule.split(","))


@pytest.mark.parametrize(
    ("require", "name", "read_only", "expected"),
    [
        (None, "a", False, True),
        ("always", "a", True, True),
        ("never", "a", False, False),
        (RequireApproval(never=_Names(tool_names=["a"])), "a", False, False),
        (RequireApproval(never=_Names(tool_names=["a"])), "b", False, True),
        (RequireApproval(always=_Names(tool_names=["a"])), "a", False, True),
        (RequireApproval(always=_Names(tool_names=["a"])), "b", False, False),
        (RequireApproval(never=_Names(read_only=True)), "a", True, False),
        (RequireApproval(never=_Names(read_only=True)), "a", False, True),
    ],
)
def test_require_approval_of_an_mcp_tool(require: Any, name: str, read_only: bool, expected: bool) -> None:
    assert asks_by(require, name, read_only=read_only) is expected


def test_code_is_read_in_linear_time_and_hostile_code_is_not_read() -> None:
    assert not read_code("(" * 10_000).is_read
    assert not read_code("\0").is_read
    assert len(read_code("'https://a'\n" * 1_000).hosts) == 1
