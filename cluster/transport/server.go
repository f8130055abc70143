package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// Op is an operation that nodes ask of one another. The numbers are the
// protocol's and belong to whoever implements Handler.
type Op byte

// Request is an Append as it arrived: series are this node's references.
type Request struct {
	From  ring.NodeID
	Fresh bool
	Ring  uint64
	// Batch is all samples together. It belongs to the transport again when
	// Append returns.
	Batch *model.Batch
	// Owed are the parts that this node is asked to keep hints for.
	Owed []OwedPart
	// Sections holds the batches one by one when their versions differ; then
	// Batch is nil.
	Sections []*model.Batch
	// Origins are the numbers that all of it is known by (C7).
	Origins []frontier.Origin

	id string // correlation id
}

// OwedPart is a part of a Request that other nodes are owed.
type OwedPart struct {
	Nodes   []ring.NodeID
	Batch   *model.Batch
	Origins []frontier.Origin
}

// Handler answers what other nodes ask. All methods are called concurrently, but
// Append only from one connection beside another.
type Handler interface {
	// Intern returns the reference of a series, new or not.
	Intern(ls labels.Labels) (model.Ref, error)
	// Append begins to store a batch. The batches of a connection come in the order
	// in which they were sent, one after the other: of two that write to one series
	// the later has the higher version. The function that it returns is called once,
	// beside others; its answer means that the batch is durable.
	Append(ctx context.Context, r *Request) func() (AppendReply, error)
	// Call answers by w.Send, any number of times, then returns.
	Call(ctx context.Context, from ring.NodeID, op Op, payload []byte, w *Answer) error
}

// Limits of one connection: beyond them the reader waits, and with it the
// sender.
const (
	maxAppends = 256
	MaxCalls   = 64 // calls that run at once
)

// Server takes upgraded connections.
type Server struct {
	greeter Greeter
	handler Handler
	ids     RequestIDs
	// gossip takes connections of the two gossip kinds; nil refuses them.
	gossip func(kind string, nc net.Conn, in *bufio.Reader, from Hello)

	ctx   context.Context
	stop  context.CancelFunc
	mu    sync.Mutex
	conns map[*serverConn]struct{} // guarded by mu; nil when closed
	wg    sync.WaitGroup
}

// NewServer returns a server. The contexts that the handler gets carry the
// correlation id of the client's request by ids. gossip, which may be nil, gets
// the connections of the two gossip kinds and owns them from then on.
func NewServer(g Greeter, h Handler, ids RequestIDs, gossip func(kind string, nc net.Conn, in *bufio.Reader, from Hello)) *Server {
	ctx, stop := context.WithCancel(context.Background())
	return &Server{greeter: g, handler: h, ids: ids, gossip: gossip, ctx: ctx, stop: stop, conns: map[*serverConn]struct{}{}}
}

// ServeHTTP upgrades a connection: the handler of Path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, format string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		text := map[string]string{"error": fmt.Sprintf(format, args...)}
		// The other side is gone when this fails; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(text)
	}
	kind := r.Header.Get("Upgrade")
	if kind != KindCalls && (s.gossip == nil || (kind != KindGossipStream && kind != KindGossipPackets)) {
		refuse(http.StatusUpgradeRequired, "this path takes connections of Count nodes only")
		return
	}
	theirs, err := decodeHello(r.Header.Get(helloHeader))
	if err != nil {
		refuse(http.StatusBadRequest, "%v", err)
		return
	}
	meetErr := s.greeter.Meet(theirs)
	mine, err := encodeHello(s.greeter.Hello())
	if err != nil {
		refuse(http.StatusInternalServerError, "%v", err)
		return
	}
	if meetErr != nil {
		w.Header().Set(helloHeader, mine) // so that the other side knows who does not want it
		refuse(http.StatusConflict, "%v", meetErr)
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(http.StatusInternalServerError, "upgrade: %v", err)
		return
	}
	if err := switchProtocols(nc, kind, mine); err != nil {
		_ = nc.Close() // the other side redials
		return
	}
	if kind != KindCalls {
		s.gossip(kind, nc, rw.Reader, theirs)
		return
	}
	s.serve(nc, rw.Reader, theirs)
}

func switchProtocols(nc net.Conn, kind, hello string) error {
	// The HTTP server's own deadlines end here.
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n", kind, helloHeader, hello)
	if err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

func (s *Server) serve(nc net.Conn, in *bufio.Reader, from Hello) {
	c := newServerConn(s, nc, bufio.NewReaderSize(in, 64<<10), from)
	s.mu.Lock()
	if s.conns == nil {
		s.mu.Unlock()
		_ = nc.Close() // closed while the connection came
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	c.run()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Peers calls f for each open connection's other end.
func (s *Server) Peers(f func(Hello)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c.from)
	}
}

// Close ends all connections and waits for what they were doing.
func (s *Server) Close() {
	s.stop()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		c.end(ErrClosed)
	}
	s.wg.Wait()
}
