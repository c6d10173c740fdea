"""``batchscribe webhooks``: register receivers at a server, test them, look at what they were sent."""

from __future__ import annotations

import json
from typing import Any

import click

from batchscribe.cli.options import connected, json_option, url_option, with_options
from batchscribe.domain.webhooks import DEFAULT_EVENTS, EVENT_TYPES, DeliveryState, PayloadFormat

_UNREADABLE = "(unreadable: the server's key was changed)"
_id_argument = click.argument("endpoint_id", metavar="ID")


@click.group(
    epilog="""\b
Examples:
  batchscribe webhooks create https://example.com/hook
  batchscribe webhooks test we_1234...
  batchscribe webhooks deliveries --state failed
  batchscribe webhooks replay dlv_1234...
"""
)
def webhooks() -> None:
    """Register receivers of webhooks at a server, test them, see what they were sent."""


@webhooks.command()
@click.argument("address", metavar="ADDRESS")
@with_options(
    click.option(
        "--event",
        "events",
        multiple=True,
        type=click.Choice(EVENT_TYPES),
        help=f"Of which events; several may be given. By default {' and '.join(DEFAULT_EVENTS)}.",
    ),
    click.option(
        "--payload",
        type=click.Choice([each.value for each in PayloadFormat]),
        default="standard",
        show_default=True,
        help="The shape of what is sent; eventbridge is AWS's own event.",
    ),
    click.option("--description", default="", metavar="TEXT", help="For people."),
    url_option,
)
def create(address: str, events: tuple[str, ...], payload: str, description: str, url: str | None) -> None:
    """Register a receiver; print its id and the secret that it needs to know our messages by."""
    body = {"url": address, "events": list(events), "payload": payload, "description": description}
    made = _ask("POST", "/webhook-endpoints", url, body)
    click.echo(f"{made['id']}\n{made['secret']}")


@webhooks.command("list")
@with_options(json_option, url_option)
def list_endpoints(as_json: bool, url: str | None) -> None:
    """List receivers: id, state, payload, events, address."""
    found = _ask("GET", "/webhook-endpoints", url)["endpoints"]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for each in found:
        cells = (each["id"], each["state"], each["payload"], ",".join(each["events"]), each["url"] or _UNREADABLE)
        click.echo("\t".join(cells))


@webhooks.command()
@with_options(_id_argument, url_option)
def test(endpoint_id: str, url: str | None) -> None:
    """Send a test event; print the id of its delivery."""
    click.echo(_ask("POST", f"/webhook-endpoints/{endpoint_id}/test", url)["id"])


@webhooks.command()
@with_options(_id_argument, url_option)
def secret(endpoint_id: str, url: str | None) -> None:
    """Print a receiver's secret; of the id "jobs", the secret for webhooks that come with jobs."""
    path = "/webhook-secret" if endpoint_id == "jobs" else f"/webhook-endpoints/{endpoint_id}/secret"
    click.echo(_ask("GET", path, url)["secret"])


@webhooks.command()
@with_options(_id_argument, url_option)
def rotate(endpoint_id: str, url: str | None) -> None:
    """Give a receiver another secret and print it; for a day the one before signs too."""
    click.echo(_ask("POST", f"/webhook-endpoints/{endpoint_id}/rotate-secret", url)["secret"])


@webhooks.command()
@with_options(_id_argument, url_option)
def pause(endpoint_id: str, url: str | None) -> None:
    """Keep what a receiver is to be told until it is resumed."""
    _ask("POST", f"/webhook-endpoints/{endpoint_id}/pause", url)
    click.echo(f"{endpoint_id}: paused", err=True)


@webhooks.command()
@with_options(_id_argument, url_option)
def resume(endpoint_id: str, url: str | None) -> None:
    """Send to a receiver again, what was kept first."""
    _ask("POST", f"/webhook-endpoints/{endpoint_id}/resume", url)
    click.echo(f"{endpoint_id}: active", err=True)


@webhooks.command()
@with_options(_id_argument, url_option)
def delete(endpoint_id: str, url: str | None) -> None:
    """Delete a receiver with the log of its deliveries."""
    _ask("DELETE", f"/webhook-endpoints/{endpoint_id}", url)
    click.echo(f"{endpoint_id}: deleted", err=True)


@webhooks.command()
@with_options(
    click.option("--endpoint", "endpoint_id", metavar="ID", help="Only to this receiver."),
    click.option("--job", "job_name", metavar="NAME", help="Only about this job."),
    click.option("--state", type=click.Choice([each.value for each in DeliveryState]), help="Only these."),
    click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="The most to list."),
    json_option,
    url_option,
)
def deliveries(limit: int, as_json: bool, url: str | None, **filters: str | None) -> None:
    """List deliveries, latest first: id, state, attempts, event, job, address."""
    params = {name: value for name, value in filters.items() if value is not None} | {"max_results": str(limit)}
    found = _ask("GET", "/webhook-deliveries", url, params=params)["deliveries"]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for each in found:
        cells = (each["id"], each["state"], str(each["attempt_count"]), each["event"], each["job_name"] or "-")
        click.echo("\t".join((*cells, each["url"] or _UNREADABLE)))


@webhooks.command()
@with_options(click.argument("delivery_id", metavar="ID"), url_option)
def replay(delivery_id: str, url: str | None) -> None:
    """Send a delivery once more, under the same id."""
    _ask("POST", f"/webhook-deliveries/{delivery_id}/replay", url)
    click.echo(f"{delivery_id}: is sent again", err=True)


def _ask(
    method: str, path: str, url: str | None, body: dict[str, Any] | None = None, *, params: dict[str, str] | None = None
) -> dict[str, Any]:
    """Ask the server and return its JSON."""
    with connected(url) as client:
        return client.call(method, path, params=params, body=body)
