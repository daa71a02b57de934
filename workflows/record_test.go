package workflows

import (
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	testRun = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	T0      = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
)

func fresh() managed.Record { return managed.Record{Run: testRun, StartedAt: T0} }
