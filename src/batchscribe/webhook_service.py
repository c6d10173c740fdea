"""The one door to webhook endpoints and the log of their deliveries."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine as Database

from batchscribe.database import deliveries, webhooks
from batchscribe.database.connection import reading, writing
from batchscribe.database.deliveries import DeliveryPage
from batchscribe.domain.webhooks import (
    Attempt,
    Delivery,
    DeliveryState,
    EndpointState,
    Subscription,
    WebhookEndpoint,
    new_id,
)
from batchscribe.egress import EgressRules, check_url
from batchscribe.errors import InvalidRequest, WebhookNotFound, WebhooksNotSetUp
from batchscribe.webhooks.addresses import NO_KEY, AddressSeal
from batchscribe.webhooks.signing import endpoint_secrets, job_secret

#: As many endpoints one owner may have.
MOST_ENDPOINTS = 1000
LONGEST_DESCRIPTION = 500


class WebhookService:
    """Endpoints and deliveries of one owner at a time; whatever is another's does not exist.

    Every method may be called from any thread, and raises ServiceUnavailable where the database does not answer.
    """

    def __init__(self, database: Database, *, server_key: bytes | None, rules: EgressRules) -> None:
        """Without a server's key nothing can be signed, so nothing can be registered."""
        self._database = database
        self._server_key = server_key
        #: Opens and seals what is kept of receivers' addresses.
        self.addresses = AddressSeal(server_key)
        self._rules = rules

    def check(self, subscription: Subscription) -> None:
        """Raise AddressNotAllowed or WebhooksNotSetUp where nothing could be sent."""
        self._key()
        check_url(subscription.url, self._rules)

    def create(self, subscription: Subscription, *, description: str, owner: str) -> WebhookEndpoint:
        """Register an endpoint. Raises AddressNotAllowed, InvalidRequest, WebhooksNotSetUp."""
        self.check(subscription)
        if len(description) > LONGEST_DESCRIPTION:
            raise InvalidRequest(f"The description is longer than {LONGEST_DESCRIPTION} characters.")
        endpoint = WebhookEndpoint(
            id=new_id("we"),
            owner=owner,
            subscription=subscription,
            description=description,
            state=EndpointState.ACTIVE,
            state_reason=None,
            generation=0,
            rotated_at=None,
            failing_since=None,
            created_at=datetime.now(UTC),
        )
        with writing(self._database) as connection:
            if len(webhooks.list_endpoints(connection, owner=owner)) >= MOST_ENDPOINTS:
                raise InvalidRequest(f"There are {MOST_ENDPOINTS} webhook endpoints already. Delete one first.")
            webhooks.add_endpoint(connection, replace(endpoint, subscription=self.addresses.sealed(subscription)))
        return endpoint

    def get(self, endpoint_id: str, *, owner: str) -> WebhookEndpoint:
        """Return an endpoint. Raises WebhookNotFound."""
        with reading(self._database) as connection:
            endpoint = webhooks.find_endpoint(connection, endpoint_id, owner=owner)
        if endpoint is None:
            raise WebhookNotFound("Webhook endpoint not found.")
        return self._opened(endpoint)

    def list(self, *, owner: str) -> builtins.list[WebhookEndpoint]:
        """Return every endpoint, oldest first."""
        with reading(self._database) as connection:
            found = webhooks.list_endpoints(connection, owner=owner)
        return [self._opened(each) for each in found]

    def secret(self, endpoint: WebhookEndpoint) -> str:
        """Return the secret that the endpoint's deliveries are signed with. Raises WebhooksNotSetUp."""
        return endpoint_secrets(self._key(), endpoint, at=datetime.now(UTC))[0]

    def job_secret(self, *, owner: str) -> str:
        """Return the secret for webhooks that come with jobs. Raises WebhooksNotSetUp."""
        return job_secret(self._key(), owner)

    def test_fire(self, endpoint_id: str, *, owner: str) -> Delivery:
        """Have a test event delivered at once. Raises WebhookNotFound."""
        endpoint = self.get(endpoint_id, owner=owner)
        with writing(self._database) as connection:
            delivery_id = webhooks.schedule_test(connection, endpoint, at=datetime.now(UTC))
        return self.delivery(delivery_id, owner=owner)[0]

    def rotate_secret(self, endpoint_id: str, *, owner: str) -> WebhookEndpoint:
        """Give an endpoint another secret; for a day the one before signs too. Raises WebhookNotFound."""
        self.get(endpoint_id, owner=owner)
        with writing(self._database) as connection:
            webhooks.rotate(connection, endpoint_id, at=datetime.now(UTC))
        return self.get(endpoint_id, owner=owner)

    def set_state(self, endpoint_id: str, state: EndpointState, *, owner: str) -> WebhookEndpoint:
        """Pause or resume an endpoint. Raises WebhookNotFound."""
        self.get(endpoint_id, owner=owner)
        with writing(self._database) as connection:
            webhooks.set_state(connection, endpoint_id, state, at=datetime.now(UTC))
        return self.get(endpoint_id, owner=owner)

    def delete(self, endpoint_id: str, *, owner: str) -> None:
        """Remove an endpoint with the log of its deliveries. Raises WebhookNotFound."""
        self.get(endpoint_id, owner=owner)
        with writing(self._database) as connection:
            webhooks.delete_endpoint(connection, endpoint_id)

    def deliveries(
        self,
        *,
        owner: str,
        endpoint_id: str | None,
        job_name: str | None,
        state: DeliveryState | None,
        max_results: int,
        after: tuple[datetime, str] | None,
    ) -> DeliveryPage:
        """Return one page of the log, latest first."""
        with reading(self._database) as connection:
            page = deliveries.list_deliveries(
                connection,
                owner=owner,
                endpoint_id=endpoint_id,
                job_name=job_name,
                state=state,
                max_results=max_results,
                after=after,
            )
        return replace(page, deliveries=tuple(self._opened_delivery(each) for each in page.deliveries))

    def delivery(self, delivery_id: str, *, owner: str) -> tuple[Delivery, Sequence[Attempt]]:
        """Return a delivery with its attempts. Raises WebhookNotFound."""
        with reading(self._database) as connection:
            delivery = deliveries.find_delivery(connection, delivery_id, owner=owner)
            attempts = deliveries.list_attempts(connection, delivery_id)
        if delivery is None:
            raise WebhookNotFound("Webhook delivery not found.")
        return self._opened_delivery(delivery), attempts

    def replay(self, delivery_id: str, *, owner: str) -> Delivery:
        """Send a delivery once more, under the same id. Raises WebhookNotFound."""
        with writing(self._database) as connection:
            deliveries.replay(connection, delivery_id, owner=owner, at=datetime.now(UTC))
        return self.delivery(delivery_id, owner=owner)[0]

    def _opened(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        url = self.addresses.open(endpoint.subscription.url) or ""
        return replace(endpoint, subscription=replace(endpoint.subscription, url=url))

    def _opened_delivery(self, delivery: Delivery) -> Delivery:
        return replace(delivery, url=self.addresses.open(delivery.url) or "")

    def _key(self) -> bytes:
        if self._server_key is None:
            raise WebhooksNotSetUp(NO_KEY)
        return self._server_key
