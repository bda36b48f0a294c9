//go:build tools

// Package victoria names what `cargo xtask victoria` builds.
package victoria

import (
	_ "github.com/VictoriaMetrics/VictoriaMetrics/app/vminsert"
	_ "github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect"
	_ "github.com/VictoriaMetrics/VictoriaMetrics/app/vmstorage"
)
