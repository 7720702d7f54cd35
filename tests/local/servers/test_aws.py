"""moto's server, as the store's tests and the embedded deployment run it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from local.servers.aws import AWS, REGION
from local.servers.server import ServerError


def test_queues_and_buckets_over_http(aws: AWS) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="over-http")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="olá")
    assert [m["Body"] for m in sqs.receive_message(QueueUrl=url)["Messages"]] == ["olá"]
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="over-http", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="over-http", Key="a", Body=b"b")
    assert s3.get_object(Bucket="over-http", Key="a")["Body"].read() == b"b"


def test_listens_on_loopback_only_and_knows_no_real_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: AWS
) -> None:
    assert aws.process is not None
    process = psutil.Process(aws.process.pid)
    assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    assert "AWS_ACCESS_KEY_ID" not in AWS(1, tmp_path / "log").environment()


def test_a_port_in_use_is_an_error_with_the_servers_words(aws: AWS, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"moto ended with code 1 while starting:\n(.|\n)*in use"):
        AWS(aws.port, tmp_path / "log").start()
