package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	gonet "net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/internal/model"
)

// names is a node's registry of series.
type names struct {
	mu   sync.Mutex
	byLs map[string]model.Ref
	all  []labels.Labels
	base model.Ref
	full error
}

func (n *names) Intern(ls labels.Labels) (model.Ref, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ref, ok := n.byLs[ls.String()]; ok {
		return ref, nil
	}
	if n.full != nil {
		return 0, n.full
	}
	n.all = append(n.all, ls)
	ref := n.base + model.Ref(len(n.all))
	n.byLs[ls.String()] = ref
	return ref, nil
}

func (n *names) Labels(ref model.Ref) labels.Labels {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[ref-n.base-1]
}

func (n *names) ref(name string) model.Ref {
	ref, err := n.Intern(labels.FromStrings("__name__", name, "job", "test"))
	if err != nil {
		panic(err)
	}
	return ref
}

func newNames(base model.Ref) *names { return &names{byLs: map[string]model.Ref{}, base: base} }

// host is one end: it keeps what it is sent.
type host struct {
	*names
	id      ring.NodeID
	cluster string
	srv     *Server

	old bool // knows nothing of request ids

	mu       sync.Mutex
	ids      []string // of what was asked
	samples  map[string]float64
	versions []model.Version // in the order in which they began
	hold     chan struct{}   // non-nil: a batch is durable when it is closed
}

func (h *host) Hello() Hello {
	return Hello{Protocol: Version, Cluster: h.cluster, Node: h.id, RequestIDs: !h.old}
}

func (h *host) Meet(o Hello) error {
	if o.Cluster != h.cluster {
		return fmt.Errorf("cluster %q, not %q", o.Cluster, h.cluster)
	}
	return nil
}

