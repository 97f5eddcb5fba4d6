"""`python -m interop`: test the broker against a third-party provider and GraphQL clients, and print a summary."""

import argparse
import asyncio
import sys
from importlib.metadata import version

from app.demo.environment import clear_environment
from interop.broker import running_broker
from interop.graphql_audit import compare_audits
from interop.graphql_clients import check_clients
from interop.harness import open_harness
from interop.journey import run_journey
from interop.node import NodeUnavailable, install_packages, require_node
from interop.ports import free_port
from interop.report import Report
from interop.steps import VariantRun
from interop.third_party_servers import running_servers
from interop.variants import select_variants


def main() -> int:
    """Run all variants, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one client authentication method for each provider")
    options = parser.parse_args()
    report = Report()
    try:
        report.print(f"Node {require_node()}")
        versions = install_packages()
    except NodeUnavailable as error:
        report.print(f"interop cannot run: {error}")
        return 1
    versions["gql"] = version("gql")
    report.print(", ".join(f"{name} {number}" for name, number in versions.items()))
    # Settings of the calling shell must not reach the broker.
    clear_environment()
    asyncio.run(_run(report, quick=options.quick))
    return 0 if report.print_summary() else 1


async def _run(report: Report, *, quick: bool) -> None:
    port = free_port()
    async with open_harness(f"http://127.0.0.1:{port}") as harness:
        for fapi in (False, True):
            variants = select_variants(fapi=fapi, quick=quick)
            redirect_uri = f"{harness.public_url}/callback"
            async with running_servers(variants, redirect_uri, harness.client_jwk, harness.directory) as servers:
                for variant in variants:
                    environment = harness.environment(variant, servers)
                    with report.section(variant.title):
                        async with running_broker(harness, environment, port) as broker:
                            run = VariantRun(variant, harness, harness.settings(environment), servers, broker)
                            await run_journey(report, run)
                            if variant is variants[-1]:
                                await check_clients(report, run)
                                if not fapi:
                                    await compare_audits(report, run)


if __name__ == "__main__":
    sys.exit(main())
