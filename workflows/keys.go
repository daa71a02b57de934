package workflows

import (
	"github.com/gantryhq/gantry/decide"
)

func (w SkipStack) content() string { return decide.Digest("skip", string(w.Stack), w.By, w.Note) }
func (w StopChain) content() string { return decide.Digest("stop", w.By, w.Note) }