func (h *host) Append(ctx context.Context, r *Request) func() (AppendReply, error) {
	h.mu.Lock()
	h.versions = append(h.versions, r.Batch.Version)
	h.ids = append(h.ids, testIDs.Of(ctx))
	h.mu.Unlock()
	return func() (AppendReply, error) {
		if h.hold != nil {
			select {
			case <-h.hold:
			case <-ctx.Done():
				return AppendReply{}, ctx.Err()
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, s := range r.Batch.Floats {
			h.samples[fmt.Sprintf("%s@%d", h.Labels(s.Ref).Get("__name__"), s.T)] = s.V
		}
		return AppendReply{Stale: r.Fresh && r.Batch.Version < 10, Highest: 10}, nil
	}
}

func (h *host) Call(ctx context.Context, from ring.NodeID, op Op, payload []byte, w *Answer) error {
	h.mu.Lock()
	h.ids = append(h.ids, testIDs.Of(ctx))
	h.mu.Unlock()
	switch op {
	case 1:
		w.End(append([]byte("echo "), payload...))
		return nil
	case 2:
		for i := range 100 {
			if err := w.Send([]byte{byte(i)}); err != nil {
				return err
			}
		}
		return nil
	case 3:
		<-ctx.Done() // at the very moment at which the caller gives up: let it be first
		<-time.NewTimer(time.Second).C
		return ctx.Err()
	}
	return Errorf(CodeUnavailable, "operation %d from node %d", op, from)
}

func listen(t *testing.T, net *memnet.Network, id ring.NodeID, cluster string) *host {
	return listenAt(t, net, id, cluster, fmt.Sprintf("node%d", id), func(ln gonet.Listener) gonet.Listener { return ln })
}

// listenAt is listen at an address, behind what around puts around the listener.
func listenAt(t *testing.T, net *memnet.Network, id ring.NodeID, cluster, address string, around func(gonet.Listener) gonet.Listener) *host {
	h := &host{names: newNames(1000 * model.Ref(id)), id: id, cluster: cluster, samples: map[string]float64{}}
	h.srv = NewServer(h, h, testIDs, nil)
	ln, err := net.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: h.srv, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		if err := web.Serve(around(ln)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		h.srv.Close()
		if err := web.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func connect(t *testing.T, net *memnet.Network, from *host, to string) *Peer {
	p := NewPeer(PeerOptions{
		Address: func() string { return to }, Dial: net.Dialer(fmt.Sprintf("node%d", from.id)), Greeter: from,
		Met: func(Hello) error { return nil }, Labels: from.Labels, RequestIDs: testIDs, Up: func(bool) {},
	})
	t.Cleanup(p.Close)
	return p
}

func batchOf(version model.Version, t int64, refs ...model.Ref) *Append {
	b := &model.Batch{Version: version}
	for i, ref := range refs {
		b.Floats = append(b.Floats, model.FloatSample{T: t, V: float64(i), Ref: ref})
	}
	return &Append{Fresh: true, Sections: []Section{{Batch: b, Body: AppendBatch(nil, b)}}}
}

// send appends and waits for the answer.
func send(p *Peer, a *Append) (AppendReply, error) {
	type answer struct {
		AppendReply
		err error
	}
	got := make(chan answer, 1)
	if err := p.Append(a, func(r AppendReply, err error) { got <- answer{r, err} }); err != nil {
		return AppendReply{}, err
	}
	r := <-got
	return r.AppendReply, r.err
}

func wait(t *testing.T, p *Peer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAppendTranslatesSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a, b := listen(t, net, 1, "c"), listen(t, net, 2, "c")
		p := connect(t, net, a, "node2")
		wait(t, p)
		x, y := a.ref("x"), a.ref("y")
		for i := range 3 {
			r, err := send(p, batchOf(20, int64(i), x, y))
			if err != nil || r.Stale || r.Highest != 10 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		if b.samples["y@2"] != 1 || len(b.samples) != 6 {
			t.Fatalf("arrived: %v", b.samples)
		}
		if r, err := send(p, batchOf(5, 0, x)); err != nil || !r.Stale {
			t.Fatalf("a batch below the highest version: %+v, %v", r, err)
		}
	})
}

// TestRefusedSeriesIsDefinedAgain: a series that the other side could not take
// costs its batch only, and is sent with its labels again.
func TestRefusedSeriesIsDefinedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a, b := listen(t, net, 1, "c"), listen(t, net, 2, "c")
		p := connect(t, net, a, "node2")
		wait(t, p)
		b.full = errors.New("limit of series")
		if _, err := send(p, batchOf(20, 1, a.ref("x"))); CodeOf(err) != CodeLimit {
			t.Fatalf("over the limit: %v", err)
		}
		b.full = nil
		if _, err := send(p, batchOf(20, 2, a.ref("x"))); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a := listen(t, net, 1, "c")
		listen(t, net, 2, "c")
		p := connect(t, net, a, "node2")
		wait(t, p)
		got, err := p.Call(t.Context(), 1, []byte("hello"))
		if err != nil || string(got) != "echo hello" {
			t.Fatalf("%q, %v", got, err)
		}
		s, err := p.Stream(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			chunk, err := s.Recv()
			if err != nil || !bytes.Equal(chunk, []byte{byte(i)}) {
				t.Fatalf("part %d: %v, %v", i, chunk, err)
			}
		}
		if _, err := s.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("end of stream: %v", err)
		}
		if _, err := p.Call(t.Context(), 9, nil); CodeOf(err) != CodeUnavailable || err.Error() != "operation 9 from node 1" {
			t.Fatalf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Call(ctx, 3, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a call past its deadline: %v", err)
		}
		abandoned, err := p.Stream(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		abandoned.Close()
		if _, err := p.Call(t.Context(), 1, nil); err != nil {
			t.Fatalf("after an abandoned stream: %v", err)
		}
	})
}

func TestRefusedByCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a := listen(t, net, 1, "blue")
		listen(t, net, 2, "green")
		p := connect(t, net, a, "node2")
		synctest.Wait()
		if err := p.Err(); CodeOf(err) != CodeRefused || err.Error() != `cluster "blue", not "green"` {
			t.Fatalf("%v", err)
		}
	})
}

