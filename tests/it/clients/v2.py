"""influxdb-client-python against a listener. URL TOKEN BUCKET."""
import sys

from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions
from influxdb_client.rest import ApiException

url, token, bucket = sys.argv[1:]
with InfluxDBClient(url=url, token=token, org="o", enable_gzip=True) as client:
    assert client.ping() and client.health().status == "pass"
    assert client.version().startswith("v2."), client.version()
    assert client.buckets_api().find_bucket_by_name(bucket).name == bucket
    points = [
        Point("python2").tag("n", n % 7).field("i", n).field("f", n / 2).field("s", 'quo"te').time(n)
        for n in range(1, 5001)
    ]
    with client.write_api(write_options=SYNCHRONOUS) as write:
        write.write(bucket, record=points)
        try:
            write.write(bucket, record="python2lines f=1 1\nno line")
            raise SystemExit("a bad line was taken")
        except ApiException as error:
            assert error.status == 400 and "(line 2)" in error.message, error
    with client.write_api(write_options=WriteOptions(batch_size=500)) as write:
        for n in range(1, 2001):
            write.write(bucket, record=Point("python2batched").field("i", n).time(n))
with InfluxDBClient(url=url, token="wrong", org="o") as client:
    try:
        client.write_api(write_options=SYNCHRONOUS).write(bucket, record=points[:1])
        raise SystemExit("a wrong token was taken")
    except ApiException as error:
        assert error.status == 401, error
