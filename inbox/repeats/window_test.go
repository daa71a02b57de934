package repeats

import (
	"math/rand/v2"
	"testing"
)

// The window must recognise exactly the last events that were not forgotten, whatever
// the order of what happens to it.
func TestWindowRecognisesTheLastEvents(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		limit := 1 + random.IntN(100)
		w := New(limit)
		// Few keys with few home slots meet often.
		keys := make([]Key, 1+random.IntN(3*limit))
		for i := range keys {
			keys[i] = Key(random.IntN(8)) | Key(random.Uint64())<<40
		}
		type added struct {
			key Key
			n   int64
		}
		var last []added
		want := map[Key]int64{}
		for n := int64(1); n < 500; n++ {
			k := keys[random.IntN(len(keys))]
			if random.IntN(4) == 0 {
				w.Forget(k, want[k])
				delete(want, k)
				continue
			}
			w.Add(k, n)
			want[k] = n
			if last = append(last, added{k, n}); len(last) > limit {
				if old := last[0]; want[old.key] == old.n {
					delete(want, old.key)
				}
				last = last[1:]
			}
			for _, k := range keys {
				got, ok := w.Number(k)
				if expected, known := want[k]; ok != known || got != expected {
					t.Fatalf("seed %d, limit %d, after %d: key %x is %d (%t), want %d (%t)", seed, limit, n, k, got, ok, expected, known)
				}
			}
		}
	}
}

func TestWindowIgnoresARepeatOfTheSameEvent(t *testing.T) {
	t.Parallel()
	w := New(2)
	w.Add(1, 10)
	w.Add(2, 20)
	w.Add(1, 10) // as a restart reads it from the archive and from the log
	w.Forget(2, 10)
	for k, want := range map[Key]int64{1: 10, 2: 20} {
		if n, ok := w.Number(k); !ok || n != want {
			t.Errorf("key %d is %d (%t), want %d", k, n, ok, want)
		}
	}
}
