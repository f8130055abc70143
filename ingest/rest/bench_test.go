package rest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkInsert is one object, and a batch of 1,000, of known series.
func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var body strings.Builder
			for i := range n {
				fmt.Fprintf(&body, `{"series":"cpu.usage.host%d","timestamp":1700000000000,"value":%d.5}`+"\n", i, i)
			}
			f := &fakeSink{}
			h := newHandler(b, f, Options{})
			post(h, body.String())
			f.err = fmt.Errorf("stored nowhere")
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/insert", strings.NewReader(body.String()))
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/sample")
		})
	}
}
