package inbox

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/spacelift"
)

// sampleRow is a row as a commit lays it out.
func sampleRow(t testing.TB) (records, bodies []byte) {
	t.Helper()
	c := &commit{batch: &batch{}, fresh: &row{seq: 1, entries: make([]entry, 3)}}
	for i, body := range []string{`{"account":"acme"}`, "", `{"state":"QUEUED"}`} {
		received := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
		e := event(runRef(i), i, life[i])
		e.ReceivedAt = received
		it, err := newItem(Delivery{ReceivedAt: received, Source: "192.0.2.7", Secret: 1, Size: len(body)}, e, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		it.id = ulid.ULID{0: 1, 15: byte(i)}
		c.batch.items = append(c.batch.items, it)
	}
	records, all := c.encode()
	return records, all.([]byte)
}

// The layout of a row is a contract with files on disk: this one was written by
// the first version, and every later one has to read it.
func TestRowOfTheFirstVersionIsReadable(t *testing.T) {
	t.Parallel()
	row, err := os.ReadFile(filepath.Join("testdata", "row-v1.bin"))
	if err != nil {
		t.Fatal(err)
	}
	_, bodies := sampleRow(t)
	n := 0
	for _, f := range records(row) {
		if err := intact(f); err != nil {
			t.Fatal(err)
		}
		d, e, err := decodeRecord(f)
		if err != nil {
			t.Fatal(err)
		}
		want := event(runRef(n), n, life[n])
		want.ReceivedAt, want.Delivery = d.ReceivedAt, d.ID
		if diff := cmp.Diff(&want, e, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", n, diff)
		}
		wantDelivery := Delivery{
			ID: ulid.ULID{0: 1, 15: byte(n)}.String(), ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Source: "192.0.2.7", Outcome: OutcomeAccepted,
			Run: runRef(n), Type: spacelift.RunTypeTracked, State: life[n], StateVersion: n, Secret: 1, Size: len(bodyOf(readHead(f), bodies)),
		}
		if diff := cmp.Diff(wantDelivery, d); diff != "" {
			t.Errorf("delivery %d (-want +got):\n%s", n, diff)
		}
		if h := readHead(f); h.key != keyOf(runRef(n), n, life[n]) || h.run != runKeyOf(runRef(n)) {
			t.Errorf("record %d: the keys of its event are others today: repeats would not be recognised", n)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

// Rows come from a disk that may have changed any byte of them.
func FuzzRow(f *testing.F) {
	sample, bodies := sampleRow(f)
	f.Add(sample, bodies)
	f.Add(sample[:len(sample)-1], bodies[:5])
	f.Add(bytes.Repeat([]byte{0xff}, headSize), []byte(nil))
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, raw, bodies []byte) {
		raw = bytes.Clone(raw)
		if len(raw) > 0 { // mostly the checksum will be wrong: look behind it, too
			if first := cut(raw, 0); first != nil {
				place(first, ulid.ULID{1}, 0)
			}
		}
		original := bytes.Clone(raw)
		end := 0
		for at, f := range records(raw) {
			if at != end {
				t.Fatalf("a record at %d, want it at %d", at, end)
			}
			end += len(f)
			if intact(f) != nil {
				continue
			}
			h := readHead(f)
			if b := bodyOf(h, bodies); b != nil && len(b) != int(h.body) {
				t.Errorf("a body of %d bytes, want %d", len(b), h.body)
			}
			d, e, err := decodeRecord(f)
			if err == nil && (d.ID != h.id.String() || e != nil && e.Delivery != d.ID) {
				t.Errorf("delivery %s of record %s", d.ID, h.id)
			}
		}
		if !bytes.Equal(original, raw) {
			t.Error("reading changed the row")
		}

		// What a salvage makes of it is a row without damage.
		var kept salvaged
		repaired := kept.dropDamaged(raw)
		for at, f := range records(repaired) {
			if err := intact(f); err != nil {
				t.Errorf("after the repair, at %d: %v", at, err)
			}
		}
		r := &row{}
		if _, err := r.fill(repaired, statePending); err != nil || len(r.entries) != kept.deliveries && repaired != nil {
			t.Errorf("%d entries, %d kept (%v)", len(r.entries), kept.deliveries, err)
		}
	})
}

func FuzzMarks(f *testing.F) {
	var b []byte
	b = appendMark(b, mark{at: 0, state: stateForwarded, attempts: 1, latency: 1500, forwarded: 1_767_261_661_417})
	b = appendMark(b, mark{at: 700, state: stateDead, attempts: 3, err: "too large"})
	sealMarks(b)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if b = bytes.Clone(b); len(b) >= 4 {
			sealMarks(b)
		}
		marks, err := decodeMarks(b)
		if err != nil {
			return
		}
		var again []byte
		for _, m := range marks {
			again = appendMark(again, m)
		}
		if len(marks) == 0 {
			return
		}
		if sealMarks(again); !bytes.Equal(again, b) {
			t.Errorf("%+v is written as %x and was read from %x", marks, again, b)
		}
	})
}
