import tracemalloc

from app.api.content_negotiation import MAX_HEADER_BYTES, qualities


def test_each_value_has_its_quality() -> None:
    assert qualities(b"a/b;q=0.5, C/D ; x=1;q=0, e/f, g/h;q=high") == {"a/b": 0.5, "c/d": 0.0, "e/f": 1.0, "g/h": 1.0}


def test_a_header_that_is_too_long_is_ignored() -> None:
    assert qualities(b"a/b".ljust(MAX_HEADER_BYTES)) == {"a/b": 1.0}
    assert qualities(b"a/b".ljust(MAX_HEADER_BYTES + 1)) == {}


def test_only_the_first_values_are_read() -> None:
    assert list(qualities(b",".join(b"%d" % number for number in range(100)))) == [str(n) for n in range(32)]


def test_long_headers_do_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            qualities(b"%d," % number + b",".join(b"a/%d;q=0.1" % part for part in range(10_000)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
