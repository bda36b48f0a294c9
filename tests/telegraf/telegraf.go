//go:build tools

// Package telegraf names what `cargo xtask telegraf` builds.
package telegraf

import _ "github.com/influxdata/telegraf/cmd/telegraf"
