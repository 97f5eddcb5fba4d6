"""`POST /v1/connections/{id}/graphql`: what passes through, and how."""

import asyncio
import gzip
import json
import zlib

import httpx
import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.logs import Logs
from tests.support.upstream import answering, chunk, reply

DATA = {"data": {"user": {"id": "user/abc"}}}


@pytest.fixture
async def proxied(proxy: Broker, sign_up: ApiFactory) -> Api:
    """A caller of the broker whose queries go to `upstream`."""
    return await sign_up(broker=proxy)


@pytest.fixture
async def linked(proxy: Broker, proxied: Api) -> str:
    """A connection of `proxied`'s."""
    return (await proxy.rows.insert(tenant=proxied.tenant)).id


async def raw(api: Api, connection_id: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Query, and return the body as it came over the wire."""
    request = {"json": {"query": "{ user { id } }"}, "headers": headers}
    async with api.stream("POST", f"/v1/connections/{connection_id}/graphql", **request) as answer:  # type: ignore[arg-type]
        return answer, b"".join([piece async for piece in answer.aiter_raw()])


class TestAnswer:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            ("200 OK", b'{"data":{"user":null}}'),
            ("200 OK", b'{ "data" : { "n" : 1.0 } , "extensions":{} }\n'),
            ("200 OK", '{"data":{"name":"Čapek 😀"}}'.encode()),
            (
                "200 OK",
                b'{"data":null,"errors":[{"message":"no","extensions":{"code":"FORBIDDEN","missingScopes":["accounts"]}}]}',
            ),
            ("200 OK", b'{"data":{"a":1,"b":null},"errors":[{"message":"partial","path":["b"]}]}'),
            (
                "200 OK",
                b'{"errors":[{"message":"go","extensions":{"code":"USER_INTERACTION_REQUIRED","userInteractionUrl":"https://x","id":"1"}}]}',
            ),
            ("200 OK", b'[{"data":{}},{"data":{}}]'),
            ("200 OK", b""),
            ("200 OK", b"not json at all"),
            ("200 OK", b"[" * 4_000),
            ("200 OK", b'{"data":{"text":"UNAUTHENTICATED"}}'),
            ("200 OK", b'{"data":{"a":1},"errors":[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]}'),
            ("400 Bad Request", b'{"errors":[{"message":"syntax"}]}'),
            ("403 Forbidden", b'{"errors":[{"message":"no"}]}'),
            ("404 Not Found", b"<html>nothing here</html>"),
            ("422 Unprocessable Content", b'{"errors":[]}'),
            ("429 Too Many Requests", b'{"errors":[{"message":"slow down"}]}'),
            ("500 Internal Server Error", b"<html>stack trace</html>"),
            ("503 Service Unavailable", b""),
            ("599 Whatever", b"x"),
        ],
        ids=lambda value: value if isinstance(value, str) else value[:60].decode(),
    )
    async def test_status_and_body_pass_through_unchanged(
        self, proxied: Api, linked: str, upstream: HostileServer, status: str, body: bytes
    ) -> None:
        upstream.replies["/graphql"] = reply(body, status)
        answer, received = await raw(proxied, linked)
        assert answer.status_code == int(status[:3])
        assert received == body
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-length"] == str(len(body))
        assert upstream.count("/graphql") == 1

    async def test_headers_that_matter_pass_and_others_stay(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = reply(
            b"{}",
            "429 Too Many Requests",
            content_type="application/graphql-response+json; charset=utf-8",
            cache_control="private",
            content_language="en",
            retry_after="7",
            vary="accept",
            set_cookie="session=bank",
            server="bank/1.0",
            location="https://evil.example/",
            www_authenticate="Bearer",
            access_control_allow_origin="*",
            x_powered_by="bank",
            broker_token_version="99",
        )
        answer = await proxied.query(linked)
        assert {name: answer.headers[name] for name in ("content-type", "cache-control", "content-language")} == {
            "content-type": "application/graphql-response+json; charset=utf-8",
            "cache-control": "private",
            "content-language": "en",
        }
        assert (answer.headers["retry-after"], answer.headers["vary"]) == ("7", "accept")
        assert answer.headers.get_list("broker-token-version") == ["1"]
        hidden = {"set-cookie", "server", "location", "www-authenticate", "x-powered-by"}
        assert not hidden & set(answer.headers)
        assert "access-control-allow-origin" not in answer.headers

    async def test_the_broker_adds_its_timing_and_the_tokens_version(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        answer = await proxied.query(linked)
        assert answer.headers["broker-token-version"] == "1"
        timing = dict(part.strip().split(";dur=") for part in answer.headers["server-timing"].split(","))
        assert timing.keys() == {"broker", "bank"}
        assert all(float(value) >= 0 for value in timing.values())
        assert answer.headers["x-request-id"].startswith("req_")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    async def test_a_compressed_answer_stays_compressed(
        self, proxied: Api, linked: str, upstream: HostileServer, encoding: str
    ) -> None:
        plain = json.dumps(DATA).encode()
        body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
        upstream.replies["/graphql"] = reply(body, content_encoding=encoding)
        answer, received = await raw(proxied, linked)
        assert answer.headers["content-encoding"] == encoding
        assert received == body

    async def test_the_bank_s_own_gzip_arrives_readable(self, api: Api, connection_id: str) -> None:
        answer = await api.query(
            connection_id, "{ user { bankAccounts { id transactions(first: 50) { edges { node { id } } } } } }"
        )
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["data"]["user"]["bankAccounts"]

    async def test_redirects_are_not_followed(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = reply(b"moved", "302 Found", location=f"{upstream.url}/elsewhere")
        answer = await proxied.query(linked)
        assert answer.status_code == 302
        assert answer.text == "moved"
        assert upstream.count("/elsewhere") == 0

    async def test_a_query_is_logged_and_counted_without_its_content(
        self, proxied: Api, linked: str, upstream: HostileServer, logs: Logs
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, "query Confidential { user { id } }")
        [line] = await logs.access_lines(1)
        assert line["route"] == "/v1/connections/{connection_id}/graphql"
        assert (line["status"], line["method"], line["caller"]) == (200, "POST", proxied.caller.id)
        assert "Confidential" not in logs.text


class TestRequest:
    async def test_the_body_goes_on_byte_for_byte(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        body = '{ "query" : "{ user { id } }",\n "variables":{"a":1.0, "b":"é"} , "extra":true }'.encode()
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(
            f"/v1/connections/{linked}/graphql", content=body, headers={"content-type": "application/json"}
        )
        assert [one[2] for one in upstream.received] == [body]

    async def test_only_the_allow_list_of_headers_goes_on(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        passed = {
            "accept": "application/graphql-response+json",
            "accept-language": "af",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "a=b",
            "apollographql-client-name": "shop",
            "apollographql-client-version": "1",
            "x-apollo-operation-name": "Accounts",
        }
        stopped = {
            "cookie": "session=caller",
            "x-forwarded-for": "10.0.0.1",
            "x-api-key": "caller",
            "proxy-authorization": "Basic x",
            "origin": "https://shop.example",
            "referer": "https://shop.example/",
            "x-request-id": "trace-42",
            "idempotency-key": "1",
            "user-agent": "caller/1.0",
        }
        await proxied.query(linked, headers=passed | stopped)
        [(_, received, _)] = upstream.received
        assert received.pop("authorization") == "Bearer an access token"
        assert received.pop("user-agent") == "stitch-token-broker"
        assert received.pop("host") == upstream.url.removeprefix("http://")
        assert received.pop("content-type") == "application/json"
        assert int(received.pop("content-length")) > 0
        assert received.pop("accept-encoding") == "gzip, deflate"
        assert {name: value for name, value in received.items() if value} == passed

    async def test_a_header_longer_than_any_clients_does_not_go_on(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        for name in ("accept", "accept-language", "apollographql-client-name", "accept-encoding"):
            await proxied.query(linked, headers={name: "gzip," * 250})
        assert all(len(value) < 1_025 for one in upstream.received for value in one[1].values())
        assert [one[1]["accept-encoding"] for one in upstream.received][-1] == "identity"

    async def test_a_content_type_is_not_made_up(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(f"/v1/connections/{linked}/graphql", content=b"{ a }")
        [(_, received, _)] = upstream.received
        assert "content-type" not in received

    @pytest.mark.parametrize("status", [204, 304])
    async def test_an_answer_without_a_body_tells_no_length(
        self, proxied: Api, linked: str, upstream: HostileServer, status: int
    ) -> None:
        upstream.replies["/graphql"] = Reply(
            f"HTTP/1.1 {status} Any\r\ncontent-length: 5\r\nconnection: close\r\n\r\n".encode()
        )
        answer = await proxied.query(linked)
        assert (answer.status_code, answer.content) == (status, b"")
        assert "content-length" not in answer.headers

    async def test_a_malformed_trace_does_not_go_on(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"traceparent": "00-0-0-01", "tracestate": "a=b"})
        [(_, received, _)] = upstream.received
        assert not {"traceparent", "tracestate"} & received.keys()

    async def test_the_lines_of_a_request_name_its_trace(
        self, proxied: Api, linked: str, upstream: HostileServer, logs: Logs
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"traceparent": f"00-{'ab' * 16}-b7ad6b7169203331-01"})
        await proxied.query(linked)
        assert [line.get("trace_id") for line in await logs.access_lines(2)] == ["ab" * 16, None]

    async def test_the_callers_key_never_reaches_the_bank(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"cookie": f"key={proxied.api_key}"})
        assert proxied.api_key not in str(upstream.received)

    @pytest.mark.parametrize(
        ("wanted", "asked"),
        [
            ("gzip", "gzip"),
            ("br, zstd", "identity"),
            ("br;q=1.0, gzip;q=0.8", "gzip"),
            ("identity", "identity"),
            ("gzip;q=0", "identity"),
        ],
    )
    async def test_the_bank_is_asked_for_what_the_broker_can_look_into(
        self, proxied: Api, linked: str, upstream: HostileServer, wanted: str, asked: str
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"accept-encoding": wanted})
        assert upstream.received[0][1]["accept-encoding"] == asked

    @pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"a\x0bb"])
    async def test_a_header_that_could_be_read_as_more_than_one_does_not_go_on(
        self, proxy: Broker, proxied: Api, linked: str, upstream: HostileServer, value: bytes
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        reader, writer = await asyncio.open_connection(*proxy.host)
        head = (
            f"POST /v1/connections/{linked}/graphql HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {proxied.api_key}"
        )
        body = b'{"query":"{ a }"}'
        # In one piece: what comes after the server has closed would reset the connection, and its answer with it.
        writer.write(
            head.encode() + b"\r\naccept-language: " + value + b"\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        status = (await reader.read()).split(maxsplit=2)[1]
        writer.close()
        assert status == b"400"
        assert upstream.received == []

    async def test_a_batch_goes_on_as_it_is(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply([DATA, DATA])
        batch = [{"query": "{ a }"}, {"query": "mutation { b }"}]
        answer = await proxied.post(f"/v1/connections/{linked}/graphql", json=batch)
        assert answer.json() == [DATA, DATA]
        assert json.loads(upstream.received[0][2]) == batch

    async def test_the_address_is_fixed(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(
            f"/v1/connections/{linked}/graphql?query=mutation+{{a}}",
            json={"query": "{ a }"},
            headers={"x-forwarded-host": "evil.example", "x-original-url": "/evil"},
        )
        assert [one[0] for one in upstream.received] == ["/graphql"]


class TestStream:
    async def test_an_answer_is_passed_on_while_it_still_comes(
        self, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        go_on = asyncio.Event()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(chunk(b'{"data":"' + b"x" * 8_000))
            await writer.drain()
            await go_on.wait()
            writer.write(chunk(b'y"}') + chunk(b""))

        async with answering(answer) as url:
            broker = await brokers(stitch_graphql_url=url)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            path = f"/v1/connections/{connection.id}/graphql"
            async with api.stream("POST", path, json={"query": "{ a }"}) as streamed:
                pieces = streamed.aiter_raw()
                received = bytearray()
                while len(received) < 8_009:
                    received += await anext(pieces)
                go_on.set()
                async for piece in pieces:
                    received += piece
        assert bytes(received) == b'{"data":"' + b"x" * 8_000 + b'y"}'

    async def test_a_large_answer_arrives_whole(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        size = 20_000_000
        await bank.set_faults(graphql={"huge": size})
        answer, received = await raw(api, connection_id, **{"accept-encoding": "identity"})
        assert answer.headers["content-length"] == str(size)
        assert len(received) == size
        assert received.startswith(b'{"data":{"filling":"xxx')
        assert received.endswith(b'x"}}')

    async def test_an_answer_that_breaks_off_is_seen_to_break_off(
        self, brokers: BrokerFactory, sign_up: ApiFactory, logs: Logs
    ) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(chunk(b'{"data":"' + b"x" * 8_000))
            await writer.drain()

        async with answering(answer) as url:
            broker = await brokers(stitch_graphql_url=url)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            with pytest.raises(httpx.RemoteProtocolError):
                await api.query(connection.id)
        [line] = logs.with_event("response_interrupted")
        assert line["code"] == "bank_answer_broken"

    async def test_a_caller_that_goes_away_ends_the_banks_answer_too(
        self, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            try:
                while not reader.at_eof():
                    writer.write(chunk(b"x" * 65_536))
                    await writer.drain()
                    await asyncio.sleep(0)
            finally:
                ended.set()

        async with answering(answer) as url:
            broker = await brokers(stitch_graphql_url=url)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            path = f"/v1/connections/{connection.id}/graphql"
            async with api.stream("POST", path, json={"query": "{ a }"}) as streamed:
                await anext(streamed.aiter_raw())
            await asyncio.wait_for(ended.wait(), 20)

    @pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], ids=["none", "some"])
    async def test_a_caller_that_goes_away_while_the_bank_is_silent_frees_the_banks_connection(
        self, brokers: BrokerFactory, sign_up: ApiFactory, logs: Logs, beginning: bytes
    ) -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(beginning)
            asked.set()
            while await reader.read(65_536):
                pass
            ended.set()

        async with answering(answer) as url:
            broker = await brokers(stitch_graphql_url=url)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            query = asyncio.create_task(api.query(connection.id))
            await asked.wait()
            await asyncio.sleep(0.2)
            query.cancel()
            await asyncio.gather(query, return_exceptions=True)
            await asyncio.wait_for(ended.wait(), 20)
            assert (await api.get("/healthz")).status_code == 200
        assert not [line for line in logs.lines if line.get("level") == "error"]


class TestBankInTrouble:
    async def test_a_bank_that_is_down_is_told_so(self, brokers: BrokerFactory, sign_up: ApiFactory) -> None:
        broker = await brokers(stitch_graphql_url="http://127.0.0.1:1/graphql")
        api = await sign_up(broker=broker)
        connection = await broker.rows.insert(tenant=api.tenant)
        assert_graphql_refusal(await api.query(connection.id), 502, "BANK_UNAVAILABLE")

    async def test_a_bank_that_is_silent_is_not_asked_twice(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = Reply(b"", then_hang=True)
        assert_graphql_refusal(await proxied.query(linked), 504, "BANK_TIMEOUT")
        assert upstream.count("/graphql") == 1

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: many\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        ],
        ids=lambda data: data[:50].decode() + str(len(data)),
    )
    async def test_an_answer_that_is_none_is_not_asked_for_twice(
        self, proxied: Api, linked: str, upstream: HostileServer, data: bytes
    ) -> None:
        upstream.replies["/graphql"] = Reply(data)
        assert_graphql_refusal(await proxied.query(linked), 502, "BANK_UNAVAILABLE")
        assert upstream.count("/graphql") == 1

    async def test_a_mutation_that_may_have_been_run_is_not_repeated(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.set_faults(graphql={"lose_answer": True, "times": 1})
        mutation = (
            'mutation { userInitiatePayment(input: { amount: { quantity: "1.00", currency: "ZAR" } }) '
            "{ paymentInitiation { id } } }"
        )
        assert_graphql_refusal(await api.query(connection_id, mutation), 502, "BANK_UNAVAILABLE")
        assert (await bank.ledger()).totals.payments == 1


class TestConcurrency:
    async def test_queries_at_once_share_one_refresh(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        await bank.control("expire")
        answers = await asyncio.gather(*(api.query(connection_id) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["broker-token-version"] for answer in answers} == {"2"}
        assert all(answer.json()["data"] for answer in answers)
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"ok": 1}
