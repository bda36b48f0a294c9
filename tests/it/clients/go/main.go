// InfluxData's Go clients of both versions against a listener. HOST:PORT PASSWORD DATABASE URL TOKEN BUCKET
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api/http"
	client "github.com/influxdata/influxdb1-client/v2"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(is bool, format string, args ...any) {
	if !is {
		log.Fatalf(format, args...)
	}
}

func version1(address, password, database string) {
	config := client.HTTPConfig{Addr: "http://" + address, Username: "me", Password: password}
	c, err := client.NewHTTPClient(config)
	check(err)
	_, version, err := c.Ping(5 * time.Second)
	check(err)
	expect(strings.HasPrefix(version, "1."), "the version is %q", version)
	answer, err := c.Query(client.NewQuery(fmt.Sprintf("CREATE DATABASE %q", database), "", ""))
	check(err)
	check(answer.Error())
	batch := func(precision string) client.BatchPoints {
		points, err := client.NewBatchPoints(client.BatchPointsConfig{Database: database, Precision: precision})
		check(err)
		return points
	}
	points := batch("ms")
	for n := 1; n <= 2000; n++ {
		tags := map[string]string{"n": fmt.Sprint(n % 7), "odd": "a b,c=d"}
		fields := map[string]any{"i": n, "s": `quo"te`, "b": n%2 == 0}
		point, err := client.NewPoint("go1", tags, fields, time.UnixMilli(int64(n)))
		check(err)
		points.AddPoint(point)
	}
	check(c.Write(points))
	check(c.Write(batch("ns")))
	config.Password = "wrong"
	wrong, err := client.NewHTTPClient(config)
	check(err)
	err = wrong.Write(points)
	expect(err != nil && strings.Contains(err.Error(), "authorization failed"), "a wrong password: %v", err)
}

func version2(url, token, bucket string) {
	ctx := context.Background()
	c := influxdb2.NewClient(url, token)
	defer c.Close()
	is, err := c.Ping(ctx)
	check(err)
	expect(is, "no ping")
	health, err := c.Health(ctx)
	check(err)
	expect(health.Status == "pass", "health is %v", health.Status)
	_, err = c.Ready(ctx)
	check(err)
	write := c.WriteAPI("o", bucket)
	for n := 1; n <= 2000; n++ {
		write.WritePoint(influxdb2.NewPointWithMeasurement("go2").AddTag("n", fmt.Sprint(n%7)).
			AddField("i", n).SetTime(time.Unix(0, int64(n))))
	}
	write.Flush()
	blocking := c.WriteAPIBlocking("o", bucket)
	var answer *http.Error
	err = blocking.WriteRecord(ctx, "go2lines f=1 1\nno line")
	expect(errors.As(err, &answer) && answer.StatusCode == 400, "a bad line: %v", err)
	expect(strings.Contains(answer.Message, "unable to parse 'no line'"), "a bad line: %v", answer.Message)
	wrong := influxdb2.NewClient(url, "wrong")
	defer wrong.Close()
	err = wrong.WriteAPIBlocking("o", bucket).WriteRecord(ctx, "go2lines f=1 1")
	expect(errors.As(err, &answer) && answer.StatusCode == 401, "a wrong token: %v", err)
}

func main() {
	expect(len(os.Args) == 7, "six arguments")
	version1(os.Args[1], os.Args[2], os.Args[3])
	version2(os.Args[4], os.Args[5], os.Args[6])
}
