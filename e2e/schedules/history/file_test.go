package history

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAHistoryIsReadAsItWasWritten(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Add(Record{Batch: &Batch{Seed: 7, Account: "acme"}})
	began := w.Now()
	w.Add(Record{Schedule: 3, RunState: &RunState{Stack: "s3-a", Run: "01J", State: "QUEUED"}})
	w.AddSince(began, Record{Schedule: 3, Request: &Request{Operation: "getRun", Status: 200, Answer: Raw(`{"a":1}`)}})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	all, err := Load(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0].Batch.Seed != 7 || all[1].RunState.Stack != "s3-a" || all[2].Request.Status != 200 {
		t.Errorf("read %+v", all)
	}
	if all[1].Began != all[1].Ended || all[2].Began != began || all[2].Ended < all[1].Ended {
		t.Errorf("times: %v–%v, %v–%v", all[1].Began, all[1].Ended, all[2].Began, all[2].Ended)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, []int{all[0].N, all[1].N, all[2].N}); diff != "" {
		t.Error(diff)
	}
}

func TestAHistoryWithAGapIsRefused(t *testing.T) {
	for name, file := range map[string]string{
		"a record is missing": `{"n":1,"began":0,"ended":0,"at":"2026-01-01T00:00:00Z"}` + "\n" + `{"n":3,"began":0,"ended":0,"at":"2026-01-01T00:00:00Z"}`,
		"a line is cut":       `{"n":1,"began":0,"end`,
		"an unknown member":   `{"n":1,"other":1}`,
	} {
		if _, err := Load(strings.NewReader(file)); err == nil {
			t.Errorf("%s: read without an error", name)
		}
	}
}
