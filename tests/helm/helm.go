//go:build tools

// Package helm names what `cargo xtask cluster test` builds for the chart.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
