package inbox

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/spacelift"
)

func sampleRecord() record {
	return record{
		Delivery: Delivery{
			ID: "01KDX3V4T8Q2M5N7P9R1S3T5V7", ReceivedAt: time.UnixMilli(1_767_261_661_417).UTC(), Source: "192.0.2.7",
			Outcome: OutcomeAccepted, Reason: "none", Detail: "A sentence.",
			Run: runRef(1), Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 5,
			Size: 1380, Latency: time.Millisecond, Secret: 2, DuplicateOf: "01KDX3V4T8Q2M5N7P9R1S3T5V6",
			Forwarding: ForwardingDead, Attempts: 3, ForwardedAt: time.UnixMilli(1_767_261_662_000).UTC(), ForwardError: "too large", HasBody: true,
		},
		revision: 2, event: []byte(`{"state":"UNCONFIRMED"}`), body: []byte(`{"account":"acme"}`),
	}
}

var equalRecords = cmp.Options{cmp.AllowUnexported(record{}), cmpopts.EquateEmpty()}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	r := sampleRecord()
	got, err := decodeRecord(ulid.MustParse(r.ID), r.appendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, equalRecords); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// Files written by an older version must stay readable: this is one frame of
// version 1 of the format, byte for byte.
func TestFormatOfFrames(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "frame-v1.bin")
	r := sampleRecord()
	id := ulid.MustParse(r.ID)
	written := appendFrame(nil, frameAccepted, id, r.appendTo(nil))
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, want) {
		t.Errorf("the format of new frames changed:\n got %x\nwant %x", written, want)
	}
	f, ok := readFrame(want)
	if !ok || f.kind != frameAccepted || f.id != id {
		t.Fatalf("frame %+v, %t", f, ok)
	}
	got, err := decodeRecord(f.id, f.payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, equalRecords); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// Scanning finds every undamaged frame, and accounts for every other byte.
func TestScanFindsEverythingThatIsWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var file []byte
		var bounds []span
		for i := range rapid.IntRange(1, 8).Draw(rt, "frames") {
			payload := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "payload")
			from := int64(len(file))
			file = appendFrame(file, frameLogged, ulid.ULID{15: byte(i)}, payload)
			bounds = append(bounds, span{from, int64(len(file))})
		}
		file = append(file, make([]byte, rapid.IntRange(0, 100).Draw(rt, "rest"))...)
		broken := map[int]bool{}
		for range rapid.IntRange(0, 3).Draw(rt, "flips") {
			i := rapid.IntRange(0, len(bounds)-1).Draw(rt, "frame")
			at := rapid.Int64Range(bounds[i].from, bounds[i].to-1).Draw(rt, "at")
			if !broken[i] {
				file[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
				broken[i] = true
			}
		}
		var got []span
		_, damaged := scanFrames(file, func(f frame) { got = append(got, span{f.off, f.off + f.size}) })
		for i, b := range bounds {
			if slices.Contains(got, b) == broken[i] {
				rt.Fatalf("frame %d at %v: found is %t, broken is %t", i, b, !broken[i], broken[i])
			}
			if broken[i] && !slices.ContainsFunc(damaged, func(s span) bool { return s.from <= b.from && b.to <= s.to }) {
				rt.Fatalf("broken frame %v is not among the damage %v", b, damaged)
			}
		}
		if len(broken) == 0 && len(damaged) > 0 {
			rt.Fatalf("damage %v in a whole file", damaged)
		}
	})
}

func FuzzScan(f *testing.F) {
	r := sampleRecord()
	id := ulid.MustParse(r.ID)
	one := appendFrame(nil, frameAccepted, id, r.appendTo(nil))
	f.Add([]byte{})
	f.Add(one)
	f.Add(one[:len(one)-3])
	f.Add(append(slices.Clone(one), make([]byte, 64)...))
	f.Add(append([]byte("garbage"), one...))
	f.Add(appendFrame(one, frameMark, id, r.appendForwarding(nil)))
	f.Add(appendFrame(nil, frameHead, ulid.ULID{}, headPayload(1, 1<<20)))
	f.Fuzz(func(t *testing.T, file []byte) {
		covered := int64(0)
		end, damaged := scanFrames(file, func(fr frame) {
			covered += fr.size
			if fr.off < 0 || fr.off+fr.size > int64(len(file)) {
				t.Fatalf("frame from %d of %d bytes in a file of %d", fr.off, fr.size, len(file))
			}
			again := appendFrame(nil, fr.kind, fr.id, fr.payload)
			if back, ok := readFrame(again); !ok || !bytes.Equal(back.payload, fr.payload) {
				t.Fatal("a frame does not come back as it was")
			}
			readInts(fr.payload)
			_, _ = decodeRecord(fr.id, fr.payload)
		})
		for _, s := range damaged {
			covered += s.to - s.from
		}
		if rest := int64(len(file)) - covered; rest > 0 && !zeros(file[end:]) {
			t.Fatalf("%d bytes are neither frames nor damage nor the blank end", rest)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	r := sampleRecord()
	f.Add(r.appendTo(nil))
	f.Add(r.appendForwarding(nil))
	f.Add([]byte{0x08, 0x96, 0x01})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(append(r.appendTo(nil), 0xf5, 0x07, 1, 2, 3, 4)) // a field of another type, unknown
	f.Fuzz(func(t *testing.T, payload []byte) {
		id := ulid.MustParse(sampleRecord().ID)
		r, err := decodeRecord(id, payload)
		if err != nil {
			return
		}
		again, err := decodeRecord(id, r.appendTo(nil))
		if err != nil {
			t.Fatalf("what was decoded cannot be decoded again: %v", err)
		}
		if diff := cmp.Diff(r, again, equalRecords); diff != "" {
			t.Fatalf("record (-first +again):\n%s", diff)
		}
		_, _ = r.runEvent()
		_ = r.identity().hash()
	})
}
