package seriescache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// resolve does what a decoder does for one series.
func resolve(s *Session, key []byte, intern func() model.Ref) model.Ref {
	if n, ref := s.Predict(key); n == len(key) {
		s.Accept()
		return ref
	}
	if ref, ok := s.Lookup(key); ok {
		return ref
	}
	ref := intern()
	s.Insert(key, ref)
	return ref
}

func keyOf(i int) []byte {
	// Prefixes of one another, too.
	return []byte(fmt.Sprintf("series-%0*d", 1+i%40, i))
}

// TestAgainstMap: whatever is evicted, the cache never returns a wrong reference.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dead := map[model.Ref]bool{}
		c := New(Options{
			MaxBytes: rapid.IntRange(1, 1<<15).Draw(t, "bytes"),
			Alive:    func(r model.Ref) bool { return !dead[r] },
		})
		refs := map[string]model.Ref{}
		next := model.Ref(0)
		var s Session
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			s.Open(c)
			start := rapid.IntRange(0, 400).Draw(t, "start")
			for i := start; i < start+rapid.IntRange(1, 400).Draw(t, "series"); i++ {
				key := keyOf(i)
				got := resolve(&s, key, func() model.Ref {
					if ref := refs[string(key)]; ref != 0 && !dead[ref] {
						return ref
					}
					next++
					refs[string(key)] = next
					return next
				})
				if got != refs[string(key)] {
					t.Fatalf("%s: ref %d, want %d", key, got, refs[string(key)])
				}
				if rapid.IntRange(0, 50).Draw(t, "die") == 0 {
					dead[got] = true
				}
			}
			s.Close()
			check(t, c)
		}
	})
}

// check proves the cache's own invariants.
func check(t interface{ Fatalf(string, ...any) }, c *Cache) {
	members := 0
	for i := range c.segments {
		s := &c.segments[i]
		if s.size() > c.segmentBytes {
			t.Fatalf("segment %d holds %d bytes of %d", i, s.size(), c.segmentBytes)
		}
		end := uint32(0)
		for _, n := range s.members {
			e := &c.entries[n]
			if int(e.segment) != i || e.offset != end {
				t.Fatalf("entry %d: segment %d offset %d, want %d and %d", n, e.segment, e.offset, i, end)
			}
			end += e.length
			if got := c.find(e.hash, c.key(e)); got != n {
				t.Fatalf("entry %d is found as %d", n, got)
			}
			members++
		}
		if int(end) != len(s.keys) {
			t.Fatalf("segment %d: %d bytes of keys, members fill %d", i, len(s.keys), end)
		}
	}
	if len(c.segments) > c.maxSegments {
		t.Fatalf("%d segments of at most %d", len(c.segments), c.maxSegments)
	}
	indexed := 0
	for _, n := range c.index {
		if n != 0 {
			indexed++
		}
	}
	if members != c.used || indexed != c.used || c.used+len(c.free)+1 != len(c.entries) {
		t.Fatalf("%d members, %d indexed, %d used, %d free, %d entries", members, indexed, c.used, len(c.free), len(c.entries))
	}
}

func TestPredictionFollowsTheSendersOrder(t *testing.T) {
	c := New(Options{})
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	var s Session
	request := func(keys [][]byte) (guessed int) {
		s.Open(c)
		defer s.Close()
		for i, key := range keys {
			if n, _ := s.Predict(key); n == len(key) {
				guessed++
			}
			resolve(&s, key, func() model.Ref { return model.Ref(i + 1) })
		}
		return guessed
	}
	request(keys)
	if got := request(keys); got != len(keys)-1 {
		t.Errorf("same order: %d of %d guessed", got, len(keys)-1)
	}
	// Requests are cut elsewhere the next time.
	if got := request(keys[333:]); got != len(keys[333:])-1 {
		t.Errorf("a tail: %d of %d guessed", got, len(keys[333:])-1)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	request(keys)
	if got := request(keys); got < len(keys)-2 {
		t.Errorf("another order learned: %d of %d guessed", got, len(keys)-1)
	}
}

func TestUsedSeriesOutliveOthers(t *testing.T) {
	c := New(Options{MaxBytes: 256 << 10})
	var s Session
	next, misses := model.Ref(0), 0
	intern := func() model.Ref { next++; misses++; return next }
	for i := range 20000 {
		s.Open(c)
		for j := range 20 {
			resolve(&s, []byte(fmt.Sprintf("hot-series-%d", j)), intern)
		}
		hot := misses
		resolve(&s, []byte(fmt.Sprintf("passing-series-%d", i)), intern)
		s.Close()
		if i > 0 && hot > 20+i {
			t.Fatalf("request %d: a hot series was lost", i)
		}
	}
	check(t, c)
	if st := c.Stats(); st.Bytes > 2*(256<<10) || st.Evicted == 0 || st.Entries == 0 {
		t.Fatalf("stats: %+v", st)
	}
}

func TestTooLongKeyIsNotKept(t *testing.T) {
	c := New(Options{MaxBytes: 4 << 10})
	var s Session
	for range 2 {
		s.Open(c)
		resolve(&s, bytes.Repeat([]byte("x"), 2<<10), func() model.Ref { return 1 })
		s.Close()
	}
	if st := c.Stats(); st.Entries != 0 || st.Misses != 2 {
		t.Fatalf("stats: %+v", st)
	}
}

func TestConcurrentSessions(t *testing.T) {
	c := New(Options{MaxBytes: 32 << 10})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 1))
			var s Session
			for range 200 {
				s.Open(c)
				start := r.IntN(1000)
				for i := start; i < start+100; i++ {
					if got := resolve(&s, keyOf(i), func() model.Ref { return model.Ref(i + 1) }); got != model.Ref(i+1) {
						t.Errorf("key %d: ref %d", i, got)
					}
				}
				s.Close()
			}
		}()
	}
	wg.Wait()
	check(t, c)
}

func TestKnownSeriesAllocateNothing(t *testing.T) {
	c := New(Options{})
	keys := make([][]byte, 2000)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	var s Session
	request := func() {
		s.Open(c)
		for i, key := range keys {
			resolve(&s, key, func() model.Ref { return model.Ref(i + 1) })
		}
		s.Close()
	}
	request()
	if n := testing.AllocsPerRun(20, request); n != 0 {
		t.Fatalf("%v allocations a request", n)
	}
}

func BenchmarkKnown(b *testing.B) {
	for _, order := range []string{"same", "random"} {
		b.Run(order, func(b *testing.B) {
			c := New(Options{})
			keys := make([][]byte, 50000)
			for i := range keys {
				keys[i] = append(bytes.Repeat([]byte("l"), 230), keyOf(i)...)
			}
			var s Session
			s.Open(c)
			for i, key := range keys {
				s.Insert(key, model.Ref(i+1))
			}
			s.Close()
			s.Open(c)
			if order == "random" {
				rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				key := keys[i%len(keys)]
				if order == "same" {
					if n, _ := s.Predict(key); n == len(key) {
						s.Accept()
						continue
					}
				}
				if _, ok := s.Lookup(key); !ok {
					b.Fatal("miss")
				}
			}
			s.Close()
		})
	}
}
