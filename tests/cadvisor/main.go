// Command cadvisor serves the page of the real cAdvisor: its manager, with docker, and the metrics that the kubelet asks it for.
//
// cAdvisor's own program is a module of its own, which not every mirror of modules has. `cargo xtask cadvisor` builds this one.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/docker/install"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "where the page is")
	interval := flag.Duration("interval", time.Second, "how often it looks at each container")
	flag.Parse()
	included := container.MetricSet{
		container.CpuUsageMetrics:     struct{}{},
		container.MemoryUsageMetrics:  struct{}{},
		container.DiskIOMetrics:       struct{}{},
		container.NetworkUsageMetrics: struct{}{},
		container.ProcessMetrics:      struct{}{},
		container.OOMMetrics:          struct{}{},
		container.PressureMetrics:     struct{}{},
	}
	dynamic := false
	housekeeping := manager.HousekeepingConfig{Interval: interval, AllowDynamic: &dynamic}
	// Beside docker's containers, the root alone.
	m, err := manager.New(memory.New(time.Minute, nil), sysfs.NewRealSysFs(), housekeeping, included,
		http.DefaultClient, []string{"/nothing"}, nil, "", 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Start(); err != nil {
		log.Fatal(err)
	}
	// What is older than this is read anew for a scrape.
	var age time.Duration
	options := v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true, MaxAge: &age}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewPrometheusCollector(m, metrics.BaseContainerLabels(nil), included, clock.RealClock{}, options),
		metrics.NewPrometheusMachineCollector(m, included),
	)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.ListenAndServe(*listen, nil))
}