// TestSilence: a cut link is noticed by missing answers, the connection is given
// up, and after healing there is a new one without anybody asking.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a, b := listen(t, net, 1, "c"), listen(t, net, 2, "c")
		p := connect(t, net, a, "node2")
		wait(t, p)
		net.Cut("node1", "node2")
		var lost error
		answered := make(chan struct{})
		err := p.Append(batchOf(20, 1, a.ref("x")), func(_ AppendReply, err error) {
			lost = err
			close(answered)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Millisecond)
		if s, ok := p.Silence(); !ok || s < 300*time.Millisecond {
			t.Fatalf("silent for %s, connected %v", s, ok)
		}
		<-answered
		if !errors.Is(lost, ErrLost) {
			t.Fatalf("unanswered: %v", lost)
		}
		if _, err := send(p, batchOf(20, 2, a.ref("x"))); !errors.Is(err, ErrLost) && !errors.Is(err, ErrUnreachable) {
			t.Fatalf("without a connection: %v", err)
		}
		net.Heal()
		wait(t, p)
		if _, err := send(p, batchOf(20, 3, a.ref("x"))); err != nil {
			t.Fatal(err)
		}
		if b.samples["x@3"] != 0 {
			t.Fatalf("arrived: %v", b.samples)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(appendFrame(nil, kindPing, 7, []byte("payload")))
	f.Add(appendFrame(nil, kindError, 1, appendError(nil, io.EOF)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var buf []byte
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			_, _, payload, err := readFrame(in, &buf)
			if err != nil {
				return
			}
			if err := decodeError(payload); err == nil {
				t.Fatal("an error frame without an error")
			}
		}
	})
}

type testIDKey struct{}

// testIDs carry ids in the tests.
var testIDs = RequestIDs{
	Of: func(ctx context.Context) string {
		id, _ := ctx.Value(testIDKey{}).(string)
		return id
	},
	With: func(ctx context.Context, id string) context.Context { return context.WithValue(ctx, testIDKey{}, id) },
}

// TestRequestID: the id of a client's request goes with what is asked for it, to
// nodes that know of ids.
func TestRequestID(t *testing.T) {
	for _, old := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			net := memnet.New()
			a, b := listen(t, net, 1, "c"), listen(t, net, 2, "c")
			b.old = old
			p := connect(t, net, a, "node2")
			wait(t, p)
			ctx := testIDs.With(t.Context(), "abc")
			batch := batchOf(20, 1, a.ref("x"))
			batch.RequestID = "abc"
			if r, err := send(p, batch); err != nil || r.Stale || b.samples["x@1"] != 0 || len(b.samples) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if got, err := p.Call(ctx, 1, []byte("hello")); err != nil || string(got) != "echo hello" {
				t.Fatalf("%q, %v", got, err)
			}
			batch.RequestID = strings.Repeat("x", maxRequestID+1)
			if _, err := send(p, batch); err != nil {
				t.Fatal(err)
			}
			want := []string{"abc", "abc", ""}
			if old {
				want = []string{"", "", ""}
			}
			if !slices.Equal(b.ids, want) {
				t.Errorf("ids %q, want %q", b.ids, want)
			}
		})
	}
}

// TestOrder: batches begin in the order in which they were sent, however many
// are not durable yet. A later write to a series would else make the one before
// it stale (V2), though nobody wrote beside it.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		a, b := listen(t, net, 1, "c"), listen(t, net, 2, "c")
		p := connect(t, net, a, "node2")
		wait(t, p)
		b.hold = make(chan struct{})
		answered := make(chan error, 200)
		for i := range cap(answered) {
			err := p.Append(batchOf(model.Version(20+i), int64(i), a.ref("x")), func(_ AppendReply, err error) { answered <- err })
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if !slices.IsSorted(b.versions) || len(b.versions) != cap(answered) {
			t.Fatalf("begun: %v", b.versions)
		}
		close(b.hold)
		for range cap(answered) {
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLargeFramesComeInPieces: a frame of many pieces is read whole, and one that is
// only announced takes no memory.
func TestLargeFramesComeInPieces(t *testing.T) {
	var buf []byte
	for _, size := range []int{0, 10, readAhead, 3*readAhead + 1, 9 * readAhead, 5} {
		payload := bytes.Repeat([]byte{7}, size)
		frame := appendFrame(nil, kindCall, 9, payload)
		k, id, got, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), &buf)
		if err != nil || k != kindCall || id != 9 || !bytes.Equal(got, payload) {
			t.Fatalf("frame of %d bytes: kind %d, id %d, %d bytes, %v", size, k, id, len(got), err)
		}
	}
	buf = nil
	announced := binary.LittleEndian.AppendUint32(nil, MaxFrame)
	if _, _, _, err := readFrame(bufio.NewReader(bytes.NewReader(append(announced, make([]byte, 100)...))), &buf); err == nil || cap(buf) > 2*readAhead {
		t.Fatalf("error %v, %d bytes", err, cap(buf))
	}
}
