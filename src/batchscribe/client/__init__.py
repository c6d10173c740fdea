"""The Python client: submit a recording to a BatchScribe server and read the transcript, blocking or with asyncio.

    from batchscribe.client import Client

    with Client() as client:
        job = client.submit("talk.mp3", language_code="en-GB")
        client.wait(job.job_name)
        print(client.transcript(job.job_name))

``Client()`` reads the server's address from ``BATCHSCRIBE_URL`` and the key from ``BATCHSCRIBE_API_KEY``. It speaks the
contract, so it works with every server of the contract; of what BatchScribe adds, :meth:`Client.transcript`,
:meth:`Client.media`, :meth:`Client.cancel` and :meth:`Client.delete` need a BatchScribe server.

Errors: everything raised is a :class:`ClientError`, but for the OSError of a recording that cannot be read.
"""

from batchscribe.client.answers import (
    ClientError,
    Job,
    JobFailed,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
    WaitTimedOut,
)
from batchscribe.client.asynchronous import AsyncClient
from batchscribe.client.blocking import Client
from batchscribe.client.events import Event
from batchscribe.domain.job import JobStatus

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Event",
    "Job",
    "JobFailed",
    "JobStatus",
    "ServerRefused",
    "ServerUnreachable",
    "UnexpectedAnswer",
    "WaitTimedOut",
]
