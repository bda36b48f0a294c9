//go:build tools

// Package influxd2 names what `cargo xtask influxd2` builds.
package influxd2

import (
	_ "github.com/influxdata/influxdb/v2/cmd/influxd"
	_ "github.com/influxdata/pkg-config"
)
