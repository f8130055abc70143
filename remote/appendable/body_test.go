package appendable

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/count-db/count/internal/admission"
)

// room is an admission.Memory.
type room struct{ left int64 }

func (m *room) Reserve(n int64) error {
	if n > m.left {
		return admission.ErrOverloaded
	}
	m.left -= n
	return nil
}

func (m *room) Release(n int64) { m.left += n }

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// nestedValue is a request with a value that holds a value, and so on.
func nestedValue(levels int) []byte {
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	var b []byte
	for range levels {
		b = field(5, field(1, b)) // an array of one value
	}
	return field(1, field(1, field(1, field(2, b))))
}

func TestBoundedOTLP(t *testing.T) {
	const most = 1 << 20
	metrics := pmetric.NewMetrics()
	point := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	point.Attributes().PutStr("a", "b")
	point.SetTimestamp(pcommon.Timestamp(1e18))
	request := pmetricotlp.NewExportRequestFromMetrics(metrics)
	proto, err := request.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	json, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind, encoding string
		body           []byte
		code           int
	}{
		"protobuf":            {typeProtobuf, "", proto, 200},
		"gzip":                {typeProtobuf, "gzip", zipped(t, proto), 200},
		"json":                {typeJSON + "; charset=utf-8", "", json, 200},
		"other type":          {"text/plain", "", proto, 400},
		"other encoding":      {typeProtobuf, "zstd", proto, 400},
		"not gzip":            {typeProtobuf, "gzip", proto, 400},
		"bomb":                {typeProtobuf, "gzip", zipped(t, make([]byte, 64*most)), 413},
		"empty resources":     {typeProtobuf, "", bytes.Repeat([]byte{10, 0}, most/2), 503},
		"empty objects":       {typeJSON, "", []byte(`{"resourceMetrics":[{}` + strings.Repeat(",{}", most/4) + "]}"), 503},
		"brackets":            {typeJSON, "", bytes.Repeat([]byte("["), most/2), 400},
		"brackets in a value": {typeJSON, "", []byte(`{"x":"` + strings.Repeat(`\"[`, 1000) + `"}`), 200},
		"values in values":    {typeProtobuf, "", nestedValue(1000), 400},
		"a few in another":    {typeProtobuf, "", nestedValue(10), 200},
	} {
		memory := &room{left: 20 * most}
		got := -1
		h := Bounded(memory, most, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s: %v, %v", name, r.Header, err)
			}
			got = len(body)
		}))
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.Header.Set("Content-Encoding", c.encoding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code || (c.code == 200) != (got >= 0) || (c.code == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: code %d, %d bytes passed on, %v: %.200s", name, w.Code, got, w.Header(), w.Body)
		}
		if memory.left != 20*most {
			t.Errorf("%s: %d bytes are not given back", name, 20*most-memory.left)
		}
	}
}

// FuzzCountMessages: nothing that passes has the decoders fail in another way than
// by an error.
func FuzzCountMessages(f *testing.F) {
	f.Add(nestedValue(3), true)
	f.Add([]byte(`{"resourceMetrics":[{"a":"\"["}]}`), false)
	f.Fuzz(func(t *testing.T, body []byte, proto bool) {
		kind := typeJSON
		if proto {
			kind = typeProtobuf
		}
		n, err := countMessages(kind, body)
		if err != nil {
			return
		}
		if n < 0 || n > int64(len(body)) {
			t.Fatalf("%d messages in %d bytes", n, len(body))
		}
		if request := pmetricotlp.NewExportRequest(); proto {
			_ = request.UnmarshalProto(body) // an error is an answer
		}
	})
}
