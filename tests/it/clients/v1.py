"""influxdb-python against a listener: what scripts and Home Assistant do. HOST PORT PASSWORD DATABASE."""
import sys

from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError

host, port, password, database = sys.argv[1:]
client = InfluxDBClient(host, int(port), "me", password, database)
assert client.ping()
client.create_database(database)
assert {"name": database} in client.get_list_database(), client.get_list_database()
client.create_retention_policy("week", "7d", "1", database=database)
points = [
    {"measurement": "python1", "tags": {"n": str(n % 7), "odd": "a b,c=d"}, "time": n,
     "fields": {"i": n, "f": n / 2, "s": 'quo"te', "b": n % 2 == 0}}
    for n in range(1, 5001)
]
assert client.write_points(points, batch_size=1000, time_precision="ms")
assert client.write_points(["python1lines f=1 1", "python1lines f=2 2"], protocol="line")
assert client.write([""], {"db": database}, 204, "line")
try:
    client.write_points(["python1lines f=3 3", "no line"], protocol="line")
    raise SystemExit("a bad line was taken")
except InfluxDBClientError as error:
    assert error.code == 400 and "unable to parse 'no line': invalid field format (line 2)" in str(error), error
try:
    InfluxDBClient(host, int(port), "me", "wrong", database).write_points(points[:1])
    raise SystemExit("a wrong password was taken")
except InfluxDBClientError as error:
    assert error.code == 401, error
