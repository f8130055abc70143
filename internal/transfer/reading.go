package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/count-db/count/internal/interchange"
	"github.com/count-db/count/internal/model"
)

const (
	maxFrame  = 64 << 20  // bytes of one frame of a streamed answer
	maxValues = 512 << 20 // bytes of a list of names
)

// Values returns the values of a label among the series that match.
func (n *Node) Values(ctx context.Context, label string, mint, maxt int64, selector string) ([]string, error) {
	form := url.Values{"start": {seconds(mint)}, "end": {seconds(maxt)}}
	if selector != "" {
		form.Set("match[]", selector)
	}
	if n.Consistency != "" {
		form.Set("consistency", n.Consistency)
	}
	resp, err := n.Do(ctx, func() (*http.Request, error) {
		return http.NewRequest(http.MethodGet, n.URL+"/api/v1/label/"+label+"/values?"+form.Encode(), nil)
	})
	if err != nil {
		return nil, fmt.Errorf("list the values of %s: %w", label, err)
	}
	var answer struct {
		Data     []string `json:"data"`
		Warnings []string `json:"warnings"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxValues)).Decode(&answer)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("list the values of %s: %w", label, err)
	}
	for _, w := range answer.Warnings {
		n.notice("note: " + w)
	}
	return answer.Data, nil
}

func seconds(ms int64) string {
	return strconv.FormatInt(ms/1000, 10) + "." + fmt.Sprintf("%03d", ms%1000)
}

// Read calls each with all samples of the series that match in [mint, maxt] (ms,
// inclusive), sorted by labels, one or several runs a series. The run is valid
// until each returns.
func (n *Node) Read(ctx context.Context, mint, maxt int64, ms []*labels.Matcher, each func(*interchange.Series) error) error {
	body, err := readRequest(mint, maxt, ms)
	if err != nil {
		return err
	}
	path := "/api/v1/read"
	if n.Consistency != "" {
		path += "?consistency=" + url.QueryEscape(n.Consistency)
	}
	resp, err := n.Do(ctx, func() (*http.Request, error) {
		req, err := http.NewRequest(http.MethodPost, n.URL+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
		return req, nil
	})
	if err != nil {
		return fmt.Errorf("read samples: %w", err)
	}
	err = readFrames(resp, mint, maxt, each)
	return errors.Join(err, resp.Body.Close())
}

var matcherTypes = map[labels.MatchType]prompb.LabelMatcher_Type{
	labels.MatchEqual: prompb.LabelMatcher_EQ, labels.MatchNotEqual: prompb.LabelMatcher_NEQ,
	labels.MatchRegexp: prompb.LabelMatcher_RE, labels.MatchNotRegexp: prompb.LabelMatcher_NRE,
}

func readRequest(mint, maxt int64, ms []*labels.Matcher) ([]byte, error) {
	q := &prompb.Query{StartTimestampMs: mint, EndTimestampMs: maxt}
	for _, m := range ms {
		q.Matchers = append(q.Matchers, &prompb.LabelMatcher{Type: matcherTypes[m.Type], Name: m.Name, Value: m.Value})
	}
	req := prompb.ReadRequest{Queries: []*prompb.Query{q}, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS}}
	plain, err := req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return snappy.Encode(nil, plain), nil
}

// readFrames reads a streamed answer: frames of a length, a checksum and a
// message.
func readFrames(resp *http.Response, mint, maxt int64, each func(*interchange.Series) error) error {
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-streamed-protobuf") {
		return fmt.Errorf("read samples: the answer is %q, not streamed chunks", kind)
	}
	in := bufio.NewReaderSize(resp.Body, 1<<20)
	d := frameDecoder{builder: labels.NewScratchBuilder(16), mint: mint, maxt: maxt, each: each}
	var frame []byte
	for {
		size, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && size > maxFrame {
			err = fmt.Errorf("a frame of %d bytes", size)
		}
		var sum [4]byte
		if err == nil {
			_, err = io.ReadFull(in, sum[:])
		}
		if err == nil {
			if uint64(cap(frame)) < size {
				frame = make([]byte, size)
			}
			frame = frame[:size]
			_, err = io.ReadFull(in, frame)
		}
		if err == nil && crc32.Checksum(frame, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(sum[:]) {
			err = errors.New("a frame has not its checksum")
		}
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		if err := d.decode(frame); err != nil {
			return err
		}
	}
}

// frameDecoder turns frames into runs.
type frameDecoder struct {
	builder    labels.ScratchBuilder
	mint, maxt int64
	each       func(*interchange.Series) error
	run        interchange.Series
}

func (d *frameDecoder) decode(frame []byte) error {
	var m prompb.ChunkedReadResponse
	if err := m.Unmarshal(frame); err != nil {
		return fmt.Errorf("decode a frame: %w", err)
	}
	for _, s := range m.ChunkedSeries {
		d.run.Reset()
		d.run.Labels = s.ToLabels(&d.builder, nil)
		for i := range s.Chunks {
			if err := d.chunk(&s.Chunks[i]); err != nil {
				return fmt.Errorf("decode a chunk of %s: %w", d.run.Labels, err)
			}
		}
		if d.run.Samples() == 0 {
			continue
		}
		if err := d.each(&d.run); err != nil {
			return err
		}
	}
	return nil
}

func (d *frameDecoder) chunk(c *prompb.Chunk) error {
	// The numbers of the encodings are the same on the wire and in the library.
	chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
	if err != nil {
		return err
	}
	it := chunk.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		t := it.AtT()
		if t < d.mint || t > d.maxt {
			continue
		}
		switch kind {
		case chunkenc.ValFloat:
			_, v := it.At()
			d.run.Floats = append(d.run.Floats, interchange.Float{T: t, ST: it.AtST(), V: v})
		case chunkenc.ValHistogram:
			_, h := it.AtHistogram(nil)
			d.run.Hists = append(d.run.Hists, model.HistogramPoint{T: t, ST: it.AtST(), H: h})
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			d.run.Hists = append(d.run.Hists, model.HistogramPoint{T: t, ST: it.AtST(), FH: h})
		}
	}
	return it.Err()
}
