package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// wanted is an object as encoding/json sees it.
type wanted struct {
	key string
	t   int64
	v   float64
}

// reference decodes a body with encoding/json. ok says whether the contract
// takes it, but for what encoding/json forgives.
func reference(body []byte) (all []wanted, ok bool) {
	var objects []map[string]json.RawMessage
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		if json.Unmarshal(body, &objects) != nil {
			return nil, false
		}
	} else {
		dec := json.NewDecoder(bytes.NewReader(body))
		for {
			var o map[string]json.RawMessage
			err := dec.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, false
			}
			objects = append(objects, o)
		}
	}
	for _, o := range objects {
		w, ok := referenceObject(o)
		if !ok {
			return nil, false
		}
		all = append(all, w)
	}
	return all, len(all) > 0
}

func referenceObject(o map[string]json.RawMessage) (w wanted, ok bool) {
	var series *string
	var number json.Number
	if o == nil || json.Unmarshal(o["series"], &series) != nil || series == nil || *series == "" {
		return w, false
	}
	raw := o["timestamp"]
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &number) != nil || number == "" || len(number) > 30 {
		return w, false
	}
	r, good := new(big.Rat).SetString(number.String())
	if !good || !r.IsInt() || !r.Num().IsInt64() || r.Num().Int64() < 0 || r.Num().Int64() > maxTestTime {
		return w, false
	}
	w.t = r.Num().Int64()
	var special string
	switch v := o["value"]; {
	case len(v) == 0 || v[0] == 'n':
		return w, false
	case json.Unmarshal(v, &special) == nil:
		values := map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)}
		if w.v, good = values[special]; !good {
			return w, false
		}
	case json.Unmarshal(v, &w.v) != nil:
		return w, false
	}
	var beside map[string]*string
	if l := o["labels"]; len(l) > 0 && json.Unmarshal(l, &beside) != nil {
		return w, false
	}
	ls, err := model.ParseSeriesKey(*series)
	if err != nil {
		return w, false
	}
	b := labels.NewBuilder(ls)
	for name, value := range beside {
		if name == "" || value == nil || ls.Has(name) {
			return w, false
		}
		b.Set(name, *value)
	}
	merged := b.Labels()
	if admission.DefaultLimits().CheckLabels(merged) != nil {
		return w, false
	}
	w.key = model.SeriesKey(merged)
	return w, true
}

func FuzzInsert(f *testing.F) {
	for _, s := range []string{
		`{"series":"m","timestamp":1,"value":1}`,
		`[{"series":"m{a=\"1\"}","labels":{"b":"\u00e9"},"timestamp":1.5e1,"value":"NaN"},{"series":"m","timestamp":2,"value":-1.5e-3}]`,
		"{\"series\":\"m\",\"timestamp\":1,\"value\":1}\n{\"series\":\"m\",\"timestamp\":2,\"value\":\"+Inf\",\"x\":[{}, null, \"\\ud83d\\ude00\"]}",
		`{"series":"m","timestamp":1e3,"value":1e400}`,
		`[]`, ``, `{"labels":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sink := &fakeSink{}
		cache := seriescache.New(seriescache.Options{MaxBytes: 1 << 16})
		d := newDecoder(admission.DefaultLimits(), sink.CheckTime)
		d.reset(body)
		d.session.Open(cache)
		err := d.decode()
		d.session.Close()
		want, ok := reference(body)
		if err == nil {
			if !ok {
				t.Fatalf("%q is accepted", body)
			}
			if len(want) != len(d.items) {
				t.Fatalf("%q: %d items, want %d", body, len(d.items), len(want))
			}
			for i, it := range d.items {
				w := want[i]
				sameValue := it.v == w.v || (math.IsNaN(it.v) && math.IsNaN(w.v))
				if got := model.SeriesKey(it.labels); got != w.key || it.t != w.t || !sameValue {
					t.Fatalf("%q: item %d is %s %d %v, want %+v", body, i, got, it.t, it.v, w)
				}
			}
			return
		}
		// Where the two may differ: what encoding/json forgives.
		text := err.Error()
		for _, stricter := range []string{"given twice", "surrogate", "new line", "deep"} {
			if strings.Contains(text, stricter) {
				return
			}
		}
		for _, field := range []string{`"series"`, `"timestamp"`, `"value"`, `"labels"`} {
			if bytes.Count(body, []byte(field)) > len(want) {
				return // perhaps given twice, the first time wrongly
			}
		}
		if ok && utf8.Valid(body) && !bytes.Contains(body, []byte(`\u`)) && !bytes.Contains(body, []byte("null")) {
			t.Fatalf("%q is refused: %v", body, err)
		}
	})
}
