package server

import (
	"log/slog"
	"testing"
	"time"
)

func TestWrongSecrets(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }
	for name, tc := range map[string]struct {
		refused   []float64 // minutes
		authentic []float64
		asked     float64
		since     float64 // -1: nothing is suspected
	}{
		"a burst":                            {refused: []float64{1, 2, 3, 4, 5}, asked: 6, since: 1},
		"four are none":                      {refused: []float64{1, 2, 3, 4}, asked: 6, since: -1},
		"too slow":                           {refused: []float64{1, 3, 5, 7, 9, 11, 13}, asked: 14, since: -1},
		"slow at first":                      {refused: []float64{0, 10, 11, 12, 13, 14}, asked: 15, since: 10},
		"something authentic came meanwhile": {refused: []float64{1, 2, 3, 4, 5}, authentic: []float64{2.5}, asked: 6, since: -1},
		"something authentic came before":    {refused: []float64{1, 2, 3, 4, 5}, authentic: []float64{0.5}, asked: 6, since: 1},
		"something authentic came after":     {refused: []float64{1, 2, 3, 4, 5}, authentic: []float64{5.5}, asked: 6, since: -1},
		"it stays for an hour":               {refused: []float64{1, 2, 3, 4, 5}, asked: 64, since: 1},
		"and then is forgotten":              {refused: []float64{1, 2, 3, 4, 5}, asked: 66, since: -1},
	} {
		t.Run(name, func(t *testing.T) {
			k := newMismatchDetector([]Account{{Name: "acme"}, {Name: "globex"}}, slog.New(slog.DiscardHandler))
			for minute := 0.0; minute <= tc.asked; minute += 0.5 {
				for _, m := range tc.refused {
					if m == minute {
						k.mismatch("acme", at(m))
					}
				}
				for _, m := range tc.authentic {
					if m == minute {
						k.authentic("acme")
					}
				}
			}
			if _, ok := k.finding("globex", at(tc.asked)); ok {
				t.Error("an account that no body named is suspected")
			}
			f, ok := k.finding("acme", at(tc.asked))
			if ok != (tc.since >= 0) || ok && !f.Since.Equal(at(tc.since)) {
				t.Errorf("suspected: %t since %s, want since minute %v", ok, f.Since, tc.since)
			}
		})
	}
}
